"""Exercises of lesson 07: reading between positions, where the points start, and points for each group."""

from collections.abc import Callable
from itertools import permutations
from math import prod
from unittest.mock import patch

import torch
import torch.nn.functional as F

from . import core
from .core import call, exercise, expect, same
from .source import reading
from .steps import Table, explain

WHOLE = "Indices must be whole numbers: floor keeps a tensor of floats, .long() turns it into whole ones."
STOPPED = {  # what torch says → what it means in this lesson
    "one element": "x and y hold n points: int() and .item() take one number, .long() takes them all.",
    "more than one value is ambiguous": "An if decides for one point; clamp and where serve all n of them.",
    "tensors used as indices": WHOLE,
    "only integer tensors": WHOLE,
    "out of bounds": "x and y count positions already, and an image has three axes: channel, row, column.",
    "numpy() on Tensor": "numpy brings no gradient back: compute with torch throughout.",
    "expected grid and input to have same batch size": "grid_sample wants one grid for each image: with groups, each "
    "group of channels counts as an image of its own.",
    "grid_sampler": "grid_sample wants x of shape (B, C, H, W) and a grid of shape (B, h, w, 2), with one B for both.",
}
AGAIN = "two calls with the same inputs give two results: is there dropout or another source of chance in it?"


def expect_shape(attempt, result, wanted: str, given: str, ideas: dict[str, str], otherwise: str, **sizes: int) -> None:
    """As `core.expect_shape`, with shapes spelled as in "B G*C h w"; how the code reads comes first."""

    def shape(names: str) -> tuple[int, ...]:
        return tuple(prod(int(n) if n.isdigit() else sizes[n] for n in name.split("*")) for name in names.split())

    told = "" if result.shape == shape(wanted) else reading(attempt)
    expect(not told, told)
    every = {shape(names): idea for shapes, idea in reversed(ideas.items()) for names in shapes.split(" | ")}
    core.expect_shape(result, shape(wanted), given, every, otherwise)


def each_axis(tables: dict[str, Table]) -> dict[str, Table]:
    """Mistakes along both axes, and the same along one of them."""
    rows = [(step, idea, wrong) for step, table in tables.items() for idea, wrong in table.items()]
    return tables | {axis: {f"along {axis}, {idea}": {step: wrong} for step, idea, wrong in rows} for axis in "xy"}


# ------------------------------------------------------------------------------------------------ exercise 1
WHERE: Table = {  # t: the coordinates along an axis of `size` positions
    "you count positions from 1: the first is 0.": lambda t, size: (t - 1).clamp(min=0),
    "you count from the far end: x grows to the right and y downwards.": lambda t, size: size - 1 - t,
    "you pull the last points back: only an index needs a limit.": lambda t, size: t.clamp(max=size - 2),
    "you take the nearest position only, and it has no gradient: mix all four.": lambda t, size: (t + 0.5).floor(),
}
NEIGHBOURS: Table = {
    "you round where floor is meant: a fraction lies between 0 and 1.": lambda t: (t.round(), t.round() + 1),
    "you take ceil where floor is meant: a fraction lies between 0 and 1.": lambda t: (t.ceil(), t.ceil() + 1),
    "the second neighbour is at floor + 1, not before the first.": lambda t: (t.floor(), t.floor() - 1),
}
WEIGHTS: Table = {  # a: the fraction
    "at whole coordinates both weights vanish (floor is ceil): give 1 − fraction.": lambda a: ((a > 0) * (1 - a), a),
    "you take the first neighbour only, or twice: mix it with the next.": lambda a: (0 * a + 1, 0 * a),
    "you take the second neighbour only, or twice: mix it with the first.": lambda a: (0 * a, 0 * a + 1),
    "you take the plain mean of the neighbours: the nearer counts more.": lambda a: (0 * a + 0.5, 0 * a + 0.5),
    "you add up the neighbours: weight each by how near it is.": lambda a: (0 * a + 1, 0 * a + 1),
    "near and far are turned round: at fraction 0, the first has all the weight.": lambda a: (a, 1 - a),
    "both neighbours get the weight of the second: the first has 1 − fraction.": lambda a: (a, a),
    "both neighbours get the weight of the first: the second has the fraction.": lambda a: (1 - a, 1 - a),
    "one weight has the wrong sign: it is 1 − fraction, not fraction − 1.": lambda a: (a - 1, a),
    "the first neighbour keeps the whole weight: it has 1 − fraction.": lambda a: (0 * a + 1, a),
    "you square the weights: take them as they are.": lambda a: ((1 - a) ** 2, a**2),
}


