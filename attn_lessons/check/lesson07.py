"""Exercises of lesson 07: reading between positions, where the points start, and points for each group."""

from collections.abc import Callable
from math import prod
from unittest.mock import patch

import torch

from . import core, probes
from .core import call, exercise, expect, same
from .source import reading
from .steps import explain
from .steps_points import GRID, GRID_VALUES, READ, READ_VALUES, SAMPLE, SAMPLE_VALUES, read, sampled, spread

STOPPED = {  # what torch says → what it means in this lesson
    "one element": "x and y hold n points: int() and .item() take one number, .long() takes them all.",
    "more than one value is ambiguous": "An if decides for one point; clamp and where serve all n of them.",
    "tensors used as indices": "Indices must be whole numbers: floor keeps floats, .long() makes whole ones.",
    "out of bounds": "x and y count positions already, and an image has three axes: channel, row, column.",
    "invalid combination of arguments": "A number of points must be whole: // keeps it so, / makes a float.",
    "numpy() on Tensor": "numpy brings no gradient back: compute with torch throughout.",
    "mode to be": "Hand options over by name, as in padding_mode='border': by position, mode comes first.",
    "expected grid and input to have same batch size": "grid_sample wants one grid for each image: with groups, each "
    "group of channels counts as an image of its own.",
    "grid_sampler": "grid_sample wants x of shape (B, C, H, W) and a grid of shape (B, h, w, 2), with one B for both.",
}


def expect_shape(attempt, result, wanted: str, given: str, ideas: dict[str, str], otherwise: str, **sizes: int) -> None:
    """As `probes.expect_shape`, with shapes spelled as in "B G*C h w"; how the code reads comes first."""

    def shape(names: str) -> tuple[int, ...]:
        return tuple(prod(int(n) if n.isdigit() else sizes[n] for n in name.split("*")) for name in names.split())

    told = "" if result.shape == shape(wanted) else reading(attempt)
    expect(not told, told)
    every = {shape(names): idea for shapes, idea in reversed(ideas.items()) for names in shapes.split(" | ")}
    probes.expect_shape(result, shape(wanted), given, every, otherwise)


# ------------------------------------------------------------------------------------------------ exercise 1
READ_SHAPES = {
    "n | 1 n": "every channel is read at each point: keep the axis of the channels.",
    "1 C n | C 1 n | C n 1 | 1 C 1 n": "there is an axis of size 1 too many.",
    "n C": "channels first, then points.",
    "C": "one value per point: x and y hold n points, and squeeze() would take the axis of a single one.",
    "C n n | n n": "each x met each y: index rows and columns together, so that they go in pairs.",
    "4 C n | C 4 n | C 2 2 n": "the four neighbours are still apart: add them up, each with its weight.",
}
UNEVEN = "where the image is 2.5 everywhere, you get other values: the four weights must add up to 1."
WEIGHTS = "the weight of a neighbour is (1 − its distance in x) times (1 − its distance in y); yours is another."
BEYOND = "There is no neighbour beyond the last column or row: what weight would it have? (The limit of an index is "
BEYOND += "W − 1 for columns, H − 1 for rows.)"
EDGE = f"inside it works, but not in the last column or row, or at whole coordinates. {BEYOND}"


def forbidden(*given):
    raise RuntimeError("grid_sample is what you are about to understand: write the four neighbours out")


