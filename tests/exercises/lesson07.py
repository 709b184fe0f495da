"""Answers to the exercises of lesson 07; what the names mean is said in __init__.py."""

import numpy as np
import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check.steps_points import GRID, READ, SAMPLE, read, sampled, spread


# --------------------------------------------------------------------------------------------------- exercise 1
def mix(image, left, right, top, bottom, a, b):
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
    return (1 - b) * upper + b * lower


def bilinear(image, x, y):
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=image.shape[2] - 1), (top + 1).clamp(max=image.shape[1] - 1)
    return mix(image, left, right, top, bottom, x - left, y - top)


def every_position(image, x, y):
    """The tent function: each position counts by max(0, 1 − distance) in x and in y."""
    h, w = image.shape[1:]
    in_x = (1 - (x[:, None] - torch.arange(w)).abs()).clamp(min=0)
    in_y = (1 - (y[:, None] - torch.arange(h)).abs()).clamp(min=0)
    return torch.einsum("chw,nh,nw->cn", image, in_y, in_x)


def with_a_loop(image, x, y):
    points = []
    for u, v in zip(x, y, strict=True):
        left, top = int(u), int(v)
        right, bottom = min(left + 1, image.shape[2] - 1), min(top + 1, image.shape[1] - 1)
        points.append(mix(image, left, right, top, bottom, u - left, v - top))
    return torch.stack(points, 1)


def last_cell(image, x, y):
    """The last point belongs to the last cell, with a share of 1."""
    left, top = (t.floor().long().clamp(max=size - 2) for t, size in ((x, image.shape[2]), (y, image.shape[1])))
    return mix(image, left, left + 1, top, top + 1, x - left, y - top)


def by_grid_sample(image, x, y):
    size = torch.tensor([image.shape[2], image.shape[1]])
    grid = (2 * torch.stack([x, y], 1) + 1) / size - 1
    return F.grid_sample(image[None], grid[None, None], padding_mode="border", align_corners=False)[0, :, 0]


def out_of_bounds(image, x, y):
    return mix(image, x.long(), x.long() + 1, y.long(), y.long() + 1, x % 1, y % 1)


def returns_in_the_loop(image, x, y):
    for i in range(len(x)):
        return bilinear(image, x[i : i + 1], y[i : i + 1])[:, 0]


