"""Exercises of lesson 05: pooling along one axis at a time, and the whole coordinate attention module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of

STOPPED = {  # what torch says → what it means in this lesson
    "Sizes of tensors must match": "Two tensors can be joined along an axis only if all other axes agree: the H row "
    "means and the W column means should lie along one and the same axis.",
    "stack expects each tensor": "stack makes a new axis and wants equal sizes, but H and W differ here: join the "
    "numbers along the axis they lie on.",
    "split_with_sizes": "The pieces must add up to the H + W numbers you joined.",
}


def _call(attempt: Callable, x: torch.Tensor, prefix: str = "") -> torch.Tensor:
    """As `call`, with a word on what torch's complaints mean here."""
    try:
        return call(attempt, x)
    except WrongIdea as idea:
        hint = next((f" {hint}" for words, hint in STOPPED.items() if words in str(idea)), "")
        stopped = "your code stopped" in str(idea)
        raise WrongIdea(f"{prefix if stopped else ''}{idea}{hint}") from None


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("H row means, then W column means: each of them still knows where it comes from.")
def check_pool_both(attempt: Callable) -> None:
    """Check exercise 1 of lesson 05: ``pool_both(x (B, C, H, W)) → (B, C, H + W)``."""
    x = torch.randn(2, 3, 4, 4)
    result = _call(attempt, x)
    expect(
        not any(same(result, x.mean(3) + sign * x.mean(2)) for sign in (1, -1)),
        "you added row means and column means to each other: put them side by side instead.",
    )
    _check_pooled_shape(result, 2, 3, 4, 4)
    for b, c, h, w in ((2, 3, 4, 6), (2, 3, 4, 4), (3, 2, 5, 3), (1, 4, 1, 3), (1, 2, 3, 1)):
        x = torch.randn(b, c, h, w)
        result = _call(attempt, x, "it works for a square picture, but not for every other: " if h != w else "")
        _check_pooled_shape(result, b, c, h, w)
        right = torch.cat([x.mean(3), x.mean(2)], 2)
        named_mistake(result, right, _pooling_mistakes(x))
        for name, place in (("first", 0), ("last", -1)):
            changed = x.clone()
            changed[0, 0, place, place] += 3
            moved = ~torch.isclose(_call(attempt, changed), result, atol=1e-4)
            i, j = place % h, place % w
            expected = torch.zeros_like(moved)
            expected[0, 0, [i, h + j]] = True
            expect(
                not (moved & ~expected).any(),
                f"change one number, in the {name} row and {name} column of one channel: other numbers of yours change "
                "than the mean of that row and the mean of that column.",
            )
            expect(
                torch.equal(moved, expected),
                f"change one number, in the {name} row and {name} column: the mean of that row (among the first H) "
                "and the mean of that column (among the last W) should both change, and yours do not.",
            )
        expect(
            same(result, right),
            "each of your numbers comes from the right row or column, but it is not the plain mean of it.",
        )
    x = torch.randn(1, 2, 3, 4, requires_grad=True)
    expect(
        call(attempt, x).requires_grad,
        "no gradient gets back to x, so nothing before it could learn: did you use detach, .data, .item or numpy?",
    )


