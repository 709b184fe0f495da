"""Draw the images of README.md into docs/images: `make figures`."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from attn_lessons import style
from attn_lessons.datasets import CEILINGS, glyphworld
from attn_lessons.training import recorded

CUES = {
    "key": "chip names a colour",
    "frames": "frames mark two",
    "board": "ticks name a cell",
    "lookup": "star names a hue",
}
VARIANTS = {
    "none": "no attention",
    "se": "SE",
    "eca": "ECA",
    "cbam": "CBAM",
    "ca": "coordinate",
    "self": "self-attention",
    "linear": "linear",
    "efficient": "efficient",
    "performer:features=16": "Performer",
    "linformer": "Linformer",
    "deformable:stride=2": "deformable",
    "deformable:stride=2,offset_range=0": "… with fixed points",
}


def puzzles(path: Path) -> None:
    """One image of each GlyphWorld puzzle, the glyph to read outlined."""
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.8))
    for ax, (puzzle, cue) in zip(axes, CUES.items(), strict=True):
        dataset = glyphworld(puzzle, 1, seed=1)
        style.show_image(dataset.images[0], ax, f"{puzzle}\n{cue} → {dataset.classes[dataset.labels[0]]}")
        style.outline(dataset.masks["target"][0], ax)
    fig.savefig(path, dpi=style.DPI)
    plt.close(fig)


def results(path: Path) -> None:
    """The recorded runs on each puzzle: a row of dots per mechanism, a dot per seed."""
    table = pd.concat([recorded("glyphworld_gates")[0], recorded("glyphworld_global")[0]])
    table = table.drop_duplicates(["data", "variant", "seed"]).query("data != 'lookup'")  # recorded apart
    table = pd.concat([table, recorded("glyphworld_lookup")[0]]).query("variant in @VARIANTS")
    fig, axes = plt.subplots(1, 4, figsize=(13, 5), sharey=True)
    for ax, puzzle in zip(axes, CUES, strict=True):
        for height, variant in enumerate(reversed(VARIANTS)):
            dots = table[(table.data == puzzle) & (table.variant == variant)].accuracy
            ax.plot(dots, [height] * len(dots), "o", color=style.BLUE, alpha=0.6, markersize=8)
        ax.axvline(CEILINGS[puzzle], color=style.GREY, linestyle="--")
        ax.set(title=puzzle, xlim=(0.15, 1.05), xlabel="accuracy", yticks=range(len(VARIANTS)))
        ax.set_yticklabels(reversed(VARIANTS.values()))
    fig.savefig(path, dpi=style.DPI)
    plt.close(fig)


if __name__ == "__main__":
    style.use()
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    puzzles(images / "puzzles.png")
    results(images / "results.png")
