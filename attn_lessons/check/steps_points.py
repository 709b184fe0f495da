"""What people write in place of a step when points of an image are read: tables and references of lesson 07."""

from collections.abc import Callable
from inspect import signature
from itertools import permutations

import torch
import torch.nn.functional as F

from .steps import Table


def each_axis(reference: Callable, **tables: Table) -> dict[str, Table]:
    """Mistakes along both axes, and along x or y alone; these steps give both coordinates on the last axis."""

    def alone(axis: str, step: str, wrong: Callable) -> Callable:
        here, right = torch.tensor([axis == "x", axis == "y"]), signature(reference).parameters[step].default
        return lambda *given: torch.where(here, wrong(*given), right(*given))

    return {
        step: table | {f"along {d}, {idea}": alone(d, step, wrong) for d in "xy" for idea, wrong in table.items()}
        for step, table in tables.items()
    }


# ------------------------------------------------------------------------------------------------ exercise 1
def both(first, second):
    """The two neighbours along an axis; a number stands for all points."""
    return torch.stack([first + 0 * second, second + 0 * first])


FLAT: Table = {  # the image, (C, H, W)
    "in a flat index a row is W long, not H.": lambda image: image.flatten(1).unfold(1, image.shape[2], image.shape[1])
}
SWAP: Table = {  # at: x and y, (n, 2)
    "x and y have changed places: x counts columns, but an index has the row first.": lambda at: at.flip(1),
    "you use x for both axes.": lambda at: at[:, :1].expand_as(at),
    "you use y for both axes.": lambda at: at[:, 1:].expand_as(at),
}
WHERE: Table = {  # size: W and H
    "you count positions from 1: the first is 0.": lambda at, size: at - 1,
    "you subtract half a position: (0, 0) is the middle of the first one already.": lambda at, size: at - 0.5,
    "you add half a position: whole coordinates are middles of positions already.": lambda at, size: at + 0.5,
    "you count from the far end: x grows to the right and y downwards.": lambda at, size: size - 1 - at,
    "you pull the last points back: only an index needs a limit.": lambda at, size: at.minimum(size - 2),
    "you read the nearest position only, and it has no gradient: mix all four.": lambda at, size: (at + 0.5).floor(),
}
FLOOR: Table = {  # the first neighbour; the second is the next
    "you round where floor is meant: a fraction lies between 0 and 1.": torch.round,
    "you take ceil where floor is meant: a fraction lies between 0 and 1.": torch.ceil,
}
FRACTIONS: Table = {  # a: those in x and in y, (n, 2)
    "the fractions, or upper right and lower left, have changed places.": lambda a: a.flip(1),
    "you use the fraction of x for both axes.": lambda a: a[:, :1].expand_as(a),
    "you use the fraction of y for both axes.": lambda a: a[:, 1:].expand_as(a),
}
SHARES: Table = {
    "at whole coordinates both weights vanish (floor is ceil): give 1 − fraction.": lambda a: both(a.ceil() - a, a),
    "you take the first neighbour only, or twice: mix it with the next.": lambda a: both(1, 0 * a),
    "you take the second neighbour only, or twice: mix it with the first.": lambda a: both(0 * a, 1),
    "you take the plain mean of the neighbours: the nearer counts more.": lambda a: both(0.5, 0.5 + 0 * a),
    "you add up the neighbours: weight each by how near it is.": lambda a: both(1, 1 + 0 * a),
    "near and far are turned round: at fraction 0, the first has all the weight.": lambda a: both(a, 1 - a),
    "both neighbours get the weight of the second: the first has 1 − fraction.": lambda a: both(a, a),
    "both neighbours get the weight of the first: the second has the fraction.": lambda a: both(1 - a, 1 - a),
    "one weight has the wrong sign: it is 1 − fraction, not fraction − 1.": lambda a: both(a - 1, a),
    "the fraction has the wrong sign: it is the coordinate − floor.": lambda a: both(1 + a, -a),
    "the first neighbour keeps the whole weight: it has 1 − fraction.": lambda a: both(1, a),
}
WEIGH: Table = {  # v, u: the shares in y and in x, (2, n) each
    "you add the shares in x and in y: multiply them.": lambda v, u: v[:, None] + u
}
CORNERS = "upper left", "upper right", "lower left", "lower right"
FOUR: Table = {  # (C, 2, 2, n)
    f"the {CORNERS[i]} neighbour is read where the {CORNERS[j]} one is: check its row and column.":
        lambda four, i=i, j=j: four.flatten(1, 2)[:, [j if k == i else k for k in range(4)]].view_as(four)
    for i, j in permutations(range(4), 2)
}  # fmt: skip
MIX: Table = {  # four (C, 2, 2, n), weights w (2, 2, n)
    "along y, 1 − fraction needs brackets: * comes first.": lambda four, w: 1 + (w[1] * four.diff(dim=1)[:, 0]).sum(1),
    "1 − fraction needs brackets: * comes first.": lambda four, w: 1 + w[1, 1] * four.diff(dim=1).diff(dim=2)[:, 0, 0],
}


