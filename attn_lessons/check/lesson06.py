"""Exercises of lesson 06: softmax self-attention, linear attention, and the repair of a popular module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of

STOPPED = {  # what torch says → what it means in this lesson
    "Expected size for first two dimensions": "In a matrix product, the last axis of the left factor meets the "
    "second-to-last of the right one: which of the two has to be transposed?",
    "view size is not compatible": "view only relabels numbers where they lie, and after a transpose they lie in "
    "another order. Before you take reshape instead: which two axes does your transpose exchange, and which did you "
    "mean to?",
    "is invalid for input of size": "The sizes you ask for do not multiply to what is there.",
    "not implemented for 'Byte'": "Make the numbers floating point first.",
}
SIZES = ((2, 5, 4, 3), (3, 6, 6, 6), (2, 7, 3, 5), (1, 4, 8, 2), (2, 1, 3, 3))  # B, N, d, c


def _call(attempt: Callable, *inputs: torch.Tensor, prefix: str = "") -> torch.Tensor:
    """As `call`, with a word on what torch's complaints mean here."""
    try:
        return call(attempt, *inputs)
    except WrongIdea as idea:
        stopped = "your code stopped" in str(idea)
        hint = next((f" {hint}" for words, hint in STOPPED.items() if stopped and words in str(idea)), "")
        raise WrongIdea(f"{prefix if stopped else ''}{idea}{hint}") from None


def _check_mixed_shape(result: torch.Tensor, b: int, n: int, d: int, c: int) -> None:
    ideas = {
        (b, n, n): "that is the matrix of weights itself, one row a place: mix the values with it.",
        (b, c, n): "places should come first, channels last: (B, N, c).",
        (b, d, c): "that is a summary of all places, kᵀ v: the queries have not asked yet.",
        (b, d, d): "d × d numbers are left, and the places are gone: which axes meet in your product?",
        (b, n, 1): "one number a place is left: did you leave out the values?",
        (b, n): "one number a place is left: did you leave out the values?",
        (b, 1, c): "one mixture for the whole picture: every place asks a question of its own.",
        (b, c): "one mixture for the whole picture: every place asks a question of its own.",
        (n, c): "the batch axis is gone: each picture attends to itself.",
        (b, n, d): "the values have c channels, and so has the result: did you mix the keys or queries?",
        (b, b, n, c): "every picture met every other: each picture attends to itself.",
        (b, n, d, c): "you kept a product per query channel: add them up over d.",
        (b, n, n, c): "you kept a product per pair of places: add them up over the places.",
    }
    if tuple(result.shape) != (b, n, c):
        idea = ideas.get(tuple(result.shape), f"one mixture of values a place, {shape_of(b, n, c)}, is wanted.")
        raise WrongIdea(
            f"for q and k of shape {shape_of(b, n, d)} and v of shape {shape_of(b, n, c)} your result has shape "
            f"{shape_of(*result.shape)}: {idea}"
        )


def _check_values_matter(attempt: Callable, q, k, v, result) -> None:
    """What any weighted mean of values obeys, whatever the weights are."""
    constant = torch.full_like(v, 3.0)
    expect(
        same(_call(attempt, q, k, constant), constant),
        "if every place holds the same value, a weighted mean returns that value, and yours does not: do the weights "
        "of each query add up to 1?",
    )
    order = torch.randperm(k.shape[1])
    expect(
        same(_call(attempt, q, k[:, order], v[:, order]), result),
        "shuffle keys and values together, and nothing should change for a query: places have no order. Yours changes.",
    )
    expect(
        same(_call(attempt, q[:, order], k, v), result[:, order]),
        "shuffle the queries, and the results should be shuffled along. Yours are not: does each query look at all "
        "places by itself?",
    )


