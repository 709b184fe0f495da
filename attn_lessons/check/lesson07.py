"""Exercises of lesson 07: reading between positions, where the points start, and points for each group."""

from collections.abc import Callable
from math import prod
from unittest.mock import patch

import torch

from . import core, probes
from .core import call, exercise, expect, same
from .source import reading
from .steps import explain
from .steps_points import GRID, READ, SAMPLE, read, sampled, spread

WHOLE = "Indices must be whole numbers: floor keeps a tensor of floats, .long() turns it into whole ones."
STOPPED = {  # what torch says → what it means in this lesson
    "one element": "x and y hold n points: int() and .item() take one number, .long() takes them all.",
    "more than one value is ambiguous": "An if decides for one point; clamp and where serve all n of them.",
    "tensors used as indices": WHOLE,
    "only integer tensors": WHOLE,
    "out of bounds": "x and y count positions already, and an image has three axes: channel, row, column.",
    "shape of the mask": "An index of type bool or uint8 is taken for a mask: .long() makes an index of it.",
    "invalid combination of arguments": "A number of points must be whole: // keeps it so, / makes a float.",
    "numpy() on Tensor": "numpy brings no gradient back: compute with torch throughout.",
    "expected grid and input to have same batch size": "grid_sample wants one grid for each image: with groups, each "
    "group of channels counts as an image of its own.",
    "grid_sampler": "grid_sample wants x of shape (B, C, H, W) and a grid of shape (B, h, w, 2), with one B for both.",
}
TYPE = "your result has another dtype than your inputs: leave it as it is."
AGAIN = "two calls with the same inputs give two results: is there dropout or another source of chance in it?"


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
    "n": "every channel is read at each point: keep the axis of the channels.",
    "1 C n | C 1 n | C n 1 | 1 C 1 n": "there is an axis of size 1 too many.",
    "n C": "channels first, then points.",
    "C": "one value per point: x and y hold n points, and squeeze() would take the axis of a single one.",
    "C n n | n n": "each x met each y: index rows and columns together, so that they go in pairs.",
    "4 C n | C 4 n | C 2 2 n": "the four neighbours are still apart: add them up, each with its weight.",
}