def read(image, x, y, enter=lambda image: image, swap=lambda at: at, where=lambda at, size: at, floor=torch.floor,
         fraction=lambda a: a, share=lambda a: both(1 - a, a), weigh=lambda v, u: v[:, None] * u,
         four=lambda four: four, mix=lambda four, weights: (four * weights).sum((1, 2))):  # fmt: skip
    size = torch.tensor(image.shape[:0:-1])
    at = where(swap(torch.stack([x, y], 1)), size)
    near = floor(at)
    columns, rows = both(near, near + 1).clamp(min=0).minimum(size - 1).long().unbind(2)
    u, v = share(fraction(at - near)).unbind(2)
    return mix(four(enter(image)[:, rows[:, None], columns]), weigh(v, u))


READ = {"enter": FLAT, "swap": SWAP, "fraction": FRACTIONS, "weigh": WEIGH, "four": FOUR, "mix": MIX}
READ |= each_axis(read, where=WHERE, floor=FLOOR, share=SHARES)
READ_VALUES = {"enter": "the image, C", "swap": "x and y, ", "mix": "the result, Cn", "weigh": "the weights, "}

# ------------------------------------------------------------------------------------------------ exercise 2
START: Table = {  # where in cell i its point is, in cells; s: the stride
    "these are the upper left corners of the cells: add half a cell.": lambda i, s: i,
    "you count cells from 1: the first is 0.": lambda i, s: i + 1.5,
    "these are the lower right corners of the cells: half a cell too far.": lambda i, s: i + 1,
    "you add a quarter of a cell: the image is 2 wide, a cell 2 / n, half of it 1 / n.": lambda i, s: i + 0.25,
    "these are the middles of each cell's upper left position: take the middle of the cell.": lambda i, s: i + 0.5 / s,
    "half a position is missing: half a cell is stride / 2, where // rounds down.": lambda i, s: i + (s - 1) / 2 / s,
    "half a position too much: half a cell is stride / 2, without + 0.5.": lambda i, s: i + (s + 1) / 2 / s,
}
COUNT: Table = {  # how many cells are 2 wide; n: those along x and along y
    "you divide by n − 1, a part of the published fault: n cells lie side by side.": lambda n, s: (n - 1).clamp(min=1),
    "you divide by size − 1: the image is as wide as all its positions.": lambda n, s: n - 1 / s,
    "you divide by the other axis: x by the number of columns, y by that of rows.": lambda n, s: n.flip(0),
    "you divide by the stride: how many cells lie side by side?": lambda n, s: 0 * n + s,
    "your points lie a position apart: cells are stride positions wide.": lambda n, s: n * s,
}
ENDS: Table = {  # u: from 0 to 1, over n cells
    "your outermost points lie on the edges, as for align_corners=True: middles of cells lie further in.":
        lambda u, n, s: (u * n - 0.5) / (n - 1).clamp(min=1),
    "your outermost points lie in the middles of the outermost positions: take those of cells.":
        lambda u, n, s: 0.5 / n / s + (1 - 1 / n / s) * (u * n - 0.5) / (n - 1).clamp(min=1),
    "the points are right for align_corners=True: here −1 and 1 are the outer edges.":
        lambda u, n, s: (u * n * s - 0.5) / (n * s - 1),
}  # fmt: skip
RANGE = "grid_sample's go from −1 to 1."
SCALE: Table = {
    f"your coordinates go from 0 to 1: {RANGE}": lambda u, n, s: u,
    f"your coordinates go from 0 to 2: {RANGE}": lambda u, n, s: 2 * u,
    f"your coordinates go from −1/2 to 1/2: {RANGE}": lambda u, n, s: u - 0.5,
    f"your coordinates are counted in positions: {RANGE}": lambda u, n, s: u * n * s - 0.5,
    f"your coordinates are counted in positions, from the edge: {RANGE}": lambda u, n, s: u * n * s,
    f"your coordinates are counted in cells: {RANGE}": lambda u, n, s: u * n,
    "// rounds down: divide with /.": lambda u, n, s: (2 * u).floor() - 1,
    "i + 0.5 needs brackets: * and / come before +.": lambda u, n, s: u * n - 1.5 + 1 / n,
    "you add 0.5 to coordinates from −1 to 1: half a cell is 1 / n there.": lambda u, n, s: 2 * u - 1 / n - 0.5,
}
ARRANGE: Table = {
    "y stands before x: grid_sample wants x, then y, in the last axis.": lambda g: g.flip(2),
    "rows and columns have changed places: x grows along a row.": lambda g: g.transpose(0, 1).reshape(g.shape),
    "reshape mixes x and y: stack them on the last axis.": lambda g: g.permute(2, 0, 1).reshape(g.shape),
    "y counts upwards: in an image it grows from the top down.": lambda g: g.flip(0),
    "x stands twice: the second coordinate is y.": lambda g: g[..., :1].expand_as(g),
    "y stands twice: the first coordinate is x.": lambda g: g[..., 1:].expand_as(g),
}


