"""Answers to the exercises of lesson 07; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def corners(image, x, y):
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=image.shape[2] - 1), (top + 1).clamp(max=image.shape[1] - 1)
    four = image[:, top, left], image[:, top, right], image[:, bottom, left], image[:, bottom, right]
    return (*four, x - left, y - top)


def mix(p, q, r, s, a, b):
    return (1 - b) * ((1 - a) * p + a * q) + b * ((1 - a) * r + a * s)


def bilinear(image, x, y):
    return mix(*corners(image, x, y))


def four_products(image, x, y):
    p, q, r, s, a, b = corners(image, x, y)
    return (1 - a) * (1 - b) * p + a * (1 - b) * q + (1 - a) * b * r + a * b * s


def every_place(image, x, y):
    """The tent function: each position counts by max(0, 1 − distance) in x and in y."""
    h, w = image.shape[1:]
    in_x = (1 - (x[:, None] - torch.arange(w)).abs()).clamp(min=0)
    in_y = (1 - (y[:, None] - torch.arange(h)).abs()).clamp(min=0)
    return torch.einsum("chw,nh,nw->cn", image, in_y, in_x)


def with_a_loop(image, x, y):
    points = [bilinear(image, x[i : i + 1], y[i : i + 1])[:, 0] for i in range(len(x))]
    return torch.stack(points, 1)


def by_padding(image, x, y):
    padded = F.pad(image, (0, 1, 0, 1))
    left, top = x.floor().long(), y.floor().long()
    a, b = x - x.floor(), y - y.floor()
    upper = torch.lerp(padded[:, top, left], padded[:, top, left + 1], a)
    lower = torch.lerp(padded[:, top + 1, left], padded[:, top + 1, left + 1], a)
    return torch.lerp(upper, lower, b)


def last_cell(image, x, y):
    """The last point belongs to the last cell, with a share of 1."""
    left = x.floor().long().clamp(max=image.shape[2] - 2)
    top = y.floor().long().clamp(max=image.shape[1] - 2)
    return mix(image[:, top, left], image[:, top, left + 1], image[:, top + 1, left], image[:, top + 1, left + 1],
               x - left, y - top)  # fmt: skip


def with_ceil(image, x, y):
    left, right, top, bottom = x.floor().long(), x.ceil().long(), y.floor().long(), y.ceil().long()
    return mix(image[:, top, left], image[:, top, right], image[:, bottom, left], image[:, bottom, right],
               x - left, y - top)  # fmt: skip


def by_grid_sample(image, x, y):
    size = torch.tensor([image.shape[2], image.shape[1]])
    grid = (2 * torch.stack([x, y], 1) + 1) / size - 1
    return F.grid_sample(image[None], grid[None, None], padding_mode="border", align_corners=False)[0, :, 0]


def mixes(formula):
    return lambda image, x, y: formula(*corners(image, x, y))


def ceil_weights(image, x, y):
    left, right, top, bottom = x.floor().long(), x.ceil().long(), y.floor().long(), y.ceil().long()
    a, b = (right - x, x - left), (bottom - y, y - top)
    return (b[0] * (a[0] * image[:, top, left] + a[1] * image[:, top, right])
            + b[1] * (a[0] * image[:, bottom, left] + a[1] * image[:, bottom, right]))  # fmt: skip


def out_of_bounds(image, x, y):
    left, top = x.floor().long(), y.floor().long()
    return mix(image[:, top, left], image[:, top, left + 1], image[:, top + 1, left], image[:, top + 1, left + 1],
               x - left, y - top)  # fmt: skip


def floats_as_indices(image, x, y):
    return image[:, y.floor(), x.floor()]


def swapped(image, x, y):
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=image.shape[1] - 1), (top + 1).clamp(max=image.shape[2] - 1)
    left, top = left.clamp(max=image.shape[1] - 1), top.clamp(max=image.shape[2] - 1)
    return mix(image[:, left, top], image[:, right, top], image[:, left, bottom], image[:, right, bottom],
               x - x.long(), y - y.long())  # fmt: skip


def stretched(image, x, y, **options):
    size = torch.tensor([image.shape[2] - 1, image.shape[1] - 1])
    grid = 2 * torch.stack([x, y], 1) / size - 1
    return F.grid_sample(image[None], grid[None, None], **options)[0, :, 0]


def ends_on_edges(image, x, y):
    return stretched(image, x, y, align_corners=True)


def in_place(image, x, y):
    x -= x.floor()
    return bilinear(image, x, y)


def detached(image, x, y):
    return bilinear(image, x.detach(), y.detach())


def wraps_wrongly(image, x, y):
    left, top = x.floor().long().clamp(max=image.shape[2] - 2), y.floor().long().clamp(max=image.shape[1] - 2)
    return mix(image[:, top, left], image[:, top, left + 1], image[:, top + 1, left], image[:, top + 1, left + 1],
               x - x.floor(), y - y.floor())  # fmt: skip


def inverse_distance(p, q, r, s, a, b):
    far = [((1 - c) ** 2 + (1 - d) ** 2) ** 0.5 for c, d in ((1 - a, 1 - b), (a, 1 - b), (1 - a, b), (a, b))]
    near = [1 / (d + 1e-8) for d in far]
    return sum(n * v for n, v in zip(near, (p, q, r, s), strict=True)) / sum(near)


WRONG_BILINEARS = {
    "x and y swapped": (swapped, "x counts columns"),
    "nearest": (lambda i, x, y: i[:, y.round().long(), x.round().long()], "nearest position only"),
    "floor only": (lambda i, x, y: i[:, y.floor().long(), x.floor().long()], "upper left neighbour only"),
    "ceil only": (lambda i, x, y: i[:, y.ceil().long(), x.ceil().long()], "lower right neighbour only"),
    "plain mean": (mixes(lambda p, q, r, s, a, b: (p + q + r + s) / 4), "plain mean of the four"),
    "sum": (mixes(lambda p, q, r, s, a, b: p + q + r + s), "added the four"),
    "near and far": (mixes(lambda p, q, r, s, a, b: mix(p, q, r, s, 1 - a, 1 - b)), "near and far"),
    "left and right": (mixes(lambda p, q, r, s, a, b: mix(p, q, r, s, 1 - a, b)), "left and right are turned"),
    "upper and lower": (mixes(lambda p, q, r, s, a, b: mix(p, q, r, s, a, 1 - b)), "upper and lower are turned"),
    "fractions swapped": (mixes(lambda p, q, r, s, a, b: mix(p, q, r, s, b, a)), "fractions have changed places"),
    "neighbours swapped": (mixes(lambda p, q, r, s, a, b: mix(p, r, q, s, a, b)), "upper right and the lower left"),
    "along x only": (mixes(lambda p, q, r, s, a, b: (1 - a) * p + a * q), "upper row only"),
    "along y only": (mixes(lambda p, q, r, s, a, b: (1 - b) * p + b * r), "left column only"),
    "diagonal": (mixes(lambda p, q, r, s, a, b: (1 - a) * p + a * s), "diagonal"),
    "smoothstep": (
        mixes(lambda p, q, r, s, a, b: mix(p, q, r, s, a * a * (3 - 2 * a), b * b * (3 - 2 * b))),
        "smoothed the fractions",
    ),
    "inverse distance": (mixes(inverse_distance), "inverse distance"),
    "ceil with its own weights": (ceil_weights, "floor and ceil are one and the same"),
    "out of bounds": (out_of_bounds, "no neighbour beyond"),
    "the edge shifted": (wraps_wrongly, "must not shift the others"),
    "float indices": (floats_as_indices, "Indices must be whole numbers"),
    "int()": (lambda i, x, y: i[:, int(y), int(x)], ".long() takes them all"),
    "detached": (detached, "no gradient reaches x and y"),
    "no gradient at all": (lambda i, x, y: bilinear(i, x, y).detach(), "no gradient gets through"),
    "image detached": (lambda i, x, y: bilinear(i.detach(), x, y), "no gradient reaches the image"),
    "align_corners mixed up": (lambda i, x, y: stretched(i, x, y, align_corners=False), "of one convention"),
    "in place": (in_place, "in place"),
    "points first": (lambda i, x, y: bilinear(i, x, y).T, "channels first, then points"),
    "every x with every y": (lambda i, x, y: i[:, y.long()][:, :, x.long()], "go in pairs"),
    "one channel": (lambda i, x, y: bilinear(i, x, y)[0], "keep the channels"),
    "still apart": (lambda i, x, y: torch.stack(corners(i, x, y)[:4]), "still apart"),
    "two tensors": (lambda i, x, y: (bilinear(i, x, y), x), "a single tensor"),
    "no return": (lambda i, x, y: None, "return"),
    "weights above 1": (lambda i, x, y: bilinear(i, x, y) * (1 + (x - x.floor())), "must add up to 1"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def pairs(y, x):
    return torch.stack(torch.meshgrid(x.float(), y.float(), indexing="xy"), -1)


def middles(n):
    return (torch.arange(n) + 0.5) * 2 / n - 1


def reference_grid(height, width, stride):
    return pairs(middles(height // stride), middles(width // stride))


def by_affine_grid(height, width, stride):
    size = (1, 1, height // stride, width // stride)
    return F.affine_grid(torch.eye(2, 3)[None], size, align_corners=False)[0]


def by_linspace(height, width, stride):
    h, w = height // stride, width // stride
    y, x = torch.linspace(-1 + 1 / h, 1 - 1 / h, h), torch.linspace(-1 + 1 / w, 1 - 1 / w, w)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], 2)


def from_places(height, width, stride):
    y, x = (torch.arange(0, n, stride) + (stride - 1) / 2 for n in (height, width))
    rows, columns = torch.meshgrid((2 * y + 1) / height - 1, (2 * x + 1) / width - 1, indexing="ij")
    return torch.stack((columns, rows), dim=-1)


def with_loops(height, width, stride):
    h, w = height // stride, width // stride
    return torch.tensor([[[(2 * j + 1) / w - 1, (2 * i + 1) / h - 1] for j in range(w)] for i in range(h)])


def along(formula):
    """`formula` gives the coordinates along one axis of `size` positions with n points."""
    return lambda height, width, stride: pairs(
        formula(height // stride, height, stride), formula(width // stride, width, stride)
    )


def index(n):
    return torch.arange(n)


WRONG_GRIDS = {
    "y before x": (lambda h, w, s: reference_grid(h, w, s).flip(-1), "y stands before x"),
    "end to end": (along(lambda n, size, s: torch.linspace(-1, 1, n)), "edges of the image"),
    "published": (along(lambda n, size, s: (index(n) + 0.5) / max(n - 1, 1) * 2 - 1), "published fault"),
    "corners": (along(lambda n, size, s: index(n) * 2 / n - 1), "upper left corners"),
    "far corners": (along(lambda n, size, s: (index(n) + 1) * 2 / n - 1), "lower right corners"),
    "first place of each cell": (
        along(lambda n, size, s: (index(n) * s + 0.5) * 2 / size - 1),
        "upper left position",
    ),
    "first place, the other convention": (
        along(lambda n, size, s: index(n) * s * 2 / (size - 1) - 1),
        "upper left positions of the cells, in the coordinates of align_corners=True",
    ),
    "the other convention": (
        along(lambda n, size, s: ((index(n) + 0.5) * s - 0.5) * 2 / (size - 1) - 1),
        "in the coordinates of align_corners=True",
    ),
    "rounded half": (along(lambda n, size, s: (index(n) * s + s // 2) * 2 / size - 1), "rounds down"),
    "0 to 1": (along(lambda n, size, s: (index(n) + 0.5) / n), "from 0 to 1"),
    "centred, not scaled": (along(lambda n, size, s: (index(n) + 0.5) / n - 0.5), "−1/2"),
    "in places": (along(lambda n, size, s: (index(n) + 0.5) * s - 0.5), "counted in places"),
    "indices": (along(lambda n, size, s: index(n)), "indices of the points"),
    "whole numbers": (along(lambda n, size, s: index(n).long()), "indices of the points"),
    "long": (lambda h, w, s: reference_grid(h, w, s).long(), "need fractions"),
    "every position": (lambda h, w, s: reference_grid(h, w, 1), "a point for every position"),
    "packed in the corner": (along(lambda n, size, s: (index(n) + 0.5) * 2 / size - 1), "stride positions apart"),
    "width for both": (
        lambda h, w, s: pairs((index(h // s) + 0.5) * 2 / (w // s) - 1, middles(w // s)),
        "divided by the width",
    ),
    "upside down": (lambda h, w, s: reference_grid(h, w, s).flip(0), "counts upwards"),
    "negative": (lambda h, w, s: -reference_grid(h, w, s), "both axes are turned round"),
    "ij": (
        lambda h, w, s: torch.stack(torch.meshgrid(middles(w // s), middles(h // s), indexing="ij"), -1),
        "rows first",
    ),
    "x and y in front": (lambda h, w, s: reference_grid(h, w, s).permute(2, 0, 1), "on the last axis"),
    "batch axis": (lambda h, w, s: reference_grid(h, w, s)[None], "batch is not wanted"),
    "flat": (lambda h, w, s: reference_grid(h, w, s).flatten(0, 1), "keep rows and columns apart"),
    "two tensors": (lambda h, w, s: (middles(h // s), middles(w // s)), "a single tensor"),
    "no return": (lambda h, w, s: None, "return"),
    "x wrong only": (lambda h, w, s: pairs(middles(h // s), middles(w // s) ** 3 + 0.1), "y is right and x is not"),
    "shifted": (along(lambda n, size, s: middles(n) + 0.01), "spread evenly about the middle"),
    "stride as a number": (lambda h, w, s: pairs(middles(s), middles(s)), "not the number of cells"),
    "squeezed": (along(lambda n, size, s: 0.9 * middles(n) + 0 * size), "not the middles"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 3
OPTIONS = {"padding_mode": "border", "align_corners": False}


def sample_groups(x, grid):
    pieces = x.unflatten(1, (grid.shape[1], -1)).flatten(0, 1)
    sampled = F.grid_sample(pieces, grid.flatten(0, 1), **OPTIONS)
    return sampled.unflatten(0, (-1, grid.shape[1])).flatten(1, 2)


def groups_in_a_loop(x, grid, **options):
    pieces = x.chunk(grid.shape[1], 1)
    return torch.cat([F.grid_sample(p, grid[:, g], **(OPTIONS | options)) for g, p in enumerate(pieces)], 1)


def filled_in(x, grid):
    b, c = x.shape[:2]
    out, width = x.new_empty(b, c, *grid.shape[2:4]), c // grid.shape[1]
    for i in range(b):
        for channel in range(c):
            one = F.grid_sample(x[i : i + 1, channel : channel + 1], grid[i : i + 1, channel // width], **OPTIONS)
            out[i, channel] = one[0, 0]
    return out


def every_channel_an_image(x, grid):
    b, c, h, w = x.shape
    grid = grid.repeat_interleave(c // grid.shape[1], 1)
    sampled = F.grid_sample(x.reshape(b * c, 1, h, w), grid.flatten(0, 1), **OPTIONS)
    return sampled.reshape(b, c, *grid.shape[2:4])


def points(change):
    return lambda x, grid: groups_in_a_loop(x, change(grid))


def options(**changed):
    return lambda x, grid: groups_in_a_loop(x, grid, **changed)


def in_turns(x, grid):
    groups = grid.shape[1]
    out = torch.empty(*x.shape[:2], *grid.shape[2:4])
    for g in range(groups):
        out[:, g::groups] = F.grid_sample(x[:, g::groups], grid[:, g], **OPTIONS)
    return out


def turns_in_order(x, grid):
    groups = grid.shape[1]
    return torch.cat([F.grid_sample(x[:, g::groups], grid[:, g], **OPTIONS) for g in range(groups)], 1)


def groups_in_front(x, grid):
    pieces = x.reshape(len(x) * grid.shape[1], -1, *x.shape[2:])
    sampled = F.grid_sample(pieces, grid.transpose(0, 1).flatten(0, 1), **OPTIONS)
    return sampled.reshape(*x.shape[:2], *grid.shape[2:4])


def back_in_the_wrong_order(x, grid):
    pieces = x.reshape(len(x) * grid.shape[1], -1, *x.shape[2:])
    sampled = F.grid_sample(pieces, grid.flatten(0, 1), **OPTIONS)
    return sampled.unflatten(0, (grid.shape[1], len(x))).transpose(0, 1).flatten(1, 2)


def every_group(x, grid):
    return torch.stack([F.grid_sample(x, grid[:, g], **OPTIONS) for g in range(grid.shape[1])], 1)


def samples_in_place(x, grid):
    grid *= 0.5
    return groups_in_a_loop(x, 2 * grid)


WRONG_SAMPLES = {
    "first group's points": (points(lambda g: g[:, :1].expand_as(g)), "points of the first one"),
    "last group's points": (points(lambda g: g[:, -1:].expand_as(g)), "points of the last one"),
    "mean of the points": (points(lambda g: g.mean(1, keepdim=True).expand_as(g)), "mean of all points"),
    "reverse order": (points(lambda g: g.flip(1)), "reverse order"),
    "channels in turns": (in_turns, "in turns"),
    "channels in turns, joined": (turns_in_order, "in turns"),
    "groups in front of images": (groups_in_front, "images and groups are mixed up"),
    "back in the wrong order": (back_in_the_wrong_order, "images and groups are mixed up"),
    "first image's points": (points(lambda g: g[:1].expand_as(g)), "points of the first one"),
    "every group reads all": (every_group, "a channel belongs to one group"),
    "averaged over groups": (lambda x, g: every_group(x, g).mean(1), "averaged: a channel belongs"),
    "added over groups": (lambda x, g: every_group(x, g).sum(1), "added up: a channel belongs"),
    "zeros outside": (options(padding_mode="zeros"), "beyond the edge you read 0"),
    "mirrored outside": (options(padding_mode="reflection"), "mirrored"),
    "align_corners": (options(align_corners=True), "that is align_corners=True"),
    "defaults of align_corners and nearest": (options(mode="nearest"), "nearest position only"),
    "x and y swapped": (points(lambda g: g.flip(-1)), "x before y already"),
    "tanh": (points(lambda g: g.tanh()), "no tanh"),
    "halved": (points(lambda g: (g + 1) / 2), "leave it"),
    "scaled again": (points(lambda g: g.clamp(-1, 1) * 2 - 1), "leave it"),
    "still in the batch": (
        lambda x, g: F.grid_sample(x.unflatten(1, (g.shape[1], -1)).flatten(0, 1), g.flatten(0, 1), **OPTIONS),
        "still lie in the batch",
    ),
    "own axis": (lambda x, g: sample_groups(x, g).unflatten(1, (g.shape[1], -1)), "an axis of their own"),
    "joined along rows": (
        lambda x, g: torch.cat([F.grid_sample(p, g[:, i], **OPTIONS) for i, p in enumerate(x.chunk(g.shape[1], 1))], 2),
        "along the rows",
    ),
    "one group left": (lambda x, g: sample_groups(x, g)[:, : x.shape[1] // g.shape[1]], "only one group is left"),
    "grid given whole": (lambda x, g: F.grid_sample(x, g, **OPTIONS), "grid_sample wants x of shape"),
    "grid not by group": (lambda x, g: F.grid_sample(x, g.flatten(0, 1), **OPTIONS), "each group of channels counts"),
    "points flat": (lambda x, g: sample_groups(x, g).flatten(2), "rows and columns of the points apart"),
    "detached points": (points(lambda g: g.detach()), "no gradient reaches the points"),
    "detached x": (lambda x, g: sample_groups(x.detach(), g), "no gradient reaches x"),
    "in place": (samples_in_place, "in place"),
    "no return": (lambda x, g: None, "return"),
    "list": (lambda x, g: [sample_groups(x, g)], "a single tensor"),
    "batch mean": (
        lambda x, g: sample_groups(x, g).mean(0, keepdim=True).expand(len(x), -1, -1, -1),
        "must stay apart",
    ),
    "scaled": (lambda x, g: 2 * sample_groups(x, g), "the values are others"),
}

EXERCISES = {
    "bilinear": (
        check.check_bilinear,
        [
            *(bilinear, four_products, every_place, with_a_loop, by_padding),
            *(last_cell, with_ceil, by_grid_sample, ends_on_edges),
        ],
        WRONG_BILINEARS,
    ),
    "reference_grid": (
        check.check_reference_grid,
        [reference_grid, by_affine_grid, by_linspace, from_places, with_loops],
        WRONG_GRIDS,
    ),
    "sample_groups": (
        check.check_sample_groups,
        [sample_groups, groups_in_a_loop, filled_in, every_channel_an_image],
        WRONG_SAMPLES,
    ),
}