WRONG_BILINEARS = {  # beside those of the tables
    "round": (lambda i, x, y: i[:, y.round().long(), x.round().long()], "nearest position only"),
    "ceil only": (lambda i, x, y: i[:, y.ceil().long(), x.ceil().long()], "the second neighbour only"),
    "swapped, and out of bounds": (lambda i, x, y: bilinear(i, y, x), "x and y have changed places"),
    "out of bounds": (out_of_bounds, "no neighbour beyond"),
    "float indices": (lambda i, x, y: i[:, y.floor(), x.floor()], "Indices must be whole numbers"),
    "int()": (lambda i, x, y: i[:, int(y), int(x)], ".long() takes them all"),
    "no channels": (lambda i, x, y: i[y.long(), x.long()], "three axes"),
    "grid_sample": (by_grid_sample, "write the four neighbours out"),
    "detached": (lambda i, x, y: bilinear(i, x.detach(), y.detach()), "no gradient gets back to x"),
    "numpy": (lambda i, x, y: bilinear(i, torch.tensor(x.numpy()), y), "numpy brings no gradient"),
    "half detached": (lambda i, x, y: (bilinear(i.detach(), x, y) + bilinear(i, x, y)) / 2, "part of the gradient"),
    "half()": (lambda i, x, y: bilinear(i, x, y).half(), "another dtype"),
    "float()": (lambda i, x, y: bilinear(i.float(), x.float(), y.float()), "for float64 inputs"),
    "in place": (lambda i, x, y: bilinear(i, x.add_(0.5), y), "in place"),
    "points first": (lambda i, x, y: bilinear(i, x, y).T, "channels first, then points"),
    "every x with every y": (lambda i, x, y: i[:, y.long()][:, :, x.long()], "go in pairs"),
    "still apart": (lambda i, x, y: torch.stack([bilinear(i, x, y)] * 4), "still apart"),
    "return in a loop": (returns_in_the_loop, "return after the loop"),
    "two mistakes": (lambda i, x, y: mix(i, x.long(), x.long(), y.long(), y.long(), 1, y % 1).relu(), " And: "),
    "weights above 1": (lambda i, x, y: bilinear(i, x, y) * (1 + x % 1), "must add up to 1"),
    "dropout": (lambda i, x, y: F.dropout(bilinear(i, x, y), 0.5), "two calls"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def middles(n):
    return (torch.arange(n) + 0.5) * 2 / n - 1


def pairs(y, x):
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def reference_grid(height, width, stride):
    return pairs(middles(height // stride), middles(width // stride))


def by_affine_grid(height, width, stride):
    return F.affine_grid(torch.eye(2, 3)[None], (1, 1, height // stride, width // stride), align_corners=False)[0]


def by_linspace(height, width, stride):
    h, w = height // stride, width // stride
    y, x = torch.linspace(-1 + 1 / h, 1 - 1 / h, h), torch.linspace(-1 + 1 / w, 1 - 1 / w, w)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], 2)


def with_loops(height, width, stride):
    h, w = height // stride, width // stride
    return torch.tensor([[[(2 * j + 1) / w - 1, (2 * i + 1) / h - 1] for j in range(w)] for i in range(h)])


def by_numpy(height, width, stride):
    y, x = ((np.arange(n // stride) + 0.5) * 2 * stride / n - 1 for n in (height, width))
    return torch.from_numpy(np.stack(np.meshgrid(x, y), -1))


def without_stride(height, width, stride):
    return pairs(middles(height), middles(width))


def along(formula):
    """`formula` gives the coordinates along one axis of `size` positions with n points."""
    return lambda height, width, stride: pairs(
        *(formula(torch.arange(size // stride), size // stride, size, stride) for size in (height, width))
    )


WRONG_GRIDS = {  # beside those of the tables
    "end to end": (along(lambda i, n, size, s: torch.linspace(-1, 1, n)), "for align_corners=True"),
    "published": (along(lambda i, n, size, s: (i + 0.5) / max(n - 1, 1) * 2 - 1), "the published fault"),
    "long": (lambda h, w, s: reference_grid(h, w, s).long(), "need fractions"),
    "every position": (lambda h, w, s: reference_grid(h, w, 1), "not for every position"),
    "stride not used": (without_stride, "'stride' is not used"),
    "float64 from numpy": (by_numpy, "your grid is in float64"),
    "ij": (lambda h, w, s: reference_grid(h, w, s).transpose(0, 1), "rows first"),
    "x and y in front": (lambda h, w, s: reference_grid(h, w, s).permute(2, 0, 1), "on a last axis"),
    "stride cells": (lambda h, w, s: pairs(middles(s), middles(s)), "not the number of cells"),
    "x alone": (lambda h, w, s: pairs(middles(h // s), torch.linspace(-1, 1, w // s)), "along x, your outermost"),
    "shifted": (along(lambda i, n, size, s: middles(n) + 0.001), "not the middles"),
    "squeezed": (along(lambda i, n, size, s: 0.9 * middles(n)), "not the middles"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
OPTIONS = {"padding_mode": "border", "align_corners": False}


def sample_groups(x, grid):
    pieces = x.unflatten(1, (grid.shape[1], -1)).flatten(0, 1)
    return F.grid_sample(pieces, grid.flatten(0, 1), **OPTIONS).unflatten(0, (-1, grid.shape[1])).flatten(1, 2)


def pieces_of(x, grid, **options):
    return [F.grid_sample(p, grid[:, g], **(OPTIONS | options)) for g, p in enumerate(x.chunk(grid.shape[1], 1))]


def groups_in_a_loop(x, grid):
    return torch.cat(pieces_of(x, grid), 1)


def filled_in(x, grid):
    out, width = x.new_empty(*x.shape[:2], *grid.shape[2:4]), x.shape[1] // grid.shape[1]
    for i in range(len(x)):
        for c in range(x.shape[1]):
            out[i, c] = F.grid_sample(x[i : i + 1, c : c + 1], grid[i : i + 1, c // width], **OPTIONS)[0, 0]
    return out


def groups_in_front(x, grid):
    pieces = x.reshape(len(x) * grid.shape[1], -1, *x.shape[2:])
    return F.grid_sample(pieces, grid.transpose(0, 1).flatten(0, 1), **OPTIONS).reshape(*x.shape[:2], *grid.shape[2:4])


def pieces_of_g_channels(x, grid):
    pairs = zip(x.split(grid.shape[1], 1), grid.unbind(1), strict=False)
    return torch.cat([F.grid_sample(piece, points, **OPTIONS) for piece, points in pairs], 1)


def returns_the_first(x, grid):
    for g, piece in enumerate(x.chunk(grid.shape[1], 1)):
        return F.grid_sample(piece, grid[:, g], **OPTIONS)


WRONG_SAMPLES = {  # beside those of the tables
    "groups in front of images": (groups_in_front, "images and groups are mixed up"),
    "every group reads all": (
        lambda x, g: F.grid_sample(x.repeat_interleave(g.shape[1], 0), g.flatten(0, 1), **OPTIONS),
        "it belongs to one group",
    ),
    "options left out": (lambda x, g: torch.cat(pieces_of(x, g, align_corners=True, mode="nearest"), 1), " And: "),
    "pieces of G channels": (pieces_of_g_channels, "you cut pieces of G channels"),
    "still in the batch": (lambda x, g: torch.cat(pieces_of(x, g)), "join the groups along the channels"),
    "in front": (lambda x, g: torch.stack(pieces_of(x, g)), "an axis of their own"),
    "one group left": (lambda x, g: pieces_of(x, g)[0], "only one group is left"),
    "return in a loop": (returns_the_first, "return after the loop"),
    "grid given whole": (lambda x, g: F.grid_sample(x, g, **OPTIONS), "grid_sample wants x of shape"),
    "grid not by group": (lambda x, g: F.grid_sample(x, g.flatten(0, 1), **OPTIONS), "each group of channels counts"),
    "detached points": (lambda x, g: sample_groups(x, g.detach()), "no gradient gets back to the points"),
    "half detached": (lambda x, g: sample_groups(x, g / 2 + g.detach() / 2), "part of the gradient"),
    "float()": (lambda x, g: sample_groups(x.float(), g.float()), "for float64 inputs"),
    "in place": (lambda x, g: sample_groups(x, g.mul_(0.5)), "in place"),
    "pieces of 4 groups": (
        lambda x, g: torch.cat([p * g[:, i, 0, 0, 0].view(-1, 1, 1, 1) for i, p in enumerate(x.chunk(4, 1))], 1),
        "other pieces than groups",
    ),
    "dropout": (lambda x, g: F.dropout(sample_groups(x, g), 0.5), "two calls"),
}

EXERCISES = {
    "bilinear": (check.check_bilinear, [bilinear, every_position, with_a_loop, last_cell], WRONG_BILINEARS),
    "reference_grid": (
        check.check_reference_grid,
        [reference_grid, by_affine_grid, by_linspace, with_loops],
        WRONG_GRIDS,
    ),
    "sample_groups": (check.check_sample_groups, [sample_groups, groups_in_a_loop, filled_in], WRONG_SAMPLES),
}
TABLES = {
    "bilinear": (lambda **steps: lambda image, x, y: read(image, x, y, **steps), READ),
    "reference_grid": (lambda **steps: lambda height, width, stride: spread(height, width, stride, **steps), GRID),
    "sample_groups": (lambda **steps: lambda x, grid: sampled(x, grid, **steps), SAMPLE),
}