@exercise("four neighbours, weighted by how near they are, and a gradient for the point itself: it can learn to move.")
def check_bilinear(attempt: Callable) -> None:
    """Check exercise 1 of lesson 07: ``bilinear(image (C, H, W), x (n,), y (n,)) → (C, n)``."""
    for c, h, w, n in ((3, 6, 8, 5), (6, 7, 5, 3), (5, 6, 6, 9), (1, 3, 8, 5), (7, 6, 3, 1)):
        image, end, some = 5 * torch.randn(c, h, w), torch.ones(n), torch.rand(2, n)
        inside = 1.2 + torch.linspace(0, min(h, w) - 3.3, n)  # a position to either side would still be inside
        columns, rows = (t.flatten() for t in torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"))
        columns = torch.cat([columns, end * (w - 1), some[0] * (w - 1)])
        rows = torch.cat([rows, some[1] * (h - 1), end * (h - 1)])
        _check_samples(attempt, image, inside, inside.roll(1), WEIGHTS, UNEVEN, STOPPED)
        _check_samples(attempt, image, columns, rows, EDGE, EDGE, STOPPED | {"out of bounds": BEYOND})
    inputs = torch.randn(3, 5, 7), torch.tensor([1.3, 2.6, 5.2]), torch.tensor([0.4, 2.2, 3.1])
    probes.expect_gradient(attempt, *inputs, names=("the image", "x", "y"), hints=STOPPED)
    probes.expect_same_gradient(attempt, read, *inputs)
    probes.expect_dtype(attempt, *inputs)


def _check_samples(attempt, image, x, y, otherwise: str, uneven: str, hints: dict[str, str]) -> None:
    with patch("torch.grid_sampler", forbidden):
        result = call(attempt, image, x, y, hints=hints)
    given, wanted = f"{len(image)} channels and {len(x)} points", "one value per channel and point is wanted, (C, n)."
    expect_shape(attempt, result, "C n", given, READ_SHAPES, wanted, C=len(image), n=len(x))

    def even() -> None:
        expect(same(call(attempt, torch.full_like(image, 2.5), x, y), torch.full_like(result, 2.5)), uneven)

    explain(result, read, (image, x, y), READ, otherwise, attempt, even, READ_VALUES)


# ------------------------------------------------------------------------------------------------ exercise 2
GRID_SHAPES = {
    "stride stride 2": "stride is the size of a cell, not the number of cells.",
    "1 h w 2": "the axis of the batch is not wanted here.",
    "2 h w | 2 w h | 2 h*w | h 2*w | 2*h w": "x and y belong on a last axis of their own: stack them there.",
    "h*w 2": "keep rows and columns apart: (h, w, 2).",
    "h w": "each point has two coordinates, x and y.",
    "w h 2": "rows first: h, then w. What does meshgrid do with indexing='xy', what with 'ij'?",
    "height width 2 | height width": "one point for every stride × stride positions is wanted, not for every position.",
}


@exercise("each point stands in the middle of its cell, and at stride 1 the image comes back as it was.")
def check_reference_grid(attempt: Callable) -> None:
    """Check exercise 2 of lesson 07: ``reference_grid(height, width, stride) → (h, w, 2)``."""
    for height, width, stride in ((15, 21, 3), (18, 30, 6), (8, 8, 2), (6, 6, 1), (3, 5, 1), (4, 8, 4)):
        h, w, given = height // stride, width // stride, f"height={height}, width={width}, stride={stride}"
        result = core.one_tensor(core.guarded(attempt, height, width, stride, given=given, hints=STOPPED))
        sizes = {"height": height, "width": width, "stride": stride, "h": h, "w": w}
        otherwise = f"one point for every stride × stride positions is wanted, ({h}, {w}, 2), x and y on the last axis."
        expect_shape(attempt, result, "h w 2", given, GRID_SHAPES, otherwise, **sizes)
        kind = str(result.dtype).removeprefix("torch.")
        told = f"your grid is in {kind}: coordinates from −1 to 1 need fractions, and grid_sample the image's float32."
        expect(kind == "float32", told)
        first, last = (f"({x:.2f}, {y:.2f})" for x, y in result[[0, -1], [0, -1]].tolist())
        idea = f"with {given}, {w} cells lie side by side in x and {h} in y, from edge to edge, −1 to 1: how wide is "
        idea += f"one, and where is its middle? Your points go from {first} to {last}."
        explain(result, spread, (height, width, stride), GRID, idea, attempt, values=GRID_VALUES)


# ------------------------------------------------------------------------------------------------ exercise 3
SAMPLE_SHAPES = {
    "B C H W": "your result is as large as x; one sample for each point is wanted.",
    "B G h w": "one channel a group is left: each of its C / G channels is read.",
    "B C w h": "rows of the points first: (B, C, h, w).",
    "B C h*w": "keep rows and columns of the points apart: (B, C, h, w).",
    "B k h G*w | B k G*h w | B*G k h w": "join the groups along the channels, dimension 1, and not along another.",
    "G B k h w | B G k h w": "the groups still have an axis of their own: join it with the channels.",
    "B k h w": "only one group is left: join all of them along the channels.",
    "B G C h w | B G*C h w | B*G C h w": "every channel was read at every group's points: it belongs to one group.",
    "B G*G h w | B G G h w": "a group has C / G channels; you cut pieces of G channels.",
}
VALUES_DIFFER = "each group reads its own channels at its own points, but the values are others: bilinear samples are "
VALUES_DIFFER += "wanted, with padding_mode='border' and align_corners=False, and nothing else."
SAMPLE_STOPPED = {
    "out of bounds": "You have other pieces than groups: G pieces of C / G channels are wanted.",
    "invalid for input of size": "Samples have the size of the grid, h × w, and x has H × W: which do you reshape?",
}


@exercise("each group of channels is read at its own points: four groups, four positions in one look.")
def check_sample_groups(attempt: Callable) -> None:
    """Check exercise 3 of lesson 07: ``sample_groups(x (B, C, H, W), grid (B, G, h, w, 2)) → (B, C, h, w)``."""
    for b, g, k, *size, h, w in ((5, 3, 6, 7, 13, 8, 9), (3, 5, 1, 7, 6, 3, 1), (1, 1, 5, 6, 7, 9, 8)):
        x, grid = torch.randn(b, g * k, *size), torch.rand(b, g, h, w, 2) * 2.4 - 1.2
        result = call(attempt, x, grid, hints=STOPPED | SAMPLE_STOPPED)
        sizes = dict(zip("BGkCHWhw", (b, g, k, g * k, *size, h, w), strict=True))
        given = f"x of shape {tuple(x.shape)} and a grid of shape {tuple(grid.shape)}"
        otherwise = "one sample for each channel and point of its group is wanted, (B, C, h, w)."
        expect_shape(attempt, result, "B C h w", given, SAMPLE_SHAPES, otherwise, **sizes)

        def who_reads_where(x=x, grid=grid, k=k, result=result) -> None:
            moved = grid.clone()
            moved[0, 0] = -0.7 * moved[0, 0] + 0.05
            others = ~torch.isclose(call(attempt, x, moved), result, atol=1e-5).flatten(2).all(2)
            told = f"move the points of the first group of the first image: only its first C / G = {k} channels should "
            expect(others[0, :k].all() and others.sum() == k, f"{told}change, and all of them.")

        explain(result, sampled, (x, grid), SAMPLE, VALUES_DIFFER, attempt, values=SAMPLE_VALUES, last=who_reads_where)
    inputs = torch.randn(3, 10, 6, 7), torch.rand(3, 5, 8, 9, 2) * 1.6 - 0.8
    probes.expect_gradient(attempt, *inputs, names=("x", "the points"), hints=STOPPED)
    probes.expect_same_gradient(attempt, sampled, *inputs)
    probes.expect_dtype(attempt, *inputs)