def product(four, v, u):
    return torch.einsum("cijn,in,jn->cn", four, v, u)


def misplaced(i: int, j: int) -> Callable:
    order = [j if k == i else k for k in range(4)]
    return lambda four, v, u: product(four.flatten(1, 2)[:, order].view_as(four), v, u)


CORNERS = "upper left", "upper right", "lower left", "lower right"
MIX: Table = {  # four: (C, 2, 2, n); v, u: the weights in y and in x, (2, n) each
    "the fractions, or upper right and lower left, have changed places.": lambda four, v, u: product(four, u, v),
    "you use the fraction of x for both axes.": lambda four, v, u: product(four, u, u),
    "you use the fraction of y for both axes.": lambda four, v, u: product(four, v, v),
    "you add the shares in x and in y: multiply them.": lambda four, v, u: (four * (v[:, None] + u)).sum((1, 2)),
    **{f"the {CORNERS[i]} neighbour is read where the {CORNERS[j]} one is: check its row and column.": misplaced(i, j)
       for i, j in permutations(range(4), 2)},
}  # fmt: skip
LAST: Table = {
    "you average over the channels: each keeps its own.": lambda v: v.mean(0, keepdim=True).expand_as(v),
    "you set negative values to 0: leave them as they are.": torch.relu,
    "every point gets the value of the first one.": lambda v: v[:, :1].expand_as(v),
}
SWAP: Table = {
    "x and y have changed places: x counts columns, but an index has the row first.": lambda x, y: (y, x),
    "you use x for both axes.": lambda x, y: (x, x),
    "you use y for both axes.": lambda x, y: (y, y),
}
READ = {"swap": SWAP, "mix": MIX, "after": LAST}
READ |= each_axis({"where": WHERE, "neighbours": NEIGHBOURS, "weights": WEIGHTS})
READ_SHAPES = {
    "n": "every channel is read at each point: keep the axis of the channels.",
    "1 C n | C 1 n | C n 1 | 1 C 1 n": "there is an axis of size 1 too many.",
    "n C": "channels first, then points.",
    "C": "one value per point: x and y hold n points, and squeeze() would take the axis of a single one.",
    "C n n | n n": "each x met each y: index rows and columns together, so that they go in pairs.",
    "4 C n | C 4 n | C 2 2 n": "the four neighbours are still apart: add them up, each with its weight.",
}


def along(t, size, where=lambda t, size: t, neighbours=lambda t: (t.floor(), t.floor() + 1),
          weights=lambda a: (1 - a, a)):  # fmt: skip
    """Indices and weights of the two neighbours along one axis, (2, n) each."""
    t = where(t, size)
    first, second = neighbours(t)
    return torch.stack([first, second.clamp(max=size - 1)]).long(), torch.stack(weights(t - first))


def read(image, a, b, swap=lambda x, y: (x, y), mix=product, after=lambda value: value, x=None, y=None, **both):
    a, b = swap(a, b)
    (columns, u), (rows, v) = along(a, image.shape[2], **(x or both)), along(b, image.shape[1], **(y or both))
    return after(mix(image[:, rows[:, None], columns[None]], v, u))