def _pooling_mistakes(x: torch.Tensor) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    rows, columns = x.mean(3), x.mean(2)
    everything = x.mean((2, 3))[..., None]
    both = torch.cat([rows, columns], 2)
    yield (
        torch.cat([columns, rows], 2),
        "the column means come first: rows first, then columns. (Is it dim=3 that runs along a row?)",
    )
    yield torch.cat([x.sum(3), x.sum(2)], 2), "you added up without dividing: a wider picture gets larger numbers."
    yield torch.cat([x.amax(3), x.amax(2)], 2), "you took the largest value of each row and column: take the mean."
    yield torch.cat([x.amin(3), x.amin(2)], 2), "you took the smallest value of each row and column: take the mean."
    yield (
        torch.cat([x.median(3).values, x.median(2).values], 2),
        "you took the median of each row and column: take the mean.",
    )
    yield (
        everything.expand(b, c, h + w),
        "all H + W numbers of a channel are its mean over the whole picture: SE's squeeze, which forgets where.",
    )
    if h == w:
        yield torch.cat([rows, rows], 2), "you have the row means twice: the second half should be column means."
        yield torch.cat([columns, columns], 2), "you have the column means twice: the first half should be row means."
    yield torch.cat([x.sum(3) / h, x.sum(2) / w], 2), "a row has W numbers and a column H: you divided by the other."
    yield torch.cat([rows.flip(2), columns], 2), "the rows come from the bottom up: keep their order."
    yield torch.cat([rows, columns.flip(2)], 2), "the columns come from right to left: keep their order."
    yield both.sigmoid(), "the sigmoid comes later, when there are gates: only the means here."
    yield both.relu(), "you cut off the negative values: only the means here."
    yield both.softmax(2), "rows and columns do not compete here: leave out the softmax."
    yield torch.cat([x.abs().mean(3), x.abs().mean(2)], 2), "you took absolute values first: signs should stay."
    yield torch.cat([x.square().mean(3), x.square().mean(2)], 2), "you squared first: leave the values as they are."
    yield both - everything, "you took the mean of the whole picture off: only the means here."
    if h == w:
        yield (
            torch.stack([rows, columns], 3).flatten(2),
            "row and column means alternate: first all rows, then all columns.",
        )
    yield both.mean(0, keepdim=True).expand_as(both), "you averaged over the batch: each picture has its own means."
    yield both.mean(1, keepdim=True).expand_as(both), "you averaged over the channels: each channel has its own means."
    scrambled = "view and reshape cut the numbers in another order and do not turn rows into columns: average along "
    scrambled += "the dimension H itself, or use transpose."
    turned = x.reshape(b, c, w, h)
    yield torch.cat([rows, turned.mean(3)], 2), scrambled
    yield torch.cat([turned.mean(2), columns], 2), scrambled
    yield torch.cat([turned.mean(2), turned.mean(3)], 2), scrambled
    yield both.mT.reshape(b, c, h + w), scrambled


def _check_pooled_shape(result: torch.Tensor, b: int, c: int, h: int, w: int) -> None:
    shape = tuple(result.shape)
    ideas = {
        (b, c): "one number is left of each channel: that is SE's squeeze. Pool along one axis at a time.",
        (b, c, 1, 1): "one number is left of each channel: that is SE's squeeze. Pool along one axis at a time.",
        (b, c, h): "only one direction is there: H row means and W column means are wanted.",
        (b, c, w): "only one direction is there: H row means and W column means are wanted.",
        (b, c, h + w, 1): "the numbers may be right, but an axis of size 1 is left over.",
        (b, c, 1, h + w): "the numbers may be right, but an axis of size 1 is left over.",
        (b, c, 2 * h): "you have the row means twice: the second half should be column means.",
        (b, c, 2 * w): "you have the column means twice: the first half should be row means.",
        (b, h + w, c): "rows and columns should lie along the last axis, channels in the middle: (B, C, H + W).",
        (b, 2, c, h): "stack makes a new axis; put the column means behind the row means, along the axis they lie on.",
        (b, c, 2, h): "stack makes a new axis; put the column means behind the row means, along the axis they lie on.",
        (b, c, h, 2): "stack makes a new axis; put the column means behind the row means, along the axis they lie on.",
        (2, b, c, h): "stack makes a new axis; put the column means behind the row means, along the axis they lie on.",
        (b, 2 * c, h): "you joined along the channels: put the columns behind the rows, along the last axis.",
        (2 * b, c, h): "you joined along the batch: put the columns behind the rows, along the last axis.",
        (b, c, h, w): "you combined each row with each column, or did not pool at all: put the means side by side.",
        (b, c, h * w): "every place is still there: pool before you join.",
        (b, h + w): "you averaged over the channels as well: each channel has its own row and column means.",
        (c, h + w): "you averaged over the pictures as well: each picture has its own row and column means.",
        (b, c + c): "one number is left per channel and direction: average over one dimension only.",
        (b, c, 2): "one number is left per channel and direction: average over one dimension only.",
        (b, c + h): "you averaged over the wrong dimensions: W goes for the row means, H for the column means.",
        (b, 2 * h, w): "you averaged over the channels: W goes for the row means, H for the column means.",
        (b, h, 2 * w): "you averaged over the channels: W goes for the row means, H for the column means.",
        (b, c * (h + w)): "keep the channels apart: (B, C, H + W).",
        (b, h, c + w): "you averaged over the channels: W goes for the row means, H for the column means.",
    }
    if b == 1:
        ideas[c, h + w] = "the axis of the single picture is gone: squeeze() takes every axis of size 1."
    if shape != (b, c, h + w):
        idea = ideas.get(shape, f"H + W numbers per channel and picture, {shape_of(b, c, h + w)}, are wanted.")
        raise WrongIdea(f"for x of shape {shape_of(b, c, h, w)} your result has shape {shape_of(*shape)}: {idea}")