def spread(height, width, stride, start=lambda i, s: i + 0.5, count=lambda n, s: n, ends=lambda u, n, s: u,
           scale=lambda u, n, s: 2 * u - 1, arrange=lambda grid: grid):  # fmt: skip
    n = torch.tensor([width, height]) // stride
    cells = torch.stack(torch.meshgrid(*map(torch.arange, n), indexing="xy"), -1)
    u = start(cells, stride) / count(n, stride)
    return arrange(scale(ends(u, n, stride), n, stride))


GRID = {"arrange": ARRANGE} | each_axis(spread, start=START, count=COUNT, ends=ENDS, scale=SCALE)
GRID_VALUES = {"arrange": "the points, HW"}


# ------------------------------------------------------------------------------------------------ exercise 3
def mixed_up(here: str, there: str) -> Table:
    """Of a value by image and group, (B, G, …): flattened to (B · G) in one order here, in the other there."""
    groups_first = f"(B · G) has the groups first in {here}, the images first in {there}: keep to one order."
    images_first = f"(B · G) has the images first in {here}, the groups first in {there}: keep to one order."
    return {
        groups_first: lambda v: v.transpose(0, 1).reshape(v.shape),
        images_first: lambda v: v.reshape(v.shape[1], v.shape[0], *v.shape[2:]).transpose(0, 1),
    }


OWNER: Table = {  # i: which group's points a channel is read at
    "every group gets the points of the first one: each has its own.": lambda i, groups: 0 * i,
    "every group gets the points of the last one: each has its own.": lambda i, groups: 0 * i + groups - 1,
    "channels go to groups in turns: a group is C / G side by side.": lambda i, groups: torch.arange(len(i)) % groups,
    "you cut the channels into two pieces: there are G groups.": lambda i, groups: torch.arange(len(i)) * 2 // len(i),
}
AT: Table = mixed_up("the grid", "x") | {
    "x and y have changed places: the grid holds x before y already.": lambda grid: grid.flip(-1),
    "rows and columns of the points have changed places.": lambda grid: grid.transpose(2, 3).reshape(grid.shape),
}
UNITS: Table = {  # size: W and H
    "the grid goes from −1 to 1 already: do not halve and move it.": lambda grid, size: (grid + 1) / 2,
    "the grid goes from −1 to 1, not from 0 to 1: leave it.": lambda grid, size: grid * 2 - 1,
    "the grid is not counted in positions: leave it.": lambda grid, size: (2 * grid + 1) / size - 1,
    "the grid is not counted from 0 to W − 1: leave it.": lambda grid, size: 2 * grid / (size - 1) - 1,
    "you make positions of the grid: leave it.": lambda grid, size: ((grid + 1) * size - 1) / 2,
}
CHANNELS: Table = mixed_up("x", "the grid") | {  # x by group, (B, G, C / G, H, W)
    "you deal channels out in turns: a group is C / G side by side.":
        lambda x: x.flatten(1, 2).unflatten(1, (-1, x.shape[1])).transpose(1, 2),
    "every group reads the channels of the first one: each has its own.": lambda x: x[:, :1].expand_as(x),
}  # fmt: skip
JOIN: Table = mixed_up("x and the grid", "the result") | {  # samples by group, (B, G, C / G, h, w)
    "the right samples, but their channels come back in another order.": lambda s: s.transpose(1, 2).reshape(s.shape)
}
MODE = {"you read the nearest position only: mode='bilinear' mixes four, and lets the points learn.": "nearest"}
PADDING = {
    "beyond the edge you read 0: here the edge goes on, as in padding_mode='border'.": "zeros",
    "beyond the edge you read the image mirrored: here the edge goes on (border).": "reflection",
}
ALIGN = {"that is align_corners=True: here −1 and 1 are the outer edges of the image.": True}
SAMPLE = {"owner": OWNER, "at": AT, "units": UNITS, "channels": CHANNELS, "join": JOIN}
SAMPLE |= {"mode": MODE, "padding": PADDING, "align": ALIGN}
SAMPLE_VALUES = {"at": "the points, BG", "channels": "x, BGC", "join": "the samples, BGC"}


def sampled(x, grid, owner=lambda i, groups: i, at=lambda grid: grid, units=lambda grid, size: grid,
            channels=lambda x: x, mode="bilinear", padding="border", align=False, join=lambda s: s):  # fmt: skip
    (b, c, *size), groups = x.shape, grid.shape[1]
    each = channels(x.unflatten(1, (groups, -1))).reshape(b * c, 1, *size)  # every channel is an image
    which = owner(torch.arange(c) // (c // groups), groups)
    points = units(at(grid), torch.tensor(size[::-1]))[:, which].flatten(0, 1)
    samples = F.grid_sample(each, points, mode, padding, align)
    return join(samples.reshape(b, groups, -1, *grid.shape[2:4])).flatten(1, 2)