def _check_gradients(attempt: Callable) -> None:
    inputs = [torch.randn(2, 5, 3, requires_grad=True) for _ in range(3)]
    result = _call(attempt, *inputs)
    if result.requires_grad:
        result.square().sum().backward()
    for name, x in zip(("queries", "keys", "values"), inputs, strict=True):
        expect(
            x.grad is not None and x.grad.abs().sum() > 0,
            f"no gradient gets back to the {name}, so they never learn: did you use detach, no_grad, .data or argmax?",
        )


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("softmax(q kᵀ / √d) v: every place takes a weighted mean of all values, and its weights add up to 1.")
def check_self_attend(attempt: Callable) -> None:
    """Check exercise 1 of lesson 06: ``self_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    for b, n, d, c in SIZES:
        q, k, v = 1.5 * torch.randn(b, n, d), 1.5 * torch.randn(b, n, d), torch.randn(b, n, c)
        result = _call(attempt, q, k, v)
        _check_mixed_shape(result, b, n, d, c)
        right = _soft(q, k, v)
        named_mistake(result, right, _soft_mistakes(q, k, v))
        if not same(result, right):
            _check_values_matter(attempt, q, k, v, result)
        expect(
            same(result, right),
            "your weights add up to 1, but they are not softmax(q kᵀ / √d): compare one row with the one "
            "computed by hand above.",
        )
    q, k, v = 40 * torch.randn(1, 6, 4), 40 * torch.randn(1, 6, 4), torch.randn(1, 6, 3)
    expect(
        same(_call(attempt, q, k, v), _soft(q, k, v)),
        "right for small scores; for large ones exp overflows and inf / inf is no number. A softmax does not change "
        "when you take the largest score of each row off first, and torch's softmax does that.",
    )
    _check_gradients(attempt)


def _soft(q, k, v, scale=None, dim=2):
    scale = q.shape[2] ** -0.5 if scale is None else scale
    return (q @ k.mT * scale).softmax(dim) @ v


def _soft_mistakes(q, k, v) -> Iterator[tuple[torch.Tensor, str]]:
    b, n, d = q.shape
    c = v.shape[2]
    if n == 1:
        return
    scores = q @ k.mT / d**0.5
    if d > 1:
        yield _soft(q, k, v, 1), "the scores are not divided by √d."
        yield _soft(q, k, v, 1 / d), "you divided the scores by d: by its square root."
        yield _soft(q, k, v, d**0.5), "you multiplied the scores by √d: divide."
        yield (
            (q @ k.mT).softmax(2) @ v / d**0.5,
            "you divided by √d after the softmax, so rows no longer add up to 1: divide the scores.",
        )
    if n != d:
        yield _soft(q, k, v, n**-0.5), "you divided by √N: it is √d, the width of a query, that makes scores large."
    if c != d:
        yield _soft(q, k, v, c**-0.5), "you divided by the root of the values' width: it is the width d of a query."
    if b != d:
        yield _soft(q, k, v, b**-0.5), "you divided by the root of the batch size: it is the width d of a query."
    columns = "the softmax runs over the queries, so columns add up to 1: for each query, the weights of all places "
    columns += "should add up to 1. Over which axis?"
    yield _soft(q, k, v, dim=1), columns
    yield (k @ q.mT / d**0.5).softmax(2) @ v, "queries and keys have changed places."
    yield scores.softmax(2).mT @ v, "your matrix of weights is transposed before it meets the values."
    if b > 1:
        yield scores.softmax(0) @ v, "the softmax runs over the pictures of the batch: over the places is meant."
    yield (
        scores.flatten(1).softmax(1).view_as(scores) @ v,
        "your softmax runs over all pairs of places at once: each row should add up to 1.",
    )
    yield scores @ v, "there is no softmax: the scores themselves mix the values."
    yield q @ k.mT @ v, "there is no softmax: the scores themselves mix the values."
    yield scores.exp() @ v, "exp, but no division by the sum of the row: that is half of a softmax."
    yield scores / scores.sum(2, keepdim=True) @ v, "you divided by the row's sum without exp: scores may be negative."
    yield scores.sigmoid() @ v, "a sigmoid treats each pair by itself; with a softmax, the places compete."
    yield scores.relu() @ v, "a ReLU in place of the softmax: rows do not add up to 1."
    yield scores.softmax(2).softmax(2) @ v, "the softmax is taken twice, which flattens it."
    yield F.one_hot(scores.argmax(2), n).to(v) @ v, "you took the best place only: a softmax mixes, and can learn."
    yield (-scores).softmax(2) @ v, "the sign is turned round: alike should weigh more."
    yield (-torch.cdist(q, k)).softmax(2) @ v, "you compare by distance: here the score is a dot product."
    unit_q, unit_k = F.normalize(q, dim=2), F.normalize(k, dim=2)
    for scale in (1, d**-0.5):
        yield _soft(unit_q, unit_k, v, scale), "you normalised queries and keys (cosine): the plain dot product."
    for one, name in ((q, "queries"), (k, "keys")):
        yield _soft(one, one, v), f"the {name} are compared with themselves: compare queries with keys."
        if d == c:
            yield _soft(q, k, one), f"you mix the {name}: mix the values."
    if d == c:
        yield v + _soft(q, k, v), "you added the values once more: the sum with x comes in the module."
        yield q + _soft(q, k, v), "you added the queries: the sum with x comes in the module."
    else:
        yield v + _soft(q, k, v), "you added the values once more: the sum with x comes in the module."
    yield v.mean(1, keepdim=True).expand_as(v), "every place gets the plain mean: the queries have no say."
    yield v, "that is v as it came in: nothing is mixed."
    mask = torch.ones(n, n, dtype=torch.bool)
    for part, idea in (
        (mask.tril(), "each place looks at itself and at earlier ones only: that is the causal mask of a language "
         "model. A picture has no before and after."),
        (~torch.eye(n, dtype=torch.bool), "a place leaves itself out: it may look at itself, too."),
    ):  # fmt: skip
        yield scores.masked_fill(~part, -1e30).softmax(2) @ v, idea
    reshaped = "reshape or view in place of a transpose: it relabels numbers where they lie, and mixes places with "
    reshaped += "channels. Use .mT or transpose(1, 2)."
    yield (q @ k.reshape(b, d, n) / d**0.5).softmax(2) @ v, reshaped
    yield (q @ k.reshape(b, d, n)).softmax(2) @ v, reshaped
    if b > 1:
        yield _soft(q[:1], k[:1], v), "every picture uses the weights of the first one."
        yield (
            _soft(q.flatten(0, 1)[None], k.flatten(0, 1)[None], v.flatten(0, 1)[None]).view_as(v),
            "places of different pictures look at each other: each picture attends to itself.",
        )
    yield _soft(q, k, v).mean(1, keepdim=True).expand_as(v), "the results are averaged over all places."
    yield _soft(q, k, v).mean(0, keepdim=True).expand_as(v), "the results are averaged over the batch."


# ------------------------------------------------------------------------------------------------ exercise 2
@exercise("φ(q) (φ(k)ᵀ v), divided by φ(q)·Σφ(k): a weighted mean over all places without an N × N matrix.")
def check_linear_attend(attempt: Callable) -> None:
    """Check exercise 2 of lesson 06: ``linear_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    for b, n, d, c in SIZES:
        q, k, v = 1.5 * torch.randn(b, n, d), 1.5 * torch.randn(b, n, d), torch.randn(b, n, c)
        result = _call(attempt, q, k, v)
        _check_mixed_shape(result, b, n, d, c)
        right = _linear(_phi(q), _phi(k), v)
        expect(
            result.isfinite().all(),
            "some of your results are no numbers (0 / 0): with ReLU, a query with nothing but negative channels has no "
            "weights at all. elu + 1 is never 0.",
        )
        named_mistake(result, right, _linear_mistakes(q, k, v))
        if not same(result, right):
            _check_values_matter(attempt, q, k, v, result)
        expect(
            same(result, right),
            "your weights add up to 1, but they are not φ(q)·φ(k) over its sum, with φ = elu + 1: go through the "
            "lines above once more.",
        )
    places = 1500
    q, k, v = torch.randn(1, places, 4), torch.randn(1, places, 4), torch.randn(1, places, 3)
    with _Sizes() as seen:
        _call(attempt, q, k, v)
    matrix = f"{places:,} × {places:,} matrix"
    expect(
        seen.largest < places * places,
        f"the result is right, but on the way you build the {matrix} of all pairs, which is what this should avoid: "
        "where do you set the brackets?",
    )
    expect(
        seen.total < places * places,
        f"the result is right, and you never hold the whole {matrix}, but you compute all of its numbers bit by bit: "
        "N² work. What can be computed once for all queries?",
    )
    _check_gradients(attempt)


