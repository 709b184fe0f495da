"""Exercises of lesson 06: softmax self-attention, linear attention, and the repair of a popular module."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations, product

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import core, probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .source import reading
from .steps import Table, built, explain
from .steps_attention import LINEAR, ONE_SIDE, SOFT, linear, soft

STOPPED = {  # what torch says → what it means in this lesson
    "Expected size for first two dimensions": "In a matrix product, the last axis of the left factor meets the "
    "second-to-last of the right one: which of the two comes first, and which has to be transposed?",
    "view size is not compatible": "view only relabels numbers where they lie, and after a transpose they lie in "
    "another order. Before you take reshape instead: which two axes does your transpose exchange, and which did you "
    "mean to?",
    "call numpy() on": "No gradient gets through numpy: stay with torch.",
    "same dtype": "The numbers here are float64: leave out .float() and dtype=….",
}
NO_NUMBERS = "some of your results are no numbers (is something divided by 0?). With ReLU in place of elu + 1, a query "
NO_NUMBERS += "with nothing but negative channels has no weights at all."
WRITTEN = {  # what stands in the line that stops → the same
    r"\.T\b": " .T turns round all axes, the batch as well; .mT exchanges the last two.",
    r"\bq ?\* ?k\b(?!\.)": " q * k multiplies number by number; each query with each key is a matrix product.",
    r"mat1.*sum\((dim=)?1\)|sum\((dim=)?1\).*mat1": " The sum over the positions has shape (B, d): with keepdim=True, "
    "(B, 1, d), it can meet each query.",
    r"\((9.*5|5.*9)\) at non-singleton": " H and W have changed places.",
}
SIZES = ((3, 7, 5, 6), (3, 6, 6, 6), (1, 5, 8, 3), (5, 1, 3, 6), (3, 6, 1, 5), (3, 5, 6, 1))  # B, N, d, c


def run(attempt: Callable, *inputs: torch.Tensor) -> torch.Tensor:
    """The result, in the inputs' precision; where it stops, the line that did may say why."""
    try:
        result = call(attempt, *inputs, hints=STOPPED)
    except WrongIdea as idea:
        for pattern, hint in WRITTEN.items():
            if "your code stopped" in str(idea) and re.search(pattern, str(idea)):
                raise WrongIdea(re.sub(r" (A linear layer|Broadcasting|In a matrix).*", "", str(idea)) + hint) from None
        raise
    expect(result.dtype == torch.float64, f"float64 goes in and {result.dtype} comes out: leave out dtypes.")
    return result


# --------------------------------------------------------------------------------------------------- both functions
def _check_attention(attempt: Callable, attend: Callable, tables: dict[str, Table], formula: str) -> None:
    """A function of q, k and v does what `attend` does; `formula` is said where nothing else is."""
    torch.set_default_dtype(torch.float64)  # exact, and it tells who writes a dtype down
    for b, n, d, c in SIZES:
        q, k, v = 1.5 * torch.randn(b, n, d), 1.5 * torch.randn(b, n, d), torch.randn(b, n, c)
        result = run(attempt, q, k, v)
        if result.shape != v.shape and "inside your loop" in (told := reading(attempt)):
            raise WrongIdea(told)
        _check_mixed_shape(result, b, n, d, c)
        expect(result.isfinite().all(), NO_NUMBERS)
        _explain(result, attend, (q, k, v), tables, formula, attempt, _check_weighted_mean)
    inputs = torch.randn(3, 2, 5, 3).unbind()
    probes.expect_gradient(attempt, *inputs, names=("the queries", "the keys", "the values"), hints=STOPPED)
    probes.expect_same_gradient(attempt, attend, *inputs)


def _explain(result, reference, inputs, tables, otherwise, attempt, last: Callable, code=None) -> None:
    """`explain`; if it finds nothing, `last` may still miss a property."""

    def alone():
        told = "" if code else reading(attempt)
        expect(not told, told)
        expect(same(run(attempt, *inputs), result), "two calls give two results: is there dropout or chance in it?")
        others = [torch.cat([t[:1], 1.5 * t[1:].flip(1)]) for t in inputs]
        expect(same(run(attempt, *others)[:1], result[:1]), "the result for an image changes with the other images in "
               "its batch: each image attends to itself.")  # fmt: skip

    try:
        explain(result, reference, inputs, tables, otherwise, code or attempt, alone)
    except WrongIdea as idea:
        if str(idea) == otherwise:
            last(attempt, *inputs, result)
        raise