# ------------------------------------------------------------------------------------------------ exercise 2
SIZES = ((32, 4, 3, 6, 6), (48, 4, 2, 5, 7), (40, 2, 2, 7, 4), (64, 16, 2, 3, 8), (32, 4, 2, 1, 3), (32, 4, 1, 1, 1))


@exercise("one gate per row, one per column, from a layer they share: your module is coordinate attention.")
def check_ca(attempt: Callable) -> None:
    """Check exercise 2 of lesson 05: a class ``MyCA(channels, reduction)`` that keeps (B, C, H, W)."""
    expect(
        not isinstance(attempt, nn.Module),
        "this is a module already built; hand over the class itself, without (…).",
    )
    for channels, reduction, b, h, w in SIZES:
        module = _build(attempt, channels, reduction)
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        odd = "" if h == w else "it works for a square x, but not for every other (rows and columns, H and W?): "
        expect(
            list(module.parameters()),
            "your module has no parameters to learn: layers must be attributes (self.reduce = nn.Conv1d(…)), made in "
            "__init__; a plain list hides them.",
        )
        _check_kept_shape(_call(module, x, odd), x)
        layers = _Layers(module, channels, reduction)
        layers.shuffle_()
        module.eval()
        result = _call(module, x, odd)
        _check_kept_shape(result, x)
        _check_formula(result, x, layers)
        _check_gate(module, x, result)
        expect(
            any(same(result, x * row * column) for row, column in _gates(x, layers)),
            "one gate per row times one per column, as it should be, but from another formula than shared layer → "
            "batch norm → h-swish → a layer per direction → sigmoid: go through it step by step.",
        )
        _check_training(module, x, layers)
        _check_gradient(module, x)


def _build(attempt: Callable, channels: int, reduction: int) -> nn.Module:
    module = guarded(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module),
        "your class must inherit from nn.Module (class MyCA(nn.Module), and super().__init__() first), or its weights "
        "are not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    return module


def _check_kept_shape(result: torch.Tensor, x: torch.Tensor) -> None:
    b, c, h, w = x.shape
    if result.shape == (b, c, h + w):
        raise WrongIdea("you return H + W numbers per channel: split them, and multiply x by both gates.")
    expect(
        result.shape == x.shape,
        f"for x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: coordinate attention "
        "weights x, and keeps its shape.",
    )


