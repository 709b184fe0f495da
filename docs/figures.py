"""Draw the pictures of README.md into docs/images: `make figures`."""

from pathlib import Path

import matplotlib.pyplot as plt

from attn_lessons import style
from attn_lessons.datasets import glyphworld

CUES = {
    "key": "chip names a colour",
    "frames": "frames mark two",
    "board": "ticks name a cell",
    "lookup": "star names a hue",
}


def puzzles(path: Path) -> None:
    """One picture of each GlyphWorld puzzle, the glyph to read outlined."""
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.8))
    for ax, (puzzle, cue) in zip(axes, CUES.items(), strict=True):
        pictures = glyphworld(puzzle, 1, seed=1)
        style.picture(pictures.images[0], ax, f"{puzzle}\n{cue} → {pictures.classes[pictures.labels[0]]}")
        style.outline(pictures.masks["target"][0], ax)
    fig.savefig(path, dpi=style.DPI)
    plt.close(fig)


if __name__ == "__main__":
    style.use()
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    puzzles(images / "puzzles.png")