def _check_mixed_shape(result: torch.Tensor, b: int, n: int, d: int, c: int) -> None:
    gone = "the axis of size 1 is gone: squeeze() takes every one of them. Name the axis that should go."
    ideas = {
        (b, n, n): "that is the matrix of weights itself, one row a position: mix the values with it.",
        (b, c, n): "positions should come first, channels last: (B, N, c).",
        (b, d, c): "that is a summary of all positions, kᵀ v: the queries have not asked yet.",
        (b, d, d): "d × d numbers are left, and the positions are gone: which axes meet in your product?",
        (b, n, 1): "one number a position is left: did you leave out the values?",
        (b, n): gone if c == 1 else "one number a position is left: did you leave out the values?",
        (b, 1, c): "one mixture for the whole image: every position asks a question of its own.",
        (b, c): gone if n == 1 else "one mixture for the whole image: every position asks a question of its own.",
        (n, c): gone if b == 1 else "the batch axis is gone: each image attends to itself.",
        (b, n, d): "the values have c channels, and so has the result: did you mix the keys or queries?",
        (b, n, d, c): "you kept a product per query channel: add them up over d.",
        (b, n, n, c): "you kept a product per pair of positions: add them up over the positions.",
    }
    given = f"q and k of shape {shape_of(b, n, d)} and v of shape {shape_of(b, n, c)}"
    otherwise = f"one mixture of values a position, {shape_of(b, n, c)}, is wanted."
    probes.expect_shape(result, (b, n, c), given, ideas, otherwise)


def _check_weighted_mean(attempt: Callable, q, k, v, result) -> None:
    """What any weighted mean of values obeys, whatever the weights are."""
    constant, order = torch.full_like(v, 3.0), torch.randperm(k.shape[1])
    core.expect_all(
        (same(run(attempt, q, k, constant), constant), "if every position holds the same value, a weighted mean "
         "returns that value, and yours does not: do the weights of each query add up to 1?"),
        (same(run(attempt, q, k[:, order], v[:, order]), result), "shuffle keys and values together, and nothing "
         "should change for a query: positions have no order. Yours changes."),
        (same(run(attempt, q[:, order], k, v), result[:, order]), "shuffle the queries, and the results should be "
         "shuffled along. Yours are not: does each query look at all positions by itself?"),
    )  # fmt: skip


class _Watch(TorchDispatchMode):
    """How many numbers operations return, the most at once and all together."""

    def __init__(self):
        super().__init__()
        self.largest = self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not func.is_view:  # a view is no new number
                stored = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest, self.total = max(self.largest, stored), self.total + stored
        return result


def _check_cost(attempt: Callable, n: int, *inputs: torch.Tensor) -> None:
    with _Watch() as seen, torch.no_grad():
        run(attempt, *inputs)
    expect(seen.largest < n * n, f"the numbers are right, but on the way you build the {n:,} × {n:,} matrix of all "
           "pairs, which is what this should avoid: linear in name only. Where do you set the brackets?")  # fmt: skip
    expect(seen.total < n * n, f"the numbers are right, and you never hold the whole {n:,} × {n:,} matrix, but you "
           "compute all of its numbers bit by bit: N² work. What can be computed once for all queries?")  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("softmax(q kᵀ / √d) v: every position takes a weighted mean of all values, and its weights add up to 1.")
def check_self_attend(attempt: Callable) -> None:
    """Check exercise 1 of lesson 06: ``self_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    formula = "your weights are not softmax(q kᵀ / √d): compare one row with the one computed by hand above."
    _check_attention(attempt, soft, SOFT, formula)
    q, k, v = 40 * torch.randn(1, 6, 4), 40 * torch.randn(1, 6, 4), torch.randn(1, 6, 3)
    large = "right for small scores; for large ones exp overflows and inf / inf is no number. A softmax does not "
    large += "change when you take the largest score of each row off first, and torch's softmax does that."
    expect(same(run(attempt, q, k, v), soft(q, k, v)), large)


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("φ(q) (φ(k)ᵀ v), divided by φ(q)·Σφ(k): a weighted mean over all positions without an N × N matrix.")
def check_linear_attend(attempt: Callable) -> None:
    """Check exercise 2 of lesson 06: ``linear_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    formula = "your weights are not φ(q)·φ(k) over their sum, φ = elu + 1: go through the lines above once more."
    _check_attention(attempt, linear, LINEAR | ONE_SIDE, formula)
    _check_cost(attempt, 1500, torch.randn(1, 1500, 4), torch.randn(1, 1500, 4), torch.randn(1, 1500, 3))