class _Layers:
    """The learner's three layers and batch norm, found by their sizes; says what is wrong with them."""

    def __init__(self, module: nn.Module, channels: int, reduction: int):
        hidden = max(8, channels // reduction)
        found = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
        sizes = ", ".join(f"{m.weight.shape[1]} → {m.weight.shape[0]}" for m in found) or "none"
        first = [m for m in found if m.weight.shape[1] == channels and m.weight.shape[0] != channels]
        back = [m for m in found if m.weight.shape[0] == channels]
        expect(
            all(getattr(m, "groups", 1) == 1 for m in found),
            "one of your convolutions has groups: the layers mix all channels.",
        )
        expect(
            all(m.weight[0, 0].numel() == 1 for m in found),
            "one of your convolutions has a window larger than 1: rows and columns are not neighbours here, so use "
            "kernel size 1.",
        )
        expect(
            len(first) != 2,
            "rows and columns have a first layer each: they share one, applied to all H + W numbers side by side.",
        )
        expect(
            len(first) != 1 or len(back) != 1,
            "there is one layer back to C for both directions: each direction has its own.",
        )
        if not first and len(back) in (1, 2):
            raise WrongIdea(
                f"your layers go {sizes}: first down to m = max(8, C // r) = {hidden} channels, shared, and then back."
            )
        expect(
            len(found) == 3 and len(first) == 1 and len(back) == 2,
            f"one shared layer C → m and two layers m → C are wanted; yours go {sizes}.",
        )
        width = first[0].weight.shape[0]
        expect(
            width != channels // reduction or width >= 8,
            f"with channels={channels} and reduction={reduction}, C // r leaves {width} hidden channels; the recipe "
            "keeps at least 8.",
        )
        expect(
            width != min(8, channels // reduction) or width == hidden,
            f"with channels={channels} and reduction={reduction} you have {width} hidden channels: m is the larger of "
            "8 and C // r, not the smaller.",
        )
        expect(
            width == hidden,
            f"with channels={channels} and reduction={reduction}, m = max(8, C // r) is {hidden}; your shared layer "
            f"has {width} channels.",
        )
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        torchs = [m for m in module.modules() if type(m).__module__.startswith("torch.nn")]
        other = [m for m in torchs if "Norm" in type(m).__name__ and m not in norms]
        expect(not other, f"that is {type(other[0]).__name__ if other else ''}; the recipe has batch normalisation.")
        expect(
            norms,
            "there is no batch norm: it stands between the shared layer and h-swish, nn.BatchNorm1d(m) or 2d.",
        )
        expect(
            len(norms) == 1,
            f"there are {len(norms)} batch norms: one is enough, right behind the shared layer, for rows and columns "
            "together.",
        )
        expect(
            norms[0].num_features == hidden,
            f"your batch norm has {norms[0].num_features} channels: it stands right behind the shared layer, where "
            f"there are m = {hidden}.",
        )
        wanted, has = 3 * channels * hidden + 3 * hidden + 2 * channels, sum(p.numel() for p in module.parameters())
        bare = [m for m in found if m.bias is None]
        expect(
            not bare,
            f"{len(bare)} of your three layers {'have' if len(bare) > 1 else 'has'} no bias: {has:,} parameters "
            f"instead of 3·C·m + 3·m + 2·C = {wanted:,}. The popular tutorial leaves them out; the recipe has them.",
        )
        expect(
            has == wanted and norms[0].running_mean is not None,
            f"your module has {has:,} parameters instead of 3·C·m + 3·m + 2·C = {wanted:,}: is there more in it than "
            "three layers and a batch norm, or has the batch norm no weights of its own?",
        )
        self.reduce, self.expands, self.norm = first[0], back, norms[0]
        self.channels, self.hidden = channels, hidden

    @torch.no_grad()
    def shuffle_(self) -> None:
        """Weights far from 0, so that no gate can hide near 0.5, and each idea below leaves a trace."""
        for layer in (self.reduce, *self.expands):
            layer.weight.copy_(torch.randn_like(layer.weight) / layer.weight.shape[1] ** 0.5)
            layer.bias.copy_(torch.randn_like(layer.bias))
        self.norm.weight.copy_(2 * torch.rand_like(self.norm.weight) + 2)
        self.norm.bias.copy_(torch.randn_like(self.norm.bias))
        self.norm.running_mean.copy_(torch.randn_like(self.norm.running_mean))
        self.norm.running_var.copy_(torch.rand_like(self.norm.running_var) + 0.5)

    def shared(self, values: torch.Tensor) -> torch.Tensor:  # (B, C, L) → (B, m, L)
        return self.times(self.reduce, values)

    def normalise(self, values: torch.Tensor, train: bool = False) -> torch.Tensor:
        n = self.norm
        mean, var = n.running_mean, n.running_var
        if train:
            mean, var = values.mean((0, 2)), values.var((0, 2), unbiased=False)
        if len(n.weight) != values.shape[1]:
            return values
        scale = n.weight / (var + n.eps).sqrt()
        return (values - mean[:, None]) * scale[:, None] + n.bias[:, None]

    @staticmethod
    def times(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
        weight = layer.weight.detach().flatten(1)
        return torch.einsum("oi,bil->bol", weight, values) + layer.bias.detach()[:, None]


@torch.no_grad()
def _scores(x, layers, activation=F.hardswish, pool=None, train=False, order="norm first"):
    """Before the sigmoids: (rows (B, C, H), columns (B, C, W)) for either order of the two expanding layers."""
    rows, columns = (x.mean(3), x.mean(2)) if pool is None else pool(x)
    hidden = layers.shared(torch.cat([rows, columns], 2))
    if order == "norm first":
        hidden = activation(layers.normalise(hidden, train))
    elif order == "activation first":
        hidden = layers.normalise(activation(hidden), train)
    elif order == "no norm":
        hidden = activation(hidden)
    elif order == "apart":
        parts = hidden.split([rows.shape[2], columns.shape[2]], 2)
        hidden = activation(torch.cat([layers.normalise(part, train) for part in parts], 2))
    parts = hidden.split([rows.shape[2], columns.shape[2]], 2)
    for a, b in (layers.expands, layers.expands[::-1]):
        yield layers.times(a, parts[0]), layers.times(b, parts[1])


def _gates(x, layers, squash=torch.sigmoid, **options):
    for rows, columns in _scores(x, layers, **options):
        yield squash(rows)[..., None], squash(columns)[:, :, None]


def _check_formula(result: torch.Tensor, x: torch.Tensor, layers: _Layers) -> None:
    right = [x * row * column for row, column in _gates(x, layers)]
    if any(same(result, one) for one in right):
        return
    for mistaken, idea in _module_mistakes(x, layers):
        if same(result, mistaken):
            raise WrongIdea(idea)


def _module_mistakes(x: torch.Tensor, layers: _Layers) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    if h == w:
        for row, column in _gates(x, layers):
            yield (
                x * row.mT * column.mT,
                "the gates have changed places: those made from row means are laid along the columns, and the other "
                "way round. For a square x nothing complains. A row's gate belongs at (B, C, H, 1).",
            )
    for row, column in _gates(x, layers):
        yield x * (row + column), "you added the two gates: a place counts only if its row *and* its column are open."
        yield x * (row + column) / 2, "you averaged the two gates: a place counts if its row *and* its column are open."
        yield x * row + x * column, "you added two gated copies of x: multiply by both gates instead."
        yield x * torch.maximum(row, column), "you took the larger of the two gates: multiply by both."
        yield x * torch.minimum(row, column), "you took the smaller of the two gates: multiply by both."
        yield x * row, "the column gates are missing: x is multiplied by the row gates only."
        yield x * column, "the row gates are missing: x is multiplied by the column gates only."
        yield x + x * row * column, "you added x once more (a residual): here x is only scaled."
        yield x + row * column, "you added the gates to x: a gate multiplies."
        yield x + row + column, "you added the gates to x: a gate multiplies."
        yield (row * column).expand_as(x), "you return the gates themselves: multiply x by them."
        yield x * (1 - row) * (1 - column), "open and closed are turned round: multiply by the gate, not 1 − gate."
        yield x * (1 - row * column), "open and closed are turned round: multiply by the gate, not 1 − gate."
        yield x * row.mean(2, keepdim=True) * column, "the row gates are averaged to one number: each row has its own."
        yield x * row * column.mean(3, keepdim=True), "the column gates are averaged to one number: each has its own."
        yield (
            x * row.mean(2, keepdim=True) * column.mean(3, keepdim=True),
            "your gates are averaged to one number per channel, as in SE: each row and each column has its own.",
        )
        yield x * row[:1] * column[:1], "every picture got the gates of the first one: each has gates of its own."
        yield x * (row * column) ** 2, "the gates are applied twice."
        yield (
            x * row.mean(1, keepdim=True) * column.mean(1, keepdim=True),
            "your gates are averaged over the channels: each channel has gates of its own.",
        )
    for rows, columns in _scores(x, layers):
        row, column = rows[..., None], columns[:, :, None]
        yield x * row.sigmoid().sigmoid() * column.sigmoid().sigmoid(), "the sigmoid is applied twice."
        yield (
            x * row.relu().sigmoid() * column.relu().sigmoid(),
            "a ReLU stands before the sigmoids, so no gate can go below 0.5: leave it out.",
        )
        yield x * row.relu() * column.relu(), "a ReLU has no upper end: a sigmoid keeps the gates in (0, 1)."
        yield (
            x * row.clamp(0, 1) * column.clamp(0, 1),
            "you cut the gates off at 0 and 1, where no gradient gets through: a sigmoid squashes them smoothly.",
        )
        yield x * row * column, "there is no sigmoid: your gates can be negative or larger than 1."
        yield x * row.sigmoid() * column, "there is no sigmoid on the column gates."
        yield x * row * column.sigmoid(), "there is no sigmoid on the row gates."
        yield x * (row * column).sigmoid(), "a sigmoid of the product: squash each direction first, then multiply."
        yield x * (row + column).sigmoid(), "a sigmoid of the sum: squash each direction first, then multiply."
        yield x * row.softmax(2) * column.softmax(3), _COMPETE.format("rows (and columns)")
        yield x * row.softmax(1) * column.softmax(1), _COMPETE.format("channels")
        yield x * row.tanh() * column.tanh(), "tanh may be negative: a sigmoid keeps the gates in (0, 1)."
        yield (
            x * F.hardsigmoid(row) * F.hardsigmoid(column),
            "that is the hard sigmoid; the recipe has h-swish in the middle and the smooth sigmoid at the end.",
        )
    for activation, idea in (
        (torch.relu, "that is ReLU behind the batch norm, as in the popular tutorial; the recipe has h-swish."),
        (F.silu, "that is swish (SiLU), the smooth original; the recipe has h-swish, F.hardswish."),
        (F.hardsigmoid, "that is h-sigmoid; h-swish is x times it, F.hardswish."),
        (F.relu6, "that is ReLU6; the recipe has h-swish, which is x · ReLU6(x + 3) / 6."),
        (F.gelu, "that is GELU; the recipe has h-swish, F.hardswish."),
        (torch.sigmoid, "a sigmoid stands behind the batch norm: h-swish goes there, the sigmoids to the end."),
        (torch.tanh, "tanh stands behind the batch norm: h-swish goes there."),
        (F.leaky_relu, "that is a leaky ReLU; the recipe has h-swish, F.hardswish."),
        (lambda v: v, "nothing bends between the layers: h-swish goes behind the batch norm."),
        (lambda v: F.hardswish(F.hardswish(v)), "h-swish is applied twice."),
    ):
        for row, column in _gates(x, layers, activation=activation):
            yield x * row * column, idea
    for order, idea in (
        ("activation first", "h-swish comes before the batch norm: first normalise, then h-swish."),
        ("no norm", "your batch norm is built, but forward does not use it."),
    ):
        for row, column in _gates(x, layers, order=order):
            yield x * row * column, idea
    mean = x.mean((2, 3))[..., None]
    for pool, idea in (
        (lambda x: (x.amax(3), x.amax(2)), "you pool by the largest value: take the mean of each row and column."),
        (lambda x: (x.sum(3), x.sum(2)), "you add up rows and columns without dividing: take the mean."),
        (lambda x: (mean.expand(b, c, h), mean.expand(b, c, w)), "every row and column got the mean of the whole "
         "picture, which forgets where: pool along one axis only."),
        (lambda x: tuple(v.mean(0, keepdim=True).expand_as(v) for v in (x.mean(3), x.mean(2))), "you averaged over "
         "the batch: each picture has gates of its own."),
        (lambda x: (x.reshape(b, c, w, h).mean(2), x.reshape(b, c, w, h).mean(3)), "view and reshape scramble rows "
         "and columns: average along the dimension itself, or use transpose."),
        (lambda x: (x.mean(3), x.reshape(b, c, w, h).mean(3)), "view and reshape scramble rows "
         "and columns: average along the dimension itself, or use transpose."),
    ):  # fmt: skip
        for row, column in _gates(x, layers, pool=pool):
            yield x * row * column, idea
    if h == w:
        for rows, columns in _scores(x, layers):
            yield (
                x * (rows + columns).sigmoid()[..., None] * (rows + columns).sigmoid()[:, :, None],
                "you mixed rows and columns after the shared layer: split, and give each direction its own.",
            )


_COMPETE = "your gates come from a softmax, so {} compete for a sum of 1; a sigmoid opens and closes each by itself."


def _check_gate(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    _, c, h, w = x.shape
    gate = result / x
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )
    expect(
        torch.allclose(call(module, x.flip(0))[-1:], result[:1], atol=1e-4),
        "the result for a picture changes with its neighbours in the batch, even in evaluation mode: pool over H or W "
        "only.",
    )
    if h < 2 or w < 2:
        return
    expect(
        not torch.allclose(gate, gate.mean((2, 3), keepdim=True).expand_as(gate), atol=1e-3),
        "all places of a channel get the same gate, as in SE: pool along one axis at a time, so that the other one "
        "still says where.",
    )
    for axis, name in ((2, "row"), (3, "column")):
        differs = not torch.allclose(gate, gate.mean(axis, keepdim=True).expand_as(gate), atol=1e-3)
        expect(differs, f"all {name}s get the same gate: the {name} gates are missing or averaged away.")
    across = gate[:, :, :-1, :-1] * gate[:, :, 1:, 1:] - gate[:, :, :-1, 1:] * gate[:, :, 1:, :-1]
    expect(
        across.abs().max() < 1e-3,
        "within a channel, your gate is not one number per row times one number per column: how do you combine the "
        "two directions?",
    )
    changed = x.clone()
    changed[0, :, 0, 0] += torch.rand(c)
    other = call(module, changed) / changed
    expect(
        torch.allclose(other[:, :, 1:, 1:], gate[:, :, 1:, 1:], atol=1e-3),
        "change the upper left place, and gates change that belong to other rows and columns: does each row's gate "
        "come from that row alone, and each column's from that column?",
    )
    expect(
        not torch.allclose(other, gate, atol=1e-4),
        "your gates do not depend on the picture: its row and column means must go through the layers.",
    )


def _check_training(module: nn.Module, x: torch.Tensor, layers: _Layers) -> None:
    module.train()
    result = _call(module, x)
    if any(same(result, x * row * column) for row, column in _gates(x, layers, train=True)):
        return
    for row, column in _gates(x, layers, train=True, order="apart"):
        if same(result, x * row * column):
            raise WrongIdea(
                "in training, your batch norm sees rows and columns one after the other: join them first, so that it "
                "normalises all H + W numbers together."
            )
    raise WrongIdea(
        "right in evaluation mode, but in training mode the result is another one: is the batch norm fed with all "
        "H + W numbers at once, and is there dropout?"
    )


def _check_gradient(module: nn.Module, x: torch.Tensor) -> None:
    module.eval()
    module.zero_grad()
    x = x.clone().requires_grad_()
    result = call(module, x)
    expect(result.requires_grad, "no gradient gets through your module: did you use no_grad, detach or .data?")
    result.square().sum().backward()
    reached = all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    expect(reached, "no gradient reaches your layers, so the gates never learn: did you detach the means?")
