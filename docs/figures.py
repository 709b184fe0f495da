"""Draw the images of README.md into docs/images: `make figures`."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F

from attn_lessons import style
from attn_lessons.attention import watch
from attn_lessons.datasets import CEILINGS, glyphworld
from attn_lessons.models import trained
from attn_lessons.training import prepare, recorded

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


def attention(path: Path) -> None:
    """A shipped network's spatial gates over an image, before and after the frames move: nothing else has changed."""
    network, _ = trained("glyphworld_frames_cbam_spatial")
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.9))
    for pair, swap in zip(axes.reshape(2, 2), (False, True), strict=True):
        dataset = glyphworld("frames", 8, seed=999, swap_cue=swap)
        with torch.no_grad(), watch(network) as seen:
            answer = network(prepare(dataset.images)).argmax(1)[0]
        gates = seen["features.attention2"]["map"][:1, None]
        gates = F.interpolate(gates, size=(64, 64), mode="bilinear")[0, 0]
        style.show_image(dataset.images[0], pair[0], "the image" if not swap else "the frames moved")
        pair[1].imshow(dataset.images[0].float().mean(0) / 255, cmap="gray", vmin=0, vmax=1)
        pair[1].imshow(gates, cmap=style.HEAT, vmin=0, vmax=gates.max(), alpha=0.6)
        pair[1].set(title=f"attention → {dataset.classes[answer]}", xticks=[], yticks=[])
    style.save(fig, path)


def puzzles(path: Path) -> None:
    """One image of each GlyphWorld puzzle, the glyph to read outlined."""
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.8))
    for ax, (puzzle, cue) in zip(axes, CUES.items(), strict=True):
        dataset = glyphworld(puzzle, 1, seed=1)
        style.show_image(dataset.images[0], ax, f"{puzzle}\n{cue} → {dataset.classes[dataset.labels[0]]}")
        style.outline(dataset.masks["target"][0], ax)
    style.save(fig, path)


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
    style.save(fig, path)


if __name__ == "__main__":
    style.use()
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    attention(images / "attention.png")
    puzzles(images / "puzzles.png")
    results(images / "results.png")