# --------------------------------------------------------------------------------------------------- exercise 3
LOST = "the positions are scrambled: "
CUT: Table = {  # x (B, C, H, W) → tokens (B, N, C), in place of x.flatten(2).mT
    f"{LOST}x.transpose(1, 2) puts H first, and W stays after C, so a reshape cuts across positions and channels. Join "
    "H and W first, then transpose.": lambda x: x.transpose(1, 2).reshape(len(x), -1, x.shape[1]),
    f"{LOST}a reshape to (B, N, C) as it lies gives tokens of neighbours in one channel. Transpose.":
        lambda x: x.reshape(len(x), -1, x.shape[1]),
    f"{LOST}H and W have changed places on the way in.": lambda x: x.mT.flatten(2).mT,
}  # fmt: skip
BACK: Table = {  # y (B, N, C), (B, C, H, W) → (B, C, H, W), in place of y.mT.reshape(shape)
    f"{LOST}on the way back, (B, N, C) is reshaped to (B, C, H, W) as it lies. Transpose first.":
        lambda y, shape: y.reshape(shape),
    f"{LOST}on the way back, C stands before W when you reshape.":
        lambda y, shape: y.reshape(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2),
    f"{LOST}H and W have changed places on the way back.":
        lambda y, shape: y.mT.reshape(*shape[:2], shape[3], shape[2]).mT,
}  # fmt: skip
LAYERS: Table = {  # tokens, (query, key, value, out), attend → (B, N, C)
    "the layer out is built, but forward does not use it.": lambda t, m, attend: attend(m[0](t), m[1](t), m[2](t)),
    "the layer value is built, but forward does not use it.": lambda t, m, attend: m[3](attend(m[0](t), m[1](t), t)),
    "the values go straight to out: no position looks at another.": lambda t, m, attend: m[3](m[2](t)),
    "one layer makes queries and keys: the other one is never used.":
        lambda t, m, attend: m[3](attend(m[0](t), m[0](t), m[2](t))),
    "you use value a second time in place of out.": lambda t, m, attend: m[2](attend(m[0](t), m[1](t), m[2](t))),
    "you add the tokens before out: x is added once, at the end.":
        lambda t, m, attend: m[3](t + attend(m[0](t), m[1](t), m[2](t))),
    "there is a ReLU before out: leave it out.": lambda t, m, attend: m[3](attend(m[0](t), m[1](t), m[2](t)).relu()),
}  # fmt: skip
JOIN: Table = {  # x, y → result, in place of x + y
    "x is not added: the tutorial's module returns x + out.": lambda x, y: y,
    "x is added twice.": lambda x, y: 2 * x + y,
    "the result is taken off x: add it.": lambda x, y: x - y,
    "you multiply x by the result: add it.": lambda x, y: x * y,
    "you make a gate of the result: add it to x instead.": lambda x, y: x * y.sigmoid(),
    "there is a ReLU at the end: x + out as it is.": lambda x, y: (x + y).relu(),
    "there is a ReLU after out: x + out as it is.": lambda x, y: x + y.relu(),
    "you halve the sum: x + out as it is.": lambda x, y: (x + y) / 2,
    "x comes back as it is: nothing is added.": lambda x, y: x,
}
MODULE = {"cut": CUT, "layers": LAYERS, "back": BACK, "join": JOIN, **LINEAR}
RELU = {"that is ReLU, which can leave a query without weights: take elu + 1.": torch.relu}
EVERY = MODULE | ONE_SIDE | {"features": LINEAR["features"] | RELU}
MODULE_SIZES = ((20, 3, 3, 5, 9), (26, 8, 3, 5, 5), (24, 5, 1, 6, 1), (16, 2, 2, 1, 1))  # C, reduction, B, H, W


def repaired(x, roles, cut=lambda x: x.flatten(2).mT, back=lambda y, shape: y.mT.reshape(shape), join=torch.add,
             layers=lambda t, m, attend: m[3](attend(m[0](t), m[1](t), m[2](t))), **steps):  # fmt: skip
    return join(x, back(layers(cut(x), roles, partial(linear, **steps)), x.shape))