def _phi(x: torch.Tensor) -> torch.Tensor:
    return F.elu(x) + 1


def _linear(q, k, v):
    return q @ (k.mT @ v) / (q * k.sum(1, keepdim=True)).sum(2, keepdim=True)


def _linear_mistakes(q, k, v) -> Iterator[tuple[torch.Tensor, str]]:
    b, n, d = q.shape
    c = v.shape[2]
    if n == 1:
        return
    a, e = _phi(q), _phi(k)
    summary, total = e.mT @ v, e.sum(1, keepdim=True)
    weights = a @ e.mT
    yield a @ summary, "the normaliser is missing: divide each query's mixture by the sum of its weights, φ(q)·Σφ(k)."
    yield a @ summary / n, "you divided by N: the weights of a query add up to φ(q)·Σφ(k), another number for each."
    yield q @ (k.mT @ v), "there is no φ and no normaliser: that is the product alone."
    yield q @ (k.mT @ v) / n, "there is no φ: without it, weights may be negative, and N is not their sum."
    yield _linear(q, k, v), "there is no φ: without it, weights may be negative, and their sum near 0."
    yield _linear(a, k, v), "φ is missing on the keys."
    yield _linear(q, e, v), "φ is missing on the queries."
    for f, idea in (
        (F.elu, "that is elu without + 1, which goes down to −1: weights must be positive."),
        (torch.relu, "that is ReLU: a query with nothing but negative channels has no weights at all. Take elu + 1."),
        (lambda z: z.relu() + 1, "that is ReLU + 1, which is 1 for every negative number: take elu + 1."),
        (lambda z: z.relu() + 1e-6, "that is ReLU: take elu + 1."),
        (torch.exp, "that is exp: it is positive as well, but here φ = elu + 1."),
        (torch.sigmoid, "that is a sigmoid: here φ = elu + 1."),
        (F.softplus, "that is softplus: it is positive as well, but here φ = elu + 1."),
        (lambda z: F.elu(z + 1), "you add 1 before elu: behind it, so that nothing is negative."),
        (lambda z: _phi(_phi(z)), "φ is applied twice."),
        (lambda z: _phi(z / d**0.5), "you divided by √d: that belongs to the softmax; φ takes q and k as they are."),
        (lambda z: _phi(z / d**0.25), "you divided by ⁴√d: that belongs to exp; φ takes q and k as they are."),
        (lambda z: _phi(z).softmax(2), "there is a softmax over the channels behind φ: φ alone."),
        (lambda z: z.softmax(2), "a softmax over the channels in place of φ: here φ = elu + 1."),
        (lambda z: z.softmax(1), "a softmax over the places in place of φ: here φ = elu + 1."),
        (lambda z: z.square(), "you squared: positive, but a query then weighs its opposite like itself."),
        (torch.abs, "you took absolute values: positive, but a query then weighs its opposite like itself."),
    ):
        yield _linear(f(q), f(k), v), idea
    yield _linear(_phi(q / d**0.5), e, v), "you divided the queries by √d: that belongs to the softmax."
    yield q.softmax(2) @ (k.softmax(1).mT @ v), "that is efficient attention, with two softmaxes: here φ = elu + 1."
    yield _soft(q, k, v), "that is softmax attention: replace exp by φ(q)·φ(k), and set the brackets anew."
    yield _soft(a, e, v), "there is a softmax behind φ: φ makes weights positive, and a division is enough."
    yield weights.softmax(2) @ v, "there is a softmax behind φ: φ makes weights positive, and a division is enough."
    yield a @ summary / total.sum(2, keepdim=True), "you divided by the sum of all keys: φ(q) has to meet it, too."
    yield a @ summary / a.sum(2, keepdim=True), "you divided by the sum of each query's features: the keys have a say."
    yield (
        a @ summary / a.sum(1, keepdim=True).sum(2, keepdim=True),
        "you divided by the sum of all queries: each query has a sum of its own.",
    )
    yield (
        a @ summary / (a.sum(1, keepdim=True) * total).sum(2, keepdim=True),
        "one divisor for the whole picture: each query divides by the sum of its own weights.",
    )
    yield (
        a @ summary / (e * a.sum(1, keepdim=True)).sum(2, keepdim=True),
        "in the normaliser, queries and keys have changed places: keys are summed, and each query meets that sum.",
    )
    yield (
        a @ summary / (a * e).sum(2, keepdim=True),
        "in the normaliser, each query meets its own key only: it needs the sum over all keys.",
    )
    yield a @ (summary / total.mT), "you divided the summary channel by channel: the division comes once per query."
    yield a @ (summary / summary.sum(1, keepdim=True)), "you divided the summary by its sum: divide each query's "
    "mixture by the sum of its weights."
    yield (
        a @ summary / (a @ summary).sum(2, keepdim=True),
        "you divided by the sum of the result: by the sum of the weights is meant, φ(q)·Σφ(k).",
    )
    yield (
        F.normalize(a @ summary, dim=2),
        "you made each result a unit vector: divide by the sum of the weights, φ(q)·Σφ(k).",
    )
    yield (
        a @ summary / (a * total.mean(2, keepdim=True)).sum(2, keepdim=True),
        ("the sum over the keys should keep their d channels apart, so that each meets its channel of the query."),
    )
    yield (
        a @ summary / (a * total / n).sum(2, keepdim=True),
        "you took the mean of the keys in the normaliser, but their sum in the mixture.",
    )
    yield (
        a @ (summary / n) / (a * total).sum(2, keepdim=True),
        "you took the mean over the places in the mixture, but the sum in the normaliser.",
    )
    yield (a * total).sum(2, keepdim=True).expand(-1, -1, c), "that is the normaliser alone."
    yield a @ summary * (a * total).sum(2, keepdim=True), "you multiplied by the normaliser: divide."
    yield _linear(e, a, v), "queries and keys have changed places."
    yield v + _linear(a, e, v), "you added the values once more: the sum with x comes in the module."
    if d == c:
        yield _linear(a, e, k), "you mix the keys: mix the values."
        yield _linear(a, e, q), "you mix the queries: mix the values."
        yield a @ summary.mT / (a * total).sum(2, keepdim=True), "the summary is transposed: kᵀ v, not vᵀ k."
    yield _linear(a, e, v.relu()), "you cut off negative values: values may have any sign."
    yield _linear(a, e, _phi(v)), "φ is on the values, too: they may have any sign."
    yield v.mean(1, keepdim=True).expand_as(v), "every place gets the plain mean: the queries have no say."
    sums = torch.einsum("bnd,bnc->bndc", e, v).cumsum(1)
    causal = torch.einsum("bnd,bndc->bnc", a, sums) / (a * e.cumsum(1)).sum(2, keepdim=True)
    yield (
        causal,
        ("each place sees itself and earlier ones only (a running sum): that is for text. Sum over all places."),
    )
    if b > 1:
        yield (
            a @ summary.sum(0, keepdim=True) / (a * total.sum(0, keepdim=True)).sum(2, keepdim=True),
            "the sums run over the pictures as well: each picture attends to itself.",
        )
        yield (
            a @ summary.mean(0, keepdim=True) / (a * total).sum(2, keepdim=True),
            "the summary is averaged over the pictures: each picture attends to itself.",
        )
    yield (
        a @ (e.reshape(b, d, n) @ v) / (a * total).sum(2, keepdim=True),
        "reshape or view in place of a transpose: it relabels numbers where they lie. Use .mT or transpose(1, 2).",
    )


