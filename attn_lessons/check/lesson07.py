"""Exercises of lesson 07: reading between positions, where the points start, and points for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from . import core
from .core import WrongIdea, call, exercise, expect, named_mistake, same, shape_of

WHOLE = "Indices must be whole numbers: floor keeps a tensor of floats, .long() turns it into whole ones."
STOPPED = {  # what torch says → what it means in this lesson
    "one element tensors": "x and y hold n points: int() takes one number, .long() takes them all.",
    "tensors used as indices": WHOLE,
    "only integer tensors": WHOLE,
    "out of bounds": "In the last column there is no neighbour at the right, and in the last row none below. What "
    "weight would it have there?",
    "expected scalar type": "The image and the coordinates must have one and the same dtype.",
    "expected grid and input to have same batch size": "grid_sample wants one grid an image: with groups, each group "
    "of channels counts as an image of its own.",
    "grid_sampler": "grid_sample wants x of shape (B, C, H, W) and a grid of shape (B, h, w, 2), with one B for both.",
}


SWAPPED = "x and y have changed places: x counts columns, but an image is indexed with the row first"


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("four neighbours, weighted by how near they are, and a gradient for the point itself: it can learn to move.")
def check_bilinear(attempt: Callable) -> None:
    """Check exercise 1 of lesson 07: ``bilinear(image (C, H, W), x (n,), y (n,)) → (C, n)``."""
    for c, h, w, n in ((2, 5, 5, 7), (3, 4, 6, 5), (4, 2, 3, 6), (1, 6, 2, 1)):
        image = torch.randn(c, h, w)
        x, y = torch.rand(n) * (w - 1), torch.rand(n) * (h - 1)
        result = call(attempt, image, x, y, hints=STOPPED)
        _check_sampled_shape(result, c, n)
        right = _read(image, x, y)
        named_mistake(result, right, _bilinear_mistakes(image, x, y))
        _check_whole_places(attempt, image)
        constant = call(attempt, torch.full_like(image, 2.5), x, y, hints=STOPPED)
        expect(
            same(constant, torch.full_like(constant, 2.5)),
            "where the image is 2.5 everywhere, you get other values: the four weights must add up to 1.",
        )
        expect(
            same(result, right),
            "right at whole coordinates, but not between them: the weight of a neighbour is (1 − its distance in x) "
            "times (1 − its distance in y).",
        )
    _check_bilinear_gradient(attempt)


def _corners(image: torch.Tensor, x: torch.Tensor, y: torch.Tensor):
    """The four neighbours, (C, n) each, in the order 00, 01 (right), 10 (below), 11, and the fractions a, b."""
    h, w = image.shape[1:]
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    neighbours = image[:, top, left], image[:, top, right], image[:, bottom, left], image[:, bottom, right]
    return (*neighbours, x - left, y - top)


def _mix(p, q, r, s, a, b):
    return (1 - b) * ((1 - a) * p + a * q) + b * ((1 - a) * r + a * s)


def _read(image: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _mix(*_corners(image, x, y))


def _bilinear_mistakes(image: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[torch.Tensor, str]]:
    c, h, w = image.shape
    p, q, r, s, a, b = _corners(image, x, y)
    right = _mix(p, q, r, s, a, b)
    if h == w:
        yield _read(image, y, x), SWAPPED + ", image[:, y, x]. For a square image nothing complains."
    nearest = "you took the nearest position only: a rounded point feels no small step, and no gradient. Mix all four."
    diagonal = "you mixed along the diagonal with one fraction: four neighbours, two fractions."
    inverse = "you weighted by the inverse distance: the weight is a product, of the share in x and the share in y."
    near = [1 / ((i - a).square() + (j - b).square()).sqrt().add(1e-8) for j in (0, 1) for i in (0, 1)]
    yield from (
        (_mix(p, q, r, s, b, a), "the fractions have changed places: a, the one of x, mixes left and right; b, of y, "
         "mixes upper and lower. (Or did the upper right and the lower left neighbour?)"),
        (image[:, (y + 0.5).floor().long(), (x + 0.5).floor().long()], nearest),
        (image[:, y.round().long(), x.round().long()], nearest),
        (p, "you took the upper left neighbour only: mix all four."),
        (s, "you took the lower right neighbour only: mix all four."),
        ((p + q + r + s) / 4, "you took the plain mean of the four neighbours: the nearer one counts more."),
        (p + q + r + s, "you added the four neighbours: weight each by how near it is."),
        (_mix(p, q, r, s, 1 - a, 1 - b), "near and far are turned round: at a = 0, the left neighbour has all the "
         "weight."),
        (_mix(p, q, r, s, 1 - a, b), "left and right are turned round: at a = 0, the left neighbour has all the "
         "weight."),
        (_mix(p, q, r, s, a, 1 - b), "upper and lower are turned round: at b = 0, the upper one has all the weight."),
        ((1 - a) * p + a * q, "you mixed left and right in the upper row only: the lower row counts as well."),
        ((1 - b) * p + b * r, "you mixed upper and lower in the left column only: the right column counts as well."),
        ((1 - a) * p + a * s, diagonal),
        ((1 - b) * p + b * s, diagonal),
        (_mix(p, q, r, s, a * a * (3 - 2 * a), b * b * (3 - 2 * b)), "you smoothed the fractions first: in a bilinear "
         "sample they are taken as they are."),
        (sum(n * v for n, v in zip(near, (p, q, r, s), strict=True)) / sum(near), inverse),
        (sum(n * v for n, v in zip(near, (s, r, q, p), strict=True)) / sum(near), inverse),
        (right.mean(0, keepdim=True).expand(c, -1), "you averaged over the channels: each keeps its own value."),
    )  # fmt: skip
    convention = "grid_sample got coordinates of one convention and align_corners of the other; it is also what you "
    convention += "are about to understand: write the four neighbours out."
    for corners, padding in ((True, "zeros"), (False, "border"), (False, "zeros")):
        for along_x, along_y in (
            (2 * x / max(w - 1, 1) - 1, 2 * y / max(h - 1, 1) - 1),
            ((2 * x + 1) / w - 1, (2 * y + 1) / h - 1),
            (x, y),
        ):
            grid = torch.stack([along_x, along_y], -1)[None, None]
            sampled = F.grid_sample(image[None], grid, padding_mode=padding, align_corners=corners)
            yield sampled[0, :, 0], convention


def _check_whole_places(attempt: Callable, image: torch.Tensor) -> None:
    """At a position itself there is nothing to mix; in the last column and row, no neighbour beyond."""
    c, h, w = image.shape
    columns, rows = (t.flatten() for t in torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"))
    try:
        result = call(attempt, image, columns.float(), rows.float(), hints=STOPPED)
    except WrongIdea as idea:
        expect(
            "IndexError" not in str(idea),
            "between positions it works, but at the last column or the last row your code stopped (IndexError): there "
            "is no neighbour beyond. What weight would it have?",
        )
        raise
    _check_sampled_shape(result, c, h * w)
    right = image.flatten(1)
    if same(result, right):
        return
    wrong = ~torch.isclose(result, right, rtol=1e-4, atol=1e-5).all(0)
    edge = (columns == w - 1) | (rows == h - 1)
    expect(
        not (wrong & ~edge).any() or not (result[:, wrong].abs() < 1e-6).all(),
        "at whole coordinates you get 0: there floor and ceil are one and the same position, and both weights vanish. "
        "Take floor + 1 as the other neighbour, or 1 − a as the weight of the first.",
    )
    expect(
        (wrong & ~edge).any(),
        "in the last column or the last row you do not get that position's own value: the missing neighbour has weight "
        "0, and must not shift the others.",
    )
    if h == w and same(result, image.mT.flatten(1)):
        raise WrongIdea(SWAPPED + ".")
    raise WrongIdea(
        "at whole coordinates you should get exactly the place in column x and row y, image[:, y, x], and you do not: "
        "is it the right neighbour, and has it all the weight there?"
    )


def _check_bilinear_gradient(attempt: Callable) -> None:
    image = torch.randn(2, 4, 5, requires_grad=True)
    x, y = torch.tensor([1.3, 2.6], requires_grad=True), torch.tensor([0.4, 2.2], requires_grad=True)
    result = call(attempt, image, x, y)
    expect(result.requires_grad, "no gradient gets through: did you use detach, .data, .item, no_grad or numpy?")
    grads = torch.autograd.grad(result.square().sum(), (image, x, y), allow_unused=True)
    right = torch.autograd.grad(_read(image, x, y).square().sum(), (image, x, y))
    core.expect_all(
        (grads[1] is not None and grads[2] is not None, "the values are right, but no gradient reaches x and y, so no "
         "offset could ever learn: keep the fractions x − floor(x) and y − floor(y) as tensors."),
        (grads[0] is not None, "no gradient reaches the image, so nothing before this step could learn."),
    )  # fmt: skip
    expect(
        all(same(a, b) for a, b in zip(grads, right, strict=True)),
        "the values are right, but the gradient is another one: is a part of your formula detached?",
    )


def _check_sampled_shape(result: torch.Tensor, c: int, n: int) -> None:
    apart = "the four neighbours are still apart: add them up, each with its weight."
    ideas = dict.fromkeys(((1, c, n), (c, 1, n), (c, n, 1), (1, c, 1, n)), "there is an axis of size 1 too many.")
    ideas |= {
        (n, c): "channels first, then points.",
        (n,): "every channel is read at each point: keep the channels, image[:, …, …].",
        (c,): "one value per point: x and y hold n points.",
        (c, n, n): "each x met each y: index rows and columns together, image[:, y, x], so that they go in pairs.",
        (4, c, n): apart,
        (c, 4, n): apart,
    }
    if n == 1:
        ideas[c,] = "the axis of the single point is gone: squeeze() takes every axis of size 1."
    otherwise = "one value per channel and point is wanted, (C, n)."
    core.expect_shape(result, (c, n), f"{c} channels and {n} points", ideas, otherwise)


# ------------------------------------------------------------------------------------------------ exercise 2
@exercise("each point stands in the middle of its cell, and at stride 1 the image comes back as it was.")
def check_reference_grid(attempt: Callable) -> None:
    """Check exercise 2 of lesson 07: ``reference_grid(height, width, stride) → (h, w, 2)``."""
    for height, width, stride in ((4, 6, 2), (8, 8, 2), (12, 6, 3), (6, 6, 1), (3, 5, 1), (4, 8, 4)):
        given = f"height={height}, width={width}, stride={stride}"
        result = core.guarded(attempt, height, width, stride, given=given, hints=STOPPED)
        result = core.one_tensor(result)
        h, w = height // stride, width // stride
        _check_grid_shape(result, h, w, height, width, given)
        expect(result.is_floating_point(), "your grid holds whole numbers; coordinates from −1 to 1 need fractions.")
        right = _grid(h, w)
        named_mistake(result, right, _grid_mistakes(h, w, height, width, stride))
        x_right, y_right = (same(result[..., axis], right[..., axis]) for axis in (0, 1))
        core.expect_all(
            (x_right or not y_right, f"with {given}, y is right and x is not: x goes from left to right."),
            (y_right or not x_right, f"with {given}, x is right and y is not: y goes from the top down."),
            (result.abs().max() <= 1 + 1e-6, f"with {given}, some points lie beyond −1 or 1, outside the image, "
             "though nothing has moved them yet."),
            (same(result, -result.flip(0, 1)), f"with {given}, your points are not spread evenly about the middle: "
             "turn the image by 180°, and the grid should be the same."),
            (same(result, right), f"with {given}, your points are not the middles of the cells. The outer edges of the "
             f"image are −1 and 1, and {w} cells lie side by side: how wide is one, and where is its middle?"),
        )  # fmt: skip


def _grid(h: int, w: int) -> torch.Tensor:
    return _pairs((torch.arange(h) + 0.5) * 2 / h - 1, (torch.arange(w) + 0.5) * 2 / w - 1)


def _pairs(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.stack(torch.meshgrid(x.float(), y.float(), indexing="xy"), -1)


def _grid_mistakes(h: int, w: int, height: int, width: int, stride: int) -> Iterator[tuple[torch.Tensor, str]]:
    i, j = torch.arange(h), torch.arange(w)
    yield _grid(h, w).flip(-1), "y stands before x: grid_sample wants x, then y, in the last axis."
    if h == w:
        yield _grid(h, w).transpose(0, 1), "rows and columns have changed places: x must grow along a row of the grid."
    yield _grid(h, w).flip(0), "y counts upwards: in an image it grows from the top down."
    yield _grid(h, w).flip(1), "x counts from right to left: it grows to the right."
    yield -_grid(h, w), "both axes are turned round: −1 is the left and the upper edge."
    in_places = "your points are counted in places: turn them into grid_sample's own coordinates, from −1 to 1."
    for along, idea in (  # the same on both axes: `i` points over `size` positions, `n` of them
        (lambda i, size, n: i * 2 / max(n - 1, 1) - 1, "your outermost points lie on the edges of the image, −1 and "
         "1: that is the convention of align_corners=True, or linspace from end to end. The middles of the outer cells "
         "lie half a cell further in."),
        (lambda i, size, n: (i + 0.5) * 2 / max(n - 1, 1) - 1, "you count half steps, and divide by n − 1: two "
         "conventions in one formula. It is the published fault, and the last points lie outside the image."),
        (lambda i, size, n: ((i + 0.5) * stride - 0.5) * 2 / (size - 1) - 1, "the points are right, in the coordinates "
         "of align_corners=True: here −1 and 1 are the outer edges of the image, not the middles of its outer "
         "positions."),
        (lambda i, size, n: i * stride * 2 / (size - 1) - 1, "these are the upper left positions of the cells, in the "
         "coordinates of align_corners=True: take the middles."),
        (lambda i, size, n: i * 2 / n - 1, "these are the upper left corners of the cells: add half a cell."),
        (lambda i, size, n: (i + 1) * 2 / n - 1, "these are the lower right corners of the cells: half a cell too "
         "far."),
        (lambda i, size, n: (i * stride + 0.5) * 2 / size - 1, "these are the middles of each cell's upper left "
         "position: the middle of the whole cell is wanted."),
        (lambda i, size, n: (i * stride + stride // 2) * 2 / size - 1, "half a cell is stride / 2 positions, also when "
         "stride is odd: // rounds down."),
        (lambda i, size, n: (i + 0.5) / n, "your coordinates go from 0 to 1: grid_sample's go from −1 to 1."),
        (lambda i, size, n: (i + 0.5) / n - 0.5, "your coordinates go from −1/2 to 1/2: grid_sample's go from −1 to "
         "1."),
        (lambda i, size, n: (i + 0.5) * stride - 0.5, in_places),
        (lambda i, size, n: (i + 0.5) * stride, in_places),
        (lambda i, size, n: i, "these are the indices of the points: turn them into coordinates from −1 to 1."),
        (lambda i, size, n: i + 0.5, "these are counted in cells: turn them into coordinates from −1 to 1."),
        (lambda i, size, n: (i + 0.5) * 2 / w - 1, "both axes are divided by the width: y by the height."),
        (lambda i, size, n: (i + 0.5) * 2 / h - 1, "both axes are divided by the height: x by the width."),
        (lambda i, size, n: (i + 0.5) * 2 / size - 1, "your points lie a position apart, in the upper left corner: "
         "neighbouring points are stride positions apart."),
    ):  # fmt: skip
        yield _pairs(along(i, height, h), along(j, width, w)), idea


def _check_grid_shape(result: torch.Tensor, h: int, w: int, height: int, width: int, given: str) -> None:
    stride = height // h
    ideas = {
        (stride, stride, 2): "stride is the size of a cell, not the number of cells.",
        (1, h, w, 2): "the axis of the batch is not wanted here.",
        (2, h, w): "x and y belong on the last axis: stack them there.",
        (h * w, 2): "keep rows and columns apart: (h, w, 2).",
        (h, w): "each point has two coordinates, x and y.",
        (2, h * w): "keep rows and columns apart, with x and y on the last axis: (h, w, 2).",
        (2, w, h): "x and y belong on the last axis, and the rows come first.",
        (w, h, 2): "rows first: h, then w. What does meshgrid do with indexing='xy', what with 'ij'?",
        (height, width, 2): "that is a point for every position: one for every stride × stride positions is wanted.",
        (
            height,
            width,
        ): "that is a number for every position: one point for every stride × stride positions is wanted.",
        (h + 1, w + 1, 2): "a row and a column of points too many: those are the corners of the cells, not middles.",
    }
    otherwise = (
        f"one point for every stride × stride positions is wanted, {shape_of(h, w, 2)}, x and y on the last axis."
    )
    core.expect_shape(result, (h, w, 2), given, ideas, otherwise)


# ------------------------------------------------------------------------------------------------ exercise 3
@exercise("each group of channels is read at its own points: four groups, four positions in one look.")
def check_sample_groups(attempt: Callable) -> None:
    """Check exercise 3 of lesson 07: ``sample_groups(x (B, C, H, W), grid (B, G, h, w, 2)) → (B, C, h, w)``."""
    for b, groups, width, h, w, rows, columns in (
        (2, 3, 2, 5, 6, 3, 4), (3, 3, 3, 4, 4, 4, 4), (1, 4, 2, 6, 3, 2, 1), (2, 2, 2, 5, 5, 5, 5),
        (2, 1, 3, 3, 3, 1, 2),
    ):  # fmt: skip
        x, grid = torch.randn(b, groups * width, h, w), torch.rand(b, groups, rows, columns, 2) * 2.4 - 1.2
        result = call(attempt, x, grid, hints=STOPPED)
        _check_group_shape(result, x, grid)
        right = _by_group(x, grid)
        named_mistake(result, right, _group_mistakes(x, grid))
        _check_who_reads_what(attempt, x, grid, result)
        expect(
            same(result, right),
            "each group reads its own channels at its own points, but the values are others: bilinear samples, "
            "align_corners=False, and beyond the edge the edge goes on.",
        )
    x, grid = torch.randn(1, 4, 5, 5, requires_grad=True), (torch.rand(1, 2, 3, 3, 2) - 0.5).requires_grad_()
    result = call(attempt, x, grid)
    expect(result.requires_grad, "no gradient gets through: did you use detach, .data, no_grad or numpy?")
    grads = torch.autograd.grad(result.square().sum(), (x, grid), allow_unused=True)
    expect(grads[1] is not None, "no gradient reaches the points, so the offsets could never learn: did you detach?")
    expect(grads[0] is not None, "no gradient reaches x, so nothing before this step could learn: did you detach?")


AS_HERE = {"padding_mode": "border", "align_corners": False}


def _by_group(x: torch.Tensor, grid: torch.Tensor, **options) -> torch.Tensor:
    options = AS_HERE | options
    pieces = x.chunk(grid.shape[1], 1)
    return torch.cat([F.grid_sample(piece, grid[:, g], **options) for g, piece in enumerate(pieces)], 1)


def _group_mistakes(x: torch.Tensor, grid: torch.Tensor) -> Iterator[tuple[torch.Tensor, str]]:
    (b, c), groups, sampled = x.shape[:2], grid.shape[1], _by_group(x, grid)
    if groups > 1:
        for points, idea in (
            (grid[:, :1], "every group got the points of the first one: each has its own."),
            (grid[:, -1:], "every group got the points of the last one: each has its own."),
            (grid.mean(1, keepdim=True), "every group got the mean of all points: each has its own."),
            (grid.flip(1), "the groups are read in reverse order."),
        ):
            yield _by_group(x, points.expand_as(grid)), idea
        every = sum(F.grid_sample(x, grid[:, g], **AS_HERE) for g in range(groups))
        one_group = "a channel belongs to one group."
        yield every / groups, f"every channel was read at all groups' points, and averaged: {one_group}"
        yield every, f"every channel was read at all groups' points, and added up: {one_group}"
    if 1 < groups < c:
        order = torch.arange(c).view(-1, groups).T.flatten()
        turns = "channels went to the groups in turns, one after the other: a group is C / G channels side by side."
        yield _by_group(x[:, order], grid)[:, order.argsort()], turns
        yield _by_group(x[:, order], grid), turns
        yield sampled[:, order], "the right samples, but their channels come back in another order."
    if b > 1:
        yield _by_group(x, grid[:1].expand_as(grid)), "every image got the points of the first one: each has its own."
    if b > 1 and groups > 1:
        mixed = "images and groups are mixed up: (B · G) must run over the groups of the first image first, for "
        mixed += "the channels and for the grid alike."
        pieces = x.unflatten(1, (groups, -1))
        image_first, group_first = (
            F.grid_sample(some.flatten(0, 1), grid.flatten(0, 1), **AS_HERE)
            for some in (pieces, pieces.transpose(0, 1))
        )
        yield _by_group(x, grid.transpose(0, 1).reshape(grid.shape)), mixed
        yield _by_group(x, grid.reshape(groups, b, *grid.shape[2:]).transpose(0, 1)), mixed
        yield group_first.reshape(sampled.shape), mixed
        yield group_first.unflatten(0, (groups, b)).transpose(0, 1).flatten(1, 2), mixed
        yield image_first.unflatten(0, (groups, b)).transpose(0, 1).flatten(1, 2), mixed
    corners = "that is align_corners=True: here −1 and 1 are the outer edges of the image, not the middles of its "
    corners += "outer positions."
    nearest = "you read the nearest position only: mode='bilinear' mixes four, and lets the points learn."
    swapped = "x and y have changed places: the grid holds x before y already, as grid_sample wants it."
    edge = "here the edge goes on, as in padding_mode='border'."
    yield _by_group(x, grid, padding_mode="zeros"), f"beyond the edge you read 0: {edge}"
    yield _by_group(x, grid, padding_mode="reflection"), f"beyond the edge you read the image mirrored: {edge}"
    for padding in ("border", "zeros"):
        yield _by_group(x, grid, align_corners=True, padding_mode=padding), corners
        yield _by_group(x, grid, mode="nearest", padding_mode=padding), nearest
        yield _by_group(x, grid.flip(-1), padding_mode=padding), swapped
    scaled = ((grid + 1) / 2, grid / 2, -grid, grid * 2 - 1, grid * 2, grid * (x.shape[3] - 1))
    for changed in (grid.clamp(-1, 1) * 2 - 1, *scaled):
        yield _by_group(x, changed), "the grid is in grid_sample's own coordinates already: leave it."
    yield _by_group(x, grid.tanh()), "the grid says where to read already: no tanh here."
    if sampled.shape == x.shape:
        yield x + sampled, "you added x: only the samples are wanted."
        yield x, "you return x itself: read it at the points."
    yield sampled.mean(1, keepdim=True).expand_as(sampled), "you averaged over the channels: each keeps its own."


def _check_who_reads_what(attempt: Callable, x: torch.Tensor, grid: torch.Tensor, result: torch.Tensor) -> None:
    """Change one channel of one image, then the points of one group: exactly what belongs to it may change."""
    channels, groups = x.shape[1], grid.shape[1]
    width = channels // groups
    changed = x.clone()
    changed[-1, -1] += 1 + torch.rand_like(changed[-1, -1])
    moved = ~torch.isclose(call(attempt, changed, grid, hints=STOPPED), result, atol=1e-5).flatten(2).all(2)
    core.expect_all(
        (not moved[:-1].any(), "change the last image, and the samples of another image change: images must stay "
         "apart."),
        (not moved[-1, :-1].any(), "change the last channel, and the samples of other channels change: every channel "
         "is read by itself."),
        (moved[-1, -1], "change the last channel, and its samples do not change: are they read from it?"),
    )  # fmt: skip
    shifted = grid.clone()
    shifted[0, 0] = -0.7 * shifted[0, 0] + 0.05
    moved = ~torch.isclose(call(attempt, x, shifted, hints=STOPPED), result, atol=1e-5).flatten(2).all(2)
    told = f"move the points of the first of {groups} groups, and"
    core.expect_all(
        (not moved[1:].any(), "move the points of the first image, and samples of other images change: keep them "
         "apart."),
        (not moved[0, width:].any(), f"{told} channels of other groups change: group 0 has the first C / G = {width} "
         "channels."),
        (moved[0, :width].all(), f"{told} not all of its C / G = {width} channels follow."),
    )  # fmt: skip


def _check_group_shape(result: torch.Tensor, x: torch.Tensor, grid: torch.Tensor) -> None:
    (b, c), (g, h, w) = x.shape[:2], grid.shape[1:4]
    width = c // g
    ideas = {tuple(x.shape): "your result is as large as x; one sample for each point is wanted."}
    for idea, *shapes in (
        ("one channel a group is left: each of its C / G channels is read.", (b, g, h, w)),
        ("rows and columns of the points have changed places.", (b, c, w, h)),
        ("keep rows and columns of the points apart: (B, C, h, w).", (b, c, h * w)),
        ("you joined along the columns: join the groups along the channels.", (b, width, h, g * w)),
        ("you joined the groups along the rows: join them along the channels.", (b, width, g * h, w)),
        ("the groups lie in front: join them along the channels.", (g, b, width, h, w)),
        ("only one group is left: join all of them along the channels.", (b, width, h, w)),
        ("every channel was read at every group's points: a channel belongs to one group.",
         (b, g, c, h, w), (b, g * c, h, w), (b * g, c, h, w)),
        ("the groups still have an axis of their own: join it with the channels.", (b, g, width, h, w)),
        ("the groups still lie in the batch: bring them back to the channels.", (b * g, width, h, w)),
    ):  # fmt: skip
        ideas |= dict.fromkeys(shapes, idea)
    given = f"x of shape {shape_of(*x.shape)} and a grid of shape {shape_of(*grid.shape)}"
    otherwise = "one sample for each channel and point of its group is wanted, (B, C, h, w)."
    core.expect_shape(result, (b, c, h, w), given, ideas, otherwise)