@exercise("it runs for any H and W, keeps every position where it is, and never compares all pairs: linear at last.")
def check_repaired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 06: a class ``MyLinearAttention(in_dim, reduction=8)`` that keeps (B, C, H, W)."""
    torch.set_default_dtype(torch.float64)
    for c, r, b, h, w in MODULE_SIZES:
        given = f"in_dim={c}" + f", reduction={r}" * (r != 8)
        module = core.build_module(attempt, *((c,) if r == 8 else (c, r)), given=given)  # 8 is what it is by default
        possible = list(_roles(module, c, r))
        x = torch.randn(b, c, h, w)
        result = run(module, x)
        ideas = {
            (b, h * w, c): "these are tokens still: they have to find back to H × W.",
            (b, c, h * w): "H and W are one axis still: positions have to find back to H × W.",
            (b, c, w, h): "H and W have changed places.",
            (b, h, w, c): "the channels belong in front of H and W.",
        }
        probes.expect_shape(result, x.shape, f"x of shape {shape_of(*x.shape)}", ideas, "the module keeps the shape.")
        expect(result.isfinite().all(), NO_NUMBERS)
        probes.expect_no_chance(module, x, result)
        expect(module.training, "after a call your module is in evaluation mode: leave .eval() to its user.")
        roles = next((roles for roles in possible if same(result, repaired(x, roles))), None)
        for other in () if roles else possible[:4]:  # who is the query, the key, the value?
            for step, idea in ((step, idea) for step, table in EVERY.items() for idea in table):
                one = built(repaired, (x, other), {step: EVERY[step][idea]})
                expect(one is None or not same(result, one), idea)
        roles = roles or possible[0]
        formula = "the positions stay where they are, but the numbers are not x + out(linear attention of query, key "
        formula += "and value), φ = elu + 1 and its normaliser: put your exercise 2 between the layers."
        _explain(result, partial(repaired, roles=roles), (x,), MODULE, formula, module, _check_places, attempt)
        if h * w > 1:  # a single position has nothing to choose from
            probes.expect_learning(module, x, "some of your layers")
        probes.expect_same_gradient(module, partial(repaired, roles=roles), x)
    module = core.build_module(attempt, 8, 8, given="in_dim=8, reduction=8")
    _check_cost(module, 32 * 48, torch.randn(1, 8, 32, 48))


def _roles(module: nn.Module, c: int, r: int) -> Iterator[tuple]:
    """What may be (query, key, value, out), for all that the sizes allow; as layers or as bare parameters."""
    core.learned(module, "layers must be attributes (self.query = …)")
    d, every = c // r, list(module.parameters())
    weights = [p for p in every if sum(size > 1 for size in p.shape) > 1]
    shapes, few = ", ".join(shape_of(*p.shape) for p in weights), "a layer in two places counts once; "
    has, wanted = sum(p.numel() for p in every), 2 * (c * d + d) + 2 * (c * c + c)
    more = "is there more in it than four layers?" if has > wanted else "do two layers share a weight or a bias?"
    core.expect_all(
        (len(weights) == 4, f"your module has {len(weights)} linear layers or convolutions; " + few * (len(weights) < 4)
         + "the tutorial's has four: query, key, value and out."),
        (all(p[0, 0].numel() == 1 for p in weights), "one of your layers looks at neighbours: each of the four mixes "
         "the channels of one position (nn.Linear, or a 1 × 1 convolution)."),
        (sorted(sorted(p.shape[:2]) for p in weights) == [[d, c]] * 2 + [[c, c]] * 2, f"with in_dim={c} and "
         f"reduction={r}, query and key go from {c} to {c} // {r} = {d} channels, value and out from {c} to {c}; your "
         f"weights have shapes {shapes}."),
        (len(every) >= 8, "some of your layers are without a bias. The tutorial's have one, and checkpoints hold it."),
        (all(p.requires_grad for p in every), "some of your parameters have requires_grad=False, so nothing there can "
         "learn."),
        (has == wanted, f"your module has {has:,} parameters instead of {wanted:,}: {more}"),
    )  # fmt: skip
    with torch.no_grad():  # a trace of every wrong idea
        for p in every:
            p.copy_(torch.randn_like(p) * (1.5 / c**0.5 if p.numel() > c else 1))
    copies = [p.detach().clone().squeeze() for p in every]
    matrices, vectors = ([p for p in copies if p.dim() == dim] for dim in (2, 1))
    narrow, wide = ([p for p in matrices if (p.numel() == c * c) == square] for square in (False, True))
    narrow = [p.T if len(p) == c else p for p in narrow]
    ways = [permutations([p for p in vectors if len(p) == size]) for size in (d, c)]  # as they come first
    for (w, z), n_bias, w_bias in product([(0, 0), (0, 1), (1, 0), (1, 1)], *ways):
        turned = [p.T if turn else p for p, turn in zip(wide, (w, z), strict=True)]
        small, large = list(zip(narrow, n_bias, strict=True)), list(zip(turned, w_bias, strict=True))
        for chosen in product(permutations(small), permutations(large)):
            yield tuple(partial(F.linear, weight=weight, bias=bias) for pair in chosen for weight, bias in pair)


def _check_places(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    order = torch.randperm(x[0, 0].numel())
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    expect(
        same(run(module, shuffled).flatten(2), result.flatten(2)[:, :, order]),
        "shuffle the positions, and the result should be shuffled along; yours is not, so positions and channels get "
        "mixed up somewhere. Does every row of your (B, N, C) tensor hold the C channels of *one* position?",
    )