class _Sizes(TorchDispatchMode):
    """How many numbers operations return: the most at once, and all together. Views of numbers do not count."""

    def __init__(self):
        super().__init__()
        self.largest = self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                stored = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest, self.total = max(self.largest, stored), self.total + stored
        return result


# ------------------------------------------------------------------------------------------------ exercise 3
MODULE_SIZES = ((32, 8, 2, 4, 4), (24, 4, 2, 3, 5), (16, 8, 3, 5, 2), (48, 8, 1, 6, 1), (16, 2, 2, 1, 1))


@exercise("it runs for any H and W, keeps every place where it is, and never compares all pairs: linear at last.")
def check_repaired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 06: a class ``MyLinearAttention(in_dim, reduction=8)`` that keeps (B, C, H, W)."""
    expect(
        not isinstance(attempt, nn.Module),
        "this is a module already built; hand over the class itself, without (…).",
    )
    for c, r, b, h, w in MODULE_SIZES:
        module = _build(attempt, c, r)
        layers = _Layers(module, c, r)
        layers.shuffle_()
        module.eval()
        x = torch.randn(b, c, h, w)
        result = _call(module, x)
        expect(
            result.shape == x.shape,
            f"for x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: the module keeps "
            "the shape, so places have to find back to H × W.",
        )
        _check_module_formula(module, x, result, layers)
        _check_module_gradient(module, x)
    module, x = _build(attempt, 8, 8), torch.randn(1, 8, 32, 48)
    with _Sizes() as seen, torch.no_grad():
        _call(module, x)
    expect(
        seen.largest < 1536**2,
        "the numbers are right, but with N = 1,536 places your module builds an N × N matrix: linear in name only. "
        "Which product comes first?",
    )
    expect(
        seen.total < 1536**2,
        "the numbers are right, but your module computes a number for all N² pairs of places, bit by bit.",
    )


def _build(attempt: Callable, in_dim: int, reduction: int) -> nn.Module:
    module = guarded(attempt, in_dim, reduction, given=f"in_dim={in_dim}, reduction={reduction}")
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module),
        "your class must inherit from nn.Module (and call super().__init__() first), or its weights are not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    expect(
        list(module.parameters()),
        "your module has no parameters: layers must be attributes (self.query = …), made in __init__.",
    )
    return module


class _Layers:
    """The learner's four layers, told apart by name and size."""

    def __init__(self, module: nn.Module, c: int, r: int):
        found = {name: m for name, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)}
        has, wanted = sum(p.numel() for p in module.parameters()), 2 * (c * (c // r) + c // r) + 2 * (c * c + c)
        expect(
            len(found) == 4,
            f"your module has {len(found)} linear layers or convolutions; the tutorial's has four: query, key, value "
            "and out.",
        )
        for name, layer in found.items():
            window = getattr(layer, "kernel_size", (1,))
            expect(
                set(window) == {1} and getattr(layer, "groups", 1) == 1,
                f"{name} looks at neighbours or splits channels: each of the four layers mixes the channels of one "
                "place (nn.Linear, or a 1 × 1 convolution without groups).",
            )
        shapes = {name: tuple(layer.weight.shape[:2]) for name, layer in found.items()}
        narrow = [name for name, shape in shapes.items() if shape == (c // r, c)]
        wide = [name for name, shape in shapes.items() if shape == (c, c)]
        expect(
            len(narrow) == 2 and len(wide) == 2,
            f"with in_dim={c} and reduction={r}, query and key go from {c} to {c // r} channels, value and out from "
            f"{c} to {c}; yours go " + ", ".join(f"{i} → {o}" for o, i in shapes.values()) + ".",
        ) if c // r != c else None
        bare = [name for name, layer in found.items() if layer.bias is None]
        expect(not bare, f"without a bias: {', '.join(bare)}. The tutorial's layers have one, and checkpoints hold it.")
        expect(
            has == wanted,
            f"your module has {has:,} parameters instead of {wanted:,}: is there more in it than four layers?",
        )
        self.narrow, self.wide = ([found[name] for name in names] for names in (narrow, wide))

    @torch.no_grad()
    def shuffle_(self) -> None:
        """Weights and biases that leave a trace of every wrong idea."""
        for layer in (*self.narrow, *self.wide):
            layer.weight.copy_(1.5 * torch.randn_like(layer.weight) / layer.weight.shape[1] ** 0.5)
            layer.bias.copy_(torch.randn_like(layer.bias))

    def roles(self):
        """Which is which: (query, key, value, out) in every order that the sizes allow."""
        for q, k in (self.narrow, self.narrow[::-1]):
            for v, o in (self.wide, self.wide[::-1]):
                yield q, k, v, o


def _times(layer: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return tokens @ layer.weight.detach().flatten(1).T + layer.bias.detach()


def _through(x, roles, attend, tokens=None, back=None) -> torch.Tensor:
    q, k, v, o = roles
    b, c, h, w = x.shape
    tokens = x.flatten(2).mT if tokens is None else tokens(x)
    mixed = _times(o, attend(_times(q, tokens), _times(k, tokens), _times(v, tokens)))
    return mixed.mT.reshape(b, c, h, w) if back is None else back(mixed)


def _good(q, k, v):
    return _linear(_phi(q), _phi(k), v)


def _check_module_formula(module, x, result, layers: _Layers) -> None:
    if any(same(result, x + _through(x, roles, _good)) for roles in layers.roles()):
        return
    for roles in layers.roles():
        for mistaken, idea in _module_mistakes(x, roles):
            if same(result, mistaken):
                raise WrongIdea(idea)
    order = torch.randperm(x[0, 0].numel())
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    expect(
        same(_call(module, shuffled).flatten(2), result.flatten(2)[:, :, order]),
        "shuffle the places, and the result should be shuffled along; yours is not, so places and channels get mixed "
        "up somewhere. Does every row of your (B, N, C) tensor hold the C channels of *one* place?",
    )
    alone = torch.cat([_call(module, one[None]) for one in x])
    expect(
        torch.allclose(alone, result, atol=1e-4),
        "the result for a picture changes with its neighbours in the batch: each picture attends to itself.",
    )
    raise WrongIdea(
        "the places stay where they are, but the numbers are not x + out(linear attention of query, key and value), "
        "with φ = elu + 1 and its normaliser: put your exercise 2 between the layers."
    )


def _module_mistakes(x, roles) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    if h * w == 1:
        for attend in (_good,):
            yield _through(x, roles, attend), "x is not added: the tutorial's module returns x + out."
        return
    lies = "the places are scrambled: "
    rows = lies + "you made tokens from x.transpose(1, 2), so H comes forward, but W stays behind C. A reshape then "
    rows += "cuts across places and channels. Join H and W first, then transpose."
    tokens_lie = lies + "(B, C, N) is reshaped to (B, N, C) as it lies, so a token holds neighbours of one channel "
    tokens_lie += "instead of the channels of one place. Transpose."
    back_lie = lies + "on the way back, (B, N, C) is reshaped to (B, C, H, W) as it lies in memory. Transpose first."
    turned = lies + "H and W have changed places on the way."
    straight = lambda z: z.flatten(2).mT  # noqa: E731
    still = " (And it is still a softmax over N × N.)"
    for attend, also in ((_good, ""), (_soft, still), (lambda q, k, v: _soft(q, k, v, 1), still), (_bare, "")):
        for make, idea in (
            (lambda z: z.transpose(1, 2).reshape(b, h * w, c), rows),
            (lambda z: z.reshape(b, h * w, c), tokens_lie),
            (straight, ""),
        ):
            for back, second in (
                (lambda z: z.mT.reshape(b, c, h, w), ""),
                (lambda z: z.reshape(b, c, h, w), back_lie),
                (lambda z: z.reshape(b, h, c, w).transpose(1, 2), rows),
                (lambda z: z.mT.reshape(b, c, w, h).mT, turned),
                (lambda z: z.mT.reshape(b, c, w, h).mT.reshape(b, c, h, w), turned),
            ):
                if idea or second:
                    mixed = _through(x, roles, attend, make, back)
                    yield x + mixed, (idea or second) + also
                    yield mixed, (idea or second) + also
        transposed = _through(x, roles, attend, lambda z: z.mT.flatten(2).mT)
        yield x + transposed, turned + also
    q, k, v, o = roles
    for attend, idea in (
        (_soft, "it runs and keeps the places, but it is still softmax attention over N × N: put your exercise 2 in."),
        (lambda q, k, v: _soft(q, k, v, 1), "it runs and keeps the places, but it is still the tutorial's softmax over "
         "N × N: put your exercise 2 in."),
        (_bare, "φ and the normaliser are missing: q (kᵀ v) alone is linear, but no weighted mean."),
        (lambda q, k, v: _bare(q, k, v) / q.shape[1], "φ is missing, and N is not the sum of a query's weights."),
        (lambda q, k, v: _phi(q) @ (_phi(k).mT @ v), "the normaliser is missing: divide by φ(q)·Σφ(k)."),
        (lambda q, k, v: _phi(q) @ (_phi(k).mT @ v) / q.shape[1], "you divided by N: the weights of a query add up to "
         "φ(q)·Σφ(k)."),
        (lambda q, k, v: q.softmax(2) @ (k.softmax(1).mT @ v), "that is efficient attention; here φ = elu + 1."),
        (lambda q, k, v: _linear(q, k, v), "there is no φ: without it, weights may be negative."),
        (lambda q, k, v: _linear(q.relu() + 1e-6, k.relu() + 1e-6, v), "that is ReLU: take φ = elu + 1."),
        (lambda q, k, v: _linear(q.exp(), k.exp(), v), "that is exp: take φ = elu + 1."),
        (lambda q, k, v: v, "the values go straight to out: no place looks at another."),
        (lambda q, k, v: _linear(_phi(q / q.shape[2] ** 0.5), _phi(k), v), "you divided by √d: that is for exp."),
        (lambda q, k, v: _linear(_phi(q), _phi(k), _phi(v)), "φ is on the values, too: they may have any sign."),
    ):  # fmt: skip
        yield x + _through(x, roles, attend), idea
    good = _through(x, roles, _good)
    yield good, "x is not added: the tutorial's module returns x + out."
    yield 2 * x + good, "x is added twice."
    yield x - good, "the result is taken off x: add it."
    yield x * good, "you multiplied x by the result: add it."
    yield x * good.sigmoid(), "a gate of the result: add it to x instead."
    tokens = straight(x)
    mixed = _good(_times(q, tokens), _times(k, tokens), _times(v, tokens)).mT.reshape(b, c, h, w)
    yield x + mixed, "the layer out is built, but forward does not use it."
    yield mixed, "the layer out is built, but forward does not use it, and x is not added."
    plain = _times(o, _good(_times(q, tokens), _times(k, tokens), tokens)).mT.reshape(b, c, h, w)
    yield x + plain, "the layer value is built, but forward does not use it."
    same_layer = _times(o, _good(_times(q, tokens), _times(q, tokens), _times(v, tokens))).mT.reshape(b, c, h, w)
    yield x + same_layer, "one and the same layer makes queries and keys: the other one is never used."
    yield (x + good).relu(), "there is a ReLU at the end: x + out as it is."
    yield x + good.relu(), "there is a ReLU behind out: x + out as it is."
    if b > 1:
        joined = tokens.flatten(0, 1)[None]
        across = _times(o, _good(*(_times(layer, joined) for layer in (q, k, v)))).view(b, h * w, c)
        yield x + across.mT.reshape(b, c, h, w), "places of different pictures look at each other."


def _bare(q, k, v):
    return q @ (k.mT @ v)


def _check_module_gradient(module: nn.Module, x: torch.Tensor) -> None:
    module.train()
    module.zero_grad()
    call(module, x).square().sum().backward()
    few = math.prod(x.shape[2:]) == 1  # a single place has nothing to choose from
    reached = [p.grad is not None and (few or p.grad.abs().sum() > 0) for p in module.parameters()]
    expect(
        all(reached),
        "no gradient reaches some of your layers, so they never learn: did you use detach or no_grad?",
    )
    module.eval()
