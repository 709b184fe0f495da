"""What people write in place of a step when points of an image are read: tables and references of lesson 07."""

from collections.abc import Callable
from itertools import permutations

import torch
import torch.nn.functional as F

from .steps import Table


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
    "1 − b needs brackets: * comes before −.": lambda four, v, u: 1 + v[1] * ((four[:, 1] - four[:, 0]) * u).sum(1),
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


# ------------------------------------------------------------------------------------------------ exercise 2
START: Table = {  # where in cell i its point is, in cells; s: the stride
    "these are the upper left corners of the cells: add half a cell.": lambda i, s: i,
    "these are the lower right corners of the cells: half a cell too far.": lambda i, s: i + 1,
    "you count cells from 1: the first is 0.": lambda i, s: i + 1.5,
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
    "your coordinates go from −1 to 0: the image is 2 wide.": lambda u, n, s: u - 1,
    "your coordinates go from −1/2 to 1/2: grid_sample's go from −1 to 1.": lambda u, n, s: u - 0.5,
    "your points are counted in positions: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n * s - 0.5,
    "your points are counted from the edge: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n * s,
    "your points are counted in cells: grid_sample's coordinates go from −1 to 1.": lambda u, n, s: u * n,
    "// rounds down: divide with /.": lambda u, n, s: (2 * u).floor() - 1,
    "i + 0.5 needs brackets: * and / come before +.": lambda u, n, s: u * n - 1.5 + 1 / n,
    "you add 0.5 to coordinates from −1 to 1: half a cell is 1 / n there.": lambda u, n, s: 2 * u - 1 / n - 0.5,
    "your outermost points lie on the edges, as for align_corners=True: middles of cells lie further in.":
    lambda u, n, s: (2 * u * n - 1) / max(n - 1, 1) - 1,
    "your outermost points lie in the middles of the outermost positions: take those of cells.":
    lambda u, n, s: (1 - 1 / n / s) * ((2 * u * n - 1) / max(n - 1, 1) - 1),
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


def points(n, m, s, start=lambda i, s: i + 0.5, count=lambda n, m, s: n, units=lambda u, n, s: 2 * u - 1):
    return units(start(torch.arange(n), s) / count(n, m, s), n, s)


def spread(height, width, stride, arrange=lambda g: g, x=None, y=None, **both):
    h, w = height // stride, width // stride
    columns, rows = points(w, h, stride, **(x or both)), points(h, w, stride, **(y or both))
    return arrange(torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1))


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
    "the grid is not counted from 0 to W − 1: leave it.": lambda x, g: 2 * g / (torch.tensor(x.shape[:1:-1]) - 1) - 1,
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
    "the right samples, but their channels come back in another order.": lambda s, x, grid: s.transpose(1, 2),
    "the right samples, but the groups come back in reverse order.": lambda s, x, grid: s.flip(1),
    "the right samples, but images and groups come back in another order.":
    lambda s, x, grid: s.flatten(0, 1).unflatten(0, (-1, len(x))).transpose(0, 1),
    "you average over the channels: each keeps its own.": lambda s, x, grid: s.mean((1, 2), True).expand_as(s),
    "you add x: only the samples are wanted.": lambda s, x, grid: s + x.view_as(s) if s.numel() == x.numel() else s,
    "you return x itself: read it at the points.": lambda s, x, grid: x if s.numel() == x.numel() else s,
}  # fmt: skip
SAMPLE = {"owner": OWNER, "at": AT, "channels": CHANNELS, "mode": MODE, "padding": PADDING, "align": ALIGN}
SAMPLE |= {"join": JOIN}


def sampled(x, grid, owner=lambda i, groups: i, at=lambda x, grid: grid, channels=lambda x: x, mode="bilinear",
            padding="border", align=False, join=lambda samples, x, grid: samples):  # fmt: skip
    (b, c), groups = x.shape[:2], grid.shape[1]
    each = channels(x.unflatten(1, (groups, -1))).reshape(b * c, 1, *x.shape[2:])  # every channel is an image
    which = owner(torch.arange(c) // (c // groups), groups)
    samples = F.grid_sample(each, at(x, grid)[:, which].flatten(0, 1), mode, padding, align)
    return join(samples.reshape(b, groups, -1, *grid.shape[2:4]), x, grid).reshape(b, c, *grid.shape[2:4])
