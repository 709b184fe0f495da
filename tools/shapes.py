"""Write the images that the networks `shapes_*` of results/networks are trained on, as folders of PNGs.

``python tools/shapes.py FOLDER``: one glyph per image or none, at half size; 8,000 in train/, 2,000 in test/, and those
of train/ once more in shuffled/, where their labels are dealt out at random.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from attn_lessons.datasets import glyphworld
from attn_lessons.datasets.scene import COLORS, Scene


def glyphs(count: int):
    """A puzzle with `count` glyphs of different shapes; with none, its labels mean nothing."""

    def draw(scene: Scene):
        shapes = scene.draw.shuffled(4)[:, : max(count, 1)]
        named = scene.choose(shapes)
        positions = scene.positions(max(count, 1), 8, 56, gap=18)
        for k in range(count):
            color = scene.tint(COLORS[scene.draw.integers(0, 7)])
            scene.glyph(shapes[:, k], color, positions[:, k], candidate=k)
        return shapes, named

    return draw


def main(folder: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for part, n, seed in (("train", 8000, 0), ("test", 2000, 999)):
        one, none = glyphworld(glyphs(1), n * 4 // 5, seed), glyphworld(glyphs(0), n // 5, seed + 1000)
        images = torch.cat([one.halved().images, none.halved().images])
        names = [one.classes[label] for label in one.labels] + ["nothing"] * len(none)
        dealt = [names[i] for i in torch.randperm(n, generator=generator)]
        for i, image in enumerate(images):
            for to, name in {part: names[i], **({"shuffled": dealt[i]} if part == "train" else {})}.items():
                path = Path(folder, to, name, f"{i:05}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    main(sys.argv[1])