@exercise("four neighbours, weighted by how near they are, and a gradient for the point itself: it can learn to move.")
def check_bilinear(attempt: Callable) -> None:
    """Check exercise 1 of lesson 07: ``bilinear(image (C, H, W), x (n,), y (n,)) → (C, n)``."""
    for c, h, w, n in ((3, 6, 8, 5), (6, 7, 5, 3), (5, 6, 6, 9), (1, 3, 8, 5), (7, 6, 3, 1)):
        image, most, end, some = 5 * torch.randn(c, h, w), min(h, w) - 2, torch.ones(n), torch.rand(4, n)
        x, y = some[:2] * (most - 0.2) + 0.1
        x[0], y[0] = most - 0.2, most - 0.7
        middle = "the weight of a neighbour is (1 − its distance in x) times (1 − its distance in y); yours is another."
        _check_samples(attempt, image, x, y, middle, STOPPED)
        rows, columns = (t.flatten().float() for t in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
        x = torch.cat([columns, end * (w - 1), some[2] * (w - 1)])
        y = torch.cat([rows, some[3] * (h - 1), end * (h - 1)])
        edge = (
            "nside it works, but not in the last column or row, or at whole coordinates. There is no neighbour beyond: "
        )
        edge += "what weight would it have? (The limit of an index is W − 1 for columns, H − 1 for rows.)"
        _check_samples(attempt, image, x, y, "i" + edge, STOPPED | {"out of bounds": "I" + edge})
    inputs = torch.randn(3, 5, 7), torch.tensor([1.3, 2.6, 5.2]), torch.tensor([0.4, 2.2, 3.1])
    core.expect_gradient(attempt, *inputs, names=("the image", "x", "y"), hints=STOPPED)
    core.expect_same_gradient(attempt, read, *inputs)
    core.expect_dtype(attempt, *inputs)


def _check_samples(attempt, image, x, y, otherwise: str, hints: dict[str, str]) -> None:
    with patch("torch.grid_sampler", wraps=torch.grid_sampler) as forbidden:
        try:
            result = call(attempt, image, x, y, hints=hints)
        finally:
            idea = "grid_sample is what you are about to understand: write the four neighbours out."
            expect(not forbidden.called, idea)
    given, wanted = f"{len(image)} channels and {len(x)} points", "one value per channel and point is wanted, (C, n)."
    expect_shape(attempt, result, "C n", given, READ_SHAPES, wanted, C=len(image), n=len(x))

    def properties() -> None:
        expect(same(call(attempt, image, x, y), result), AGAIN)
        even = call(attempt, torch.full_like(image, 2.5), x, y)
        uneven = "where the image is 2.5 everywhere, you get other values: the four weights must add up to 1."
        expect(same(even, torch.full_like(even, 2.5)), uneven)

    explain(result, read, (image, x, y), READ, otherwise, attempt, properties)


# ------------------------------------------------------------------------------------------------ exercise 2
START: Table = {  # where in cell i its point is, in cells; s: the stride
    "these are the upper left corners of the cells: add half a cell.": lambda i, s: i,
    "these are the lower right corners of the cells: half a cell too far.": lambda i, s: i + 1,
    "you add a quarter of a cell: the image is 2 wide, a cell 2 / n, half of it 1 / n.": lambda i, s: i + 0.25,
    "these are the middles of each cell's upper left position: take the middle of the cell.": lambda i, s: i + 0.5 / s,
    "half a position is missing: half a cell is stride / 2, where // rounds down.": lambda i, s: i + (s - 1) / 2 / s,
    "half a cell is stride / 2, also for an even stride: + 0.5 is too much.": lambda i, s: i + (s // 2 + 0.5) / s,
}
COUNT: Table = {  # how many cells are 2 wide; m: those along the other axis
    "you divide by n − 1, a part of the published fault: n cells lie side by side.": lambda n, m, s: max(n - 1, 1),
    "you divide by size − 1: the image is as wide as all its positions.": lambda n, m, s: n - 1 / s,
    "you divide by the other axis: x by the number of columns, y by that of rows.": lambda n, m, s: m,
    "your points lie a position apart: cells are stride positions wide.": lambda n, m, s: n * s,
}
UNITS: Table = {  # u: from 0 to 1, over n cells
    "your coordinates go from 0 to 1: grid_sample's go from −1 to 1.": lambda u, n, s: u,
    "your coordinates go from 0 to 2: subtract 1.": lambda u, n, s: 2 * u,
    "your coordinates go from −1/2 to 1/2: grid_sample's go from −1 to 1.": lambda u, n, s: u - 0.5,
    "your points are counted in positions: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n * s - 0.5,
    "your points are counted from the edge: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n * s,
    "your points are counted in cells: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n,
    "// rounds down: divide with /.": lambda u, n, s: (2 * u).floor() - 1,
    "i + 0.5 needs brackets: * and / come before +.": lambda u, n, s: u * n - 1.5 + 1 / n,
    "you add 0.5 to coordinates from −1 to 1: half a cell is 1 / n there.": lambda u, n, s: 2 * u - 1 / n - 0.5,
    "your outermost points lie on the edges, as for align_corners=True: middles of cells lie further in.":
    lambda u, n, s: (2 * u * n - 1) / max(n - 1, 1) - 1,
    "the points are right for align_corners=True: here −1 and 1 are the outer edges.":
    lambda u, n, s: (2 * u * n * s - 1) / (n * s - 1) - 1,
}  # fmt: skip
ARRANGE: Table = {
    "y stands before x: grid_sample wants x, then y, in the last axis.": lambda g: g.flip(-1),
    "rows and columns have changed places: x grows along a row.": lambda g: g.transpose(0, 1).reshape(g.shape),
    "reshape mixes x and y: stack them on the last axis.": lambda g: g.permute(2, 0, 1).reshape(g.shape),
    "y counts upwards: in an image it grows from the top down.": lambda g: g.flip(0),
    "both axes are turned round: −1 is the left and the upper edge.": lambda g: -g,
    "x stands twice: the second coordinate is y.": lambda g: g[..., :1].expand_as(g),
}
GRID = {"arrange": ARRANGE} | each_axis({"start": START, "count": COUNT, "units": UNITS})
GRID_SHAPES = {
    "stride stride 2": "stride is the size of a cell, not the number of cells.",
    "1 h w 2": "the axis of the batch is not wanted here.",
    "2 h w | 2 w h | 2 h*w": "x and y belong on the last axis, after rows and columns: stack them there.",
    "h*w 2": "keep rows and columns apart: (h, w, 2).",
    "h w": "each point has two coordinates, x and y.",
    "w h 2": "rows first: h, then w. What does meshgrid do with indexing='xy', what with 'ij'?",
    "height width 2 | height width": "one point for every stride × stride positions is wanted, not for every position.",
}


def points(n, m, s, start=lambda i, s: i + 0.5, count=lambda n, m, s: n, units=lambda u, n, s: 2 * u - 1):
    return units(start(torch.arange(n), s) / count(n, m, s), n, s)


def spread(height, width, stride, arrange=lambda g: g, x=None, y=None, **both):
    h, w = height // stride, width // stride
    columns, rows = points(w, h, stride, **(x or both)), points(h, w, stride, **(y or both))
    return arrange(torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1))


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
        idea = f"with {given}, your points are not the middles of the cells: from edge to edge, −1 to 1, {w} cells lie "
        idea += "side by side. How wide is one, and where is its middle?"
        explain(result, spread, (height, width, stride), GRID, idea, attempt)
        kind = str(result.dtype).removeprefix("torch.")
        expect(kind == "float32", f"your grid is in {kind}: grid_sample wants the dtype of the image, float32.")


# ------------------------------------------------------------------------------------------------ exercise 3
OWNER: Table = {  # i: which group's points a channel is read at
    "every group gets the points of the first one: each has its own.": lambda i, groups: 0 * i,
    "every group gets the points of the last one: each has its own.": lambda i, groups: 0 * i + groups - 1,
    "the groups are in reverse order.": lambda i, groups: groups - 1 - i,
    "channels go to groups in turns: a group is C / G side by side.": lambda i, groups: torch.arange(len(i)) % groups,
}
MIXED = "images and groups are mixed up: (B · G) runs over the groups of the first image first, "
AT: Table = {
    "every group gets the mean of all points: each has its own.": lambda x, g: g.mean(1, keepdim=True).expand_as(g),
    "every image gets the points of the first one: each has its own.": lambda x, g: g[:1].expand_as(g),
    MIXED + "for the grid, too.": lambda x, g: g.transpose(0, 1).reshape(g.shape),
    MIXED + "in the grid as in x.": lambda x, g: g.reshape(g.shape[1], g.shape[0], *g.shape[2:]).transpose(0, 1),
    "x and y have changed places: the grid holds x before y already.": lambda x, g: g.flip(-1),
    "rows and columns of the points have changed places.": lambda x, g: g.transpose(2, 3).reshape(g.shape),
    "the grid says where to read already: no tanh here.": lambda x, g: g.tanh(),
    "the grid goes from −1 to 1 already: do not halve and move it.": lambda x, g: (g + 1) / 2,
    "the grid goes from −1 to 1, not from 0 to 1: leave it.": lambda x, g: g * 2 - 1,
    "the grid is not counted in positions: leave it.": lambda x, g: (2 * g + 1) / torch.tensor(x.shape[:1:-1]) - 1,
    "you make positions of the grid: leave it.": lambda x, g: ((g + 1) * torch.tensor(x.shape[:1:-1]) - 1) / 2,
}
CHANNELS: Table = {  # x by group, (B, G, C / G, H, W)
    MIXED + "for the channels, too.": lambda x: x.transpose(0, 1).reshape(x.shape),
    "you deal channels out in turns: a group is C / G side by side.": lambda x: (
        x.flatten(1, 2).unflatten(1, (-1, x.shape[1])).transpose(1, 2)
    ),
    "every group reads the channels of the first one: each has its own.": lambda x: x[:, :1].expand_as(x),
    "you set negative values to 0: leave them as they are.": torch.relu,
}
MODE: Table = {
    "you read the nearest position only: mode='bilinear' mixes four, and lets the points learn.": "nearest",
    "you read sixteen positions with mode='bicubic': the bilinear sample is wanted.": "bicubic",
}
PADDING: Table = {
    "beyond the edge you read 0: here the edge goes on, as in padding_mode='border'.": "zeros",
    "beyond the edge you read the image mirrored: here the edge goes on (border).": "reflection",
}
ALIGN: Table = {"that is align_corners=True: here −1 and 1 are the outer edges of the image.": True}
JOIN: Table = {  # samples by group, (B, G, C / G, h, w)
    "the right samples, but images and groups come back in another order.":
    lambda s, x, grid: s.flatten(0, 1).unflatten(0, (-1, len(x))).transpose(0, 1),
    "you average over the channels: each keeps its own.": lambda s, x, grid: s.mean((1, 2), True).expand_as(s),
    "you add x: only the samples are wanted.": lambda s, x, grid: s + x.view_as(s) if s.numel() == x.numel() else s,
    "you return x itself: read it at the points.": lambda s, x, grid: x if s.numel() == x.numel() else s,
}  # fmt: skip
SAMPLE = {"owner": OWNER, "at": AT, "channels": CHANNELS, "mode": MODE, "padding": PADDING, "align": ALIGN}
SAMPLE |= {"join": JOIN}
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


def sampled(x, grid, owner=lambda i, groups: i, at=lambda x, grid: grid, channels=lambda x: x, mode="bilinear",
            padding="border", align=False, join=lambda samples, x, grid: samples):  # fmt: skip
    (b, c), groups = x.shape[:2], grid.shape[1]
    each = channels(x.unflatten(1, (groups, -1))).reshape(b * c, 1, *x.shape[2:])  # every channel is an image
    which = owner(torch.arange(c) // (c // groups), groups)
    samples = F.grid_sample(each, at(x, grid)[:, which].flatten(0, 1), mode, padding, align)
    return join(samples.reshape(b, groups, -1, *grid.shape[2:4]), x, grid).reshape(b, c, *grid.shape[2:4])


@exercise("each group of channels is read at its own points: four groups, four positions in one look.")
def check_sample_groups(attempt: Callable) -> None:
    """Check exercise 3 of lesson 07: ``sample_groups(x (B, C, H, W), grid (B, G, h, w, 2)) → (B, C, h, w)``."""
    for b, g, width, *size, h, w in (
        (5, 3, 6, 7, 8, 9, 10), (3, 5, 3, 6, 6, 6, 6), (1, 4, 2, 6, 3, 2, 1), (3, 5, 1, 7, 6, 3, 4),
        (3, 1, 5, 6, 7, 9, 8),
    ):  # fmt: skip
        x, grid, c = torch.randn(b, g * width, *size), torch.rand(b, g, h, w, 2) * 2.4 - 1.2, g * width
        result = call(attempt, x, grid, hints=STOPPED)
        sizes = dict(zip("BGkCHWhw", (b, g, width, c, *size, h, w), strict=True))
        given = f"x of shape {tuple(x.shape)} and a grid of shape {tuple(grid.shape)}"
        otherwise = "one sample for each channel and point of its group is wanted, (B, C, h, w)."
        expect_shape(attempt, result, "B C h w", given, SAMPLE_SHAPES, otherwise, **sizes)

        def who_reads_what(x=x, grid=grid, width=width, result=result) -> None:
            changed, shifted = x.clone(), grid.clone()
            changed[-1, -1] += 1 + torch.rand_like(changed[-1, -1])
            shifted[0, 0] = -0.7 * shifted[0, 0] + 0.05
            results = call(attempt, x, grid), call(attempt, changed, grid), call(attempt, x, shifted)
            again, channel, group = (~torch.isclose(r, result, atol=1e-5).flatten(2).all(2) for r in results)
            alone = torch.zeros_like(channel)
            alone[-1, -1] = True
            expect(not again.any(), AGAIN)
            expect(torch.equal(channel, alone), "change one channel of one image, and not its samples alone change.")
            told = "move the points of the first group of the first image, and"
            expect(not group[1:].any(), f"{told} samples of another image change: images stay apart.")
            expect(not group[0, width:].any(), f"{told} other channels than its first C / G = {width} change.")
            expect(group[0, :width].all(), f"{told} not all of its C / G = {width} channels change.")

        otherwise = "each group reads its own channels at its own points, but the values are others: bilinear samples "
        otherwise += "are wanted, with padding_mode='border' and align_corners=False, and nothing else."
        explain(result, sampled, (x, grid), SAMPLE, otherwise, attempt, who_reads_what)
    inputs = torch.randn(3, 10, 6, 7), torch.rand(3, 5, 8, 9, 2) * 1.6 - 0.8
    core.expect_gradient(attempt, *inputs, names=("x", "the points"), hints=STOPPED)
    core.expect_same_gradient(attempt, sampled, *inputs)
    core.expect_dtype(attempt, *inputs)
