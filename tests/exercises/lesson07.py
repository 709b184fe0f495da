"""Answers to the exercises of lesson 07; what the names mean is said in __init__.py."""

from functools import partial

import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check import steps_points as steps


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


def last_cell(image, x, y):
    """The last point belongs to the last cell, with a share of 1."""
    left, top = (t.floor().long().clamp(max=size - 2) for t, size in ((x, image.shape[2]), (y, image.shape[1])))
    return mix(image, left, left + 1, top, top + 1, x - left, y - top)


def out_of_bounds(image, x, y):
    return mix(image, x.long(), x.long() + 1, y.long(), y.long() + 1, x % 1, y % 1)


def returns_in_the_loop(image, x, y):
    for i in range(len(x)):
        return bilinear(image, x[i : i + 1], y[i : i + 1])[:, 0]


WRONG_BILINEARS = {  # beside those of the tables
    "swapped, and out of bounds": (lambda i, x, y: out_of_bounds(i, y, x), "x and y have changed places"),
    "out of bounds": (out_of_bounds, "no neighbour beyond"),
    "float indices": (lambda i, x, y: i[:, y.floor(), x.floor()], "Indices must be whole numbers"),
    "int()": (lambda i, x, y: i[:, int(y), int(x)], ".long() takes them all"),
    "no channels": (lambda i, x, y: i[y.long(), x.long()], "three axes"),
    "grid_sample": (
        lambda i, x, y: F.grid_sample(i[None], torch.stack([x, y], -1)[None, None], align_corners=False),
        "write the four neighbours out",
    ),
    "detached": (lambda i, x, y: bilinear(i, x.detach(), y.detach()), "no gradient gets back to x"),
    "numpy": (lambda i, x, y: bilinear(i, torch.tensor(x.numpy()), y), "numpy brings no gradient"),
    "half detached": (lambda i, x, y: (bilinear(i.detach(), x, y) + bilinear(i, x, y)) / 2, "part of the gradient"),
    "float()": (lambda i, x, y: bilinear(i.float(), x.float(), y.float()), "for float64 inputs"),
    "in place": (lambda i, x, y: bilinear(i, x.add_(0.5), y), "in place"),
    "points first": (lambda i, x, y: bilinear(i, x, y).T, "channels first, then points"),
    "every x with every y": (lambda i, x, y: i[:, y.long()][:, :, x.long()], "go in pairs"),
    "return in a loop": (returns_in_the_loop, "return after the loop"),
    "two mistakes": (lambda i, x, y: mix(i, x.long(), x.long(), y.long(), y.long(), 1, y % 1).relu(), " And: "),
    "weights above 1": (lambda i, x, y: bilinear(i, x, y) * (1 + x % 1), "must add up to 1"),
    "fractions squared": (lambda i, x, y: bilinear(i, x.floor() + (x % 1) ** 2, y), "yours is another"),
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


def between(low, high):
    return lambda h, w, s: pairs(*(torch.linspace(low, high, n // s) for n in (h, w)))


WRONG_GRIDS = {  # beside those of the tables
    "from 0 to 1, end to end": (between(0, 1), "on the edges|And: your coordinates go from 0 to 1"),
    "long": (lambda h, w, s: reference_grid(h, w, s).long(), "need fractions"),
    "every position": (lambda h, w, s: reference_grid(h, w, 1), "not for every position"),
    "float64": (lambda h, w, s: reference_grid(h, w, s).double(), "your grid is in float64"),
    "ij": (lambda h, w, s: reference_grid(h, w, s).transpose(0, 1), "rows first"),
    "x and y in front": (lambda h, w, s: reference_grid(h, w, s).permute(2, 0, 1), "on a last axis"),
    "stride cells": (lambda h, w, s: pairs(middles(s), middles(s)), "not the number of cells"),
    "shifted": (lambda h, w, s: reference_grid(h, w, s) + 0.02, "Your points go from (-0.84, -0.78)"),
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


def pieces_joined(x, grid):
    """The groups come first in x, the images in the grid."""
    samples = F.grid_sample(torch.cat(x.chunk(grid.shape[1], 1)), grid.flatten(0, 1), **OPTIONS)
    return torch.cat(samples.chunk(grid.shape[1]), 1)


WRONG_SAMPLES = {  # beside those of the tables
    "two orders": (pieces_joined, "the images first in the grid, the groups first in x"),
    "every group reads all": (
        lambda x, g: F.grid_sample(x.repeat_interleave(g.shape[1], 0), g.flatten(0, 1), **OPTIONS),
        "it belongs to one group",
    ),
    "groups added up": (lambda x, g: sum(F.grid_sample(x, p, **OPTIONS) for p in g.unbind(1)), "only its first C / G"),
    "options left out": (lambda x, g: torch.cat(pieces_of(x, g, align_corners=True, mode="nearest"), 1), " And: "),
    "options by position": (lambda x, g: F.grid_sample(x, g[:, 0], "border"), "Hand options over by name"),
    "pieces of G channels": (
        lambda x, g: torch.cat([F.grid_sample(p, g[:, 0], **OPTIONS) for p in x.split(g.shape[1], 1)[: g.shape[1]]], 1),
        "you cut pieces of G channels",
    ),
    "size of x": (lambda x, g: sample_groups(x, g).view(x.shape), "which do you reshape"),
    "still in the batch": (lambda x, g: torch.cat(pieces_of(x, g)), "join the groups along the channels"),
    "grid not by group": (lambda x, g: F.grid_sample(x, g.flatten(0, 1), **OPTIONS), "each group of channels counts"),
    "four groups": (lambda x, g: torch.cat([p + g[0, i].sum() for i, p in enumerate(x.chunk(4, 1))]), "other pieces"),
    "detached points": (lambda x, g: sample_groups(x, g.detach()), "no gradient gets back to the points"),
    "points cubed": (lambda x, g: sample_groups(x, g**3), "padding_mode='border' and align_corners=False"),
}

EXERCISES = {
    "bilinear": (check.check_bilinear, [bilinear, every_position, last_cell], WRONG_BILINEARS),
    "reference_grid": (check.check_reference_grid, [reference_grid, by_affine_grid], WRONG_GRIDS),
    "sample_groups": (check.check_sample_groups, [sample_groups, groups_in_a_loop], WRONG_SAMPLES),
}
TABLES = {
    "bilinear": (partial(partial, steps.read), steps.READ, steps.read, steps.READ_VALUES),
    "reference_grid": (partial(partial, steps.spread), steps.GRID, steps.spread, steps.GRID_VALUES),
    "sample_groups": (partial(partial, steps.sampled), steps.SAMPLE, steps.sampled, steps.SAMPLE_VALUES),
}