@exercise("four neighbours, weighted by how near they are, and a gradient for the point itself: it can learn to move.")
def check_bilinear(attempt: Callable) -> None:
    """Check exercise 1 of lesson 07: ``bilinear(image (C, H, W), x (n,), y (n,)) → (C, n)``."""
    for c, h, w, n in ((3, 6, 8, 5), (6, 7, 5, 3), (5, 6, 6, 9), (1, 3, 8, 5), (7, 6, 3, 1)):
        image, most, end, some = 5 * torch.randn(c, h, w), min(h, w) - 2, torch.ones(n), torch.rand(4, n)
        x, y = some[:2] * (most - 0.2) + 0.1
        x[0], y[0] = most - 0.2, most - 0.7
        middle = "the weight of a neighbour is (1 − its distance in x) times (1 − its distance in y); yours is another."
        uneven = "where the image is 2.5 everywhere, you get other values: the four weights must add up to 1."
        _check_samples(attempt, image, x, y, middle, uneven, STOPPED)
        rows, columns = (t.flatten().float() for t in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
        x = torch.cat([columns, end * (w - 1), some[2] * (w - 1)])
        y = torch.cat([rows, some[3] * (h - 1), end * (h - 1)])
        edge = (
            "nside it works, but not in the last column or row, or at whole coordinates. There is no neighbour beyond: "
        )
        edge += "what weight would it have? (The limit of an index is W − 1 for columns, H − 1 for rows.)"
        _check_samples(attempt, image, x, y, "i" + edge, "i" + edge, STOPPED | {"out of bounds": "I" + edge})
    inputs = torch.randn(3, 5, 7), torch.tensor([1.3, 2.6, 5.2]), torch.tensor([0.4, 2.2, 3.1])
    probes.expect_gradient(attempt, *inputs, names=("the image", "x", "y"), hints=STOPPED)
    probes.expect_same_gradient(attempt, read, *inputs)
    probes.expect_dtype(attempt, *inputs)


def _check_samples(attempt, image, x, y, otherwise: str, uneven: str, hints: dict[str, str]) -> None:
    with patch("torch.grid_sampler", wraps=torch.grid_sampler) as forbidden:
        try:
            result = call(attempt, image, x, y, hints=hints)
        finally:
            idea = "grid_sample is what you are about to understand: write the four neighbours out."
            expect(not forbidden.called, idea)
    given, wanted = f"{len(image)} channels and {len(x)} points", "one value per channel and point is wanted, (C, n)."
    expect_shape(attempt, result, "C n", given, READ_SHAPES, wanted, C=len(image), n=len(x))

    expect(result.dtype == image.dtype, TYPE)

    def properties() -> None:
        expect(not (told := reading(attempt)), told)
        expect(same(call(attempt, image, x, y), result), AGAIN)
        even = call(attempt, torch.full_like(image, 2.5), x, y)
        expect(same(even, torch.full_like(even, 2.5)), uneven)

    explain(result, read, (image, x, y), READ, otherwise, attempt, properties)


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
        expect(result.is_floating_point(), "your grid holds whole numbers; coordinates from −1 to 1 need fractions.")
        kind = str(result.dtype).removeprefix("torch.")
        expect(kind == "float32", f"your grid is in {kind}: grid_sample wants the dtype of the image, float32.")
        idea = f"with {given}, your points are not the middles of the cells: from edge to edge, −1 to 1, {w} cells lie "
        idea += "side by side. How wide is one, and where is its middle?"
        explain(result, spread, (height, width, stride), GRID, idea, attempt)


# ------------------------------------------------------------------------------------------------ exercise 3
PIECES = "You have other pieces than groups: G pieces of C / G channels are wanted."
SAMPLE_SHAPES = {
    "B C H W": "your result is as large as x; one sample for each point is wanted.",
    "B G h w": "one channel a group is left: each of its C / G channels is read.",
    "B C h*w": "keep rows and columns of the points apart: (B, C, h, w).",
    "B k h G*w | B k G*h w | B*G k h w": "join the groups along the channels, dimension 1, and not along another.",
    "G B k h w | B G k h w": "the groups still have an axis of their own: join it with the channels.",
    "B k h w": "only one group is left: join all of them along the channels.",
    "B G C h w | B G*C h w | B*G C h w": "every channel was read at every group's points: it belongs to one group.",
    "B G*G h w | B G G h w": "a group has C / G channels; you cut pieces of G channels.",
}


@exercise("each group of channels is read at its own points: four groups, four positions in one look.")
def check_sample_groups(attempt: Callable) -> None:
    """Check exercise 3 of lesson 07: ``sample_groups(x (B, C, H, W), grid (B, G, h, w, 2)) → (B, C, h, w)``."""
    for b, g, width, *size, h, w in (
        (5, 3, 6, 7, 13, 8, 9), (3, 5, 3, 6, 6, 6, 6), (1, 4, 2, 6, 3, 2, 1), (3, 5, 1, 7, 6, 3, 4),
        (3, 1, 5, 6, 7, 9, 8),
    ):  # fmt: skip
        x, grid, c = torch.randn(b, g * width, *size), torch.rand(b, g, h, w, 2) * 2.4 - 1.2, g * width
        result = call(attempt, x, grid, hints=STOPPED | {"out of bounds": PIECES})
        sizes = dict(zip("BGkCHWhw", (b, g, width, c, *size, h, w), strict=True))
        given = f"x of shape {tuple(x.shape)} and a grid of shape {tuple(grid.shape)}"
        otherwise = "one sample for each channel and point of its group is wanted, (B, C, h, w)."
        expect_shape(attempt, result, "B C h w", given, SAMPLE_SHAPES, otherwise, **sizes)

        expect(result.dtype == x.dtype, TYPE)

        def who_reads_what(x=x, grid=grid, width=width, result=result) -> None:
            changed, shifted = x.clone(), grid.clone()
            changed[-1, -1] += 1 + torch.rand_like(changed[-1, -1])
            shifted[0, 0] = -0.7 * shifted[0, 0] + 0.05
            results = call(attempt, x, grid), call(attempt, changed, grid), call(attempt, x, shifted)
            again, channel, group = (~torch.isclose(r, result, atol=1e-5).flatten(2).all(2) for r in results)
            expect(not (told := reading(attempt)), told)
            expect(not again.any(), AGAIN)
            told = "change the last channel of the last image, and"
            expect(channel[-1, -1], f"{told} its samples do not change: are they read from it?")
            expect(channel.sum() == 1, f"{told} other samples change, too: every channel is read by itself.")
            told = "move the points of the first group of the first image, and"
            expect(not group[1:].any(), f"{told} samples of another image change: images stay apart.")
            expect(not group[0, width:].any(), f"{told} other channels than its first C / G = {width} change.")
            expect(group[0, :width].all(), f"{told} not all of its C / G = {width} channels change.")

        otherwise = "each group reads its own channels at its own points, but the values are others: bilinear samples "
        otherwise += "are wanted, with padding_mode='border' and align_corners=False, and nothing else."
        explain(result, sampled, (x, grid), SAMPLE, otherwise, attempt, who_reads_what)
    inputs = torch.randn(3, 10, 6, 7), torch.rand(3, 5, 8, 9, 2) * 1.6 - 0.8
    probes.expect_gradient(attempt, *inputs, names=("x", "the points"), hints=STOPPED)
    probes.expect_same_gradient(attempt, sampled, *inputs)
    probes.expect_dtype(attempt, *inputs)
