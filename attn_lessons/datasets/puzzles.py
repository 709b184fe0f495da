"""GlyphWorld: images on which one can see what attention is for, drawn on the spot.

Each image shows a few glyphs, the candidates, and a cue that names one of them; the label is the shape of the one
named. The candidates are balanced, so a network that adds up local votes stays at a known ceiling. The four puzzles
differ in where the cue is and how it names the glyph:

``key``     a colour chip in the corner names a colour
``frames``  thin frames stand around two of four glyphs
``board``   a tick at the left names a row, a tick at the top a column
``lookup``  a star shows a hue: find the glyph of the same hue

Introduced in lesson 01; `scene` has what the puzzles draw with.
"""

from collections.abc import Callable

import numpy as np
import torch

from ..arguments import name_of, one_of, whole_number
from .image_set import ImageSet
from .scene import CHIP, CHIP_COLORS, COLORS, COLUMN_TICK, FRAME, ROW_TICK, STAR, WHITE, Draw, Scene, pick

CHUNK = 250  # images drawn at once; the bytes do not depend on it


def key(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Two glyphs of two colours; the chip in the corner shows the colour of the one to read."""
    shapes, colors = scene.draw.shuffled(4)[:, :2], scene.draw.shuffled(4)[:, :2]
    named = scene.choose(shapes)
    positions = scene.positions(2, 24, 56, gap=15)
    for k in range(2):
        scene.glyph(shapes[:, k], scene.tint(CHIP_COLORS[colors[:, k]]), positions[:, k], candidate=k)
    scene.stamp(CHIP, scene.tint(CHIP_COLORS[pick(colors, named)], most=16), (6, 6))
    return shapes, named


def frames(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Four glyphs, alike along each diagonal; two frames stand around the diagonal to read."""
    shapes = scene.draw.shuffled(4)[:, :2]  # of the two diagonals
    named = scene.choose(shapes)
    positions = np.array([(16, 16), (16, 46), (46, 16), (46, 46)]) + scene.draw.integers(0, 2, 4, 2)
    for quarter, diagonal in enumerate((0, 1, 1, 0)):
        color = scene.tint(COLORS[scene.draw.integers(0, 7)])
        scene.glyph(shapes[:, diagonal], color, positions[:, quarter], candidate=diagonal)
    scene.stamp(FRAME, WHITE, pick(positions[:, :2], named))  # upper left or upper right
    scene.stamp(FRAME, WHITE, pick(positions[:, 2:], 1 - named))  # and the quarter across
    return shapes, named


def board(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Nine glyphs, three of each shape; a tick at the left and one at the top name the row and column to read."""
    scene.classes = scene.classes[:3]
    shapes = scene.draw.shuffled(9) % 3
    named = scene.choose(shapes)
    for k in range(9):
        position = np.array((20 + 17 * (k // 3), 20 + 17 * (k % 3))) + scene.draw.integers(-1, 2, 2)
        scene.glyph(shapes[:, k], scene.tint(COLORS[scene.draw.integers(0, 7)]), position, candidate=k)
    middle, edge = 20 + 17 * np.stack([named // 3, named % 3]), np.full(scene.n, 3)
    scene.stamp(ROW_TICK, WHITE, np.stack([middle[0], edge], 1))
    scene.stamp(COLUMN_TICK, WHITE, np.stack([edge, middle[1]], 1))
    return shapes, named


def lookup(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Four glyphs of four hues a quarter of the colour circle apart; the star has the hue of the one to read."""
    shapes = scene.draw.shuffled(4)
    named = scene.choose(shapes)
    hues = scene.draw.integers(0, 1536, 1) + 384 * scene.draw.shuffled(4) + scene.draw.integers(-46, 47, 4)
    positions = scene.positions(5, 8, 56, gap=16)
    for k in range(4):
        scene.glyph(shapes[:, k], rgb(hues[:, k]), positions[:, k], candidate=k)
    scene.glyph(STAR, rgb(pick(hues, named) + scene.draw.integers(-31, 32)), positions[:, 4])
    return shapes, named


def rgb(hue: np.ndarray) -> np.ndarray:
    """Hue (n,), 1536 to the full circle, 0 is red → bright colour (n, 3), levels 38 to 255."""
    position = (hue[:, None] + (1280, 768, 256)) % 1536
    return 255 - 217 * np.minimum(position, 1024 - position).clip(0, 256) // 256


Puzzle = Callable[[Scene], tuple[np.ndarray, np.ndarray]]
PUZZLES: dict[str, Puzzle] = {"key": key, "frames": frames, "board": board, "lookup": lookup}
CEILINGS = {"key": 1 / 2, "frames": 1 / 2, "board": 1 / 3, "lookup": 1 / 4}


def must_be_a_puzzle(name: str, draw_on: Puzzle, seed: int, n: int = 10) -> None:
    """Refuse, in one sentence, what an own puzzle forgets most easily."""
    first, again = (Scene(Draw([seed, *name.encode()], 0, n), False) for _ in range(2))
    (shapes, named), _ = draw_on(first), draw_on(again)
    if (first.pixels != again.pixels).any():
        raise ValueError(f"{name} draws other images when it is asked again: take all chance from scene.draw.")
    if missing := [k for k in range(shapes.shape[1]) if k not in first.drawn]:
        raise ValueError(f"{name} draws no candidate {missing[0]}: say candidate={missing[0]} where you draw it.")
    if shapes.shape[1] > 1 and first.has_cue and None not in first.drawn:
        raise ValueError(f"{name} draws no cue: draw it without candidate=, or say scene.has_cue = False.")
    seen = (first.owner[:, 0] == named[:, None, None] + 1).sum((1, 2))
    drawn = pick(np.stack([first.drawn[k] for k in range(shapes.shape[1])], 1), named)
    if (seen < drawn / 2).any():
        raise ValueError(f"{name} covers more than half of its target in image {(seen < drawn / 2).argmax()}: move it.")


# ------------------------------------------------------------------------------------------------ the dataset
def glyphworld(puzzle: str | Puzzle, n: int, seed: int = 0, swap_cue: bool = False) -> ImageSet:
    """Draw `n` images of one puzzle.

    Parameters
    ----------
    puzzle : {"key", "frames", "board", "lookup"} or callable
        A name in `PUZZLES`, or a puzzle of your own: a function that draws on a `Scene` and returns the shapes of the
        candidates (n, K) and which of them the cue names (n,). ``PUZZLES["name"] = function`` gives it a name.
    n : int
        At least 1. 10,000 images take a few seconds and 250 MB.
    seed : int, default 0
        At least 0. Same seed, same bytes, on every machine. The first images do not depend on `n`; different seeds
        and different puzzles share nothing: train with one seed and test with another.
    swap_cue : bool, default False
        The very same images, except that each cue names another glyph, of another shape. Label and masks follow; no
        pixel outside the old and the new cue mask changes.

    Returns
    -------
    ImageSet
        images uint8 (n, 3, 64, 64); labels int64 (n,), each class equally likely; masks bool (n, 64, 64): "target" and
        "distractors" hold every pixel that these glyphs cover, if only in part, "cue" every pixel that drawing the cue
        changed. No two masks overlap.

    Raises
    ------
    ValueError
        For an unknown name, n < 1, seed < 0, or a puzzle that draws outside the image. For a puzzle of your own that
        draws no candidate or no cue, covers its target, or draws something else when it is asked again.
    TypeError
        If `n` or `seed` is not an integer.

    Notes
    -----
    `CEILINGS` holds the accuracy at which a sum of local votes, trained with cross-entropy, settles. Cross-entropy is
    convex in the votes, and exchanging two shapes, two colours or two positions turns a puzzle into itself: so the best
    votes treat all candidates alike, and every shape of the image is as likely as its share of the candidates.

    Examples
    --------
    >>> images = glyphworld("key", 100)
    >>> images
    ImageSet('GlyphWorld key': 100 images of 64×64, 4 classes)
    >>> swapped = glyphworld("key", 100, swap_cue=True)
    >>> (images.labels == swapped.labels).sum().item()
    0

    A puzzle of your own: two glyphs, and a star right above the one to read.

    >>> def above(scene):
    ...     shapes = scene.draw.shuffled(4)[:, :2]
    ...     named = scene.choose(shapes)
    ...     for k in range(2):
    ...         scene.glyph(shapes[:, k], scene.tint(COLORS[k]), (44, 18 + 28 * k), candidate=k)
    ...     scene.glyph(STAR, WHITE, np.stack([np.full(scene.n, 20), 18 + 28 * named], 1))
    ...     return shapes, named
    >>> glyphworld(above, 10).masks["cue"].shape
    torch.Size([10, 64, 64])
    """
    if not callable(puzzle):
        one_of("puzzle", puzzle, PUZZLES)
    name, draw_on = (name_of(puzzle), puzzle) if callable(puzzle) else (puzzle, PUZZLES[puzzle])
    whole_number("n", n, 1), whole_number("seed", seed, 0)
    if getattr(draw_on, "__module__", None) != __name__:
        must_be_a_puzzle(name, draw_on, seed)

    chunks = []
    for first in range(0, n, CHUNK):
        scene = Scene(Draw([seed, *name.encode()], first, min(CHUNK, n - first)), swap_cue)
        shapes, named = draw_on(scene)
        owner = scene.owner[:, 0]
        target = owner == named[:, None, None] + 1
        chunks.append((scene.pixels, pick(shapes, named), target, owner == -1, (owner > 0) & ~target))
    images, labels, *masks = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*chunks, strict=True))
    masks = dict(zip(("target", "cue", "distractors"), masks, strict=True))
    return ImageSet(f"GlyphWorld {name}" + ", cue swapped" * swap_cue, images, labels, scene.classes, masks)
