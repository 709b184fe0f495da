"""Exercises of lesson 06: softmax self-attention, linear attention, and the repair of a popular module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import core
from .core import WrongIdea, call, exercise, expect, named_mistake, same, shape_of

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


# --------------------------------------------------------------------------------------------------- both functions
def _check_attention(attempt: Callable, attend: Callable, mistakes: Callable, not_finite: str, formula: str) -> None:
    """A function of q, k and v should do what `attend` does; `mistakes` are made of the same three."""
    for b, n, d, c in SIZES:
        q, k, v = 1.5 * torch.randn(b, n, d), 1.5 * torch.randn(b, n, d), torch.randn(b, n, c)
        result, right = call(attempt, q, k, v, hints=STOPPED), attend(q, k, v)
        _check_mixed_shape(result, b, n, d, c)
        expect(result.isfinite().all(), not_finite)
        if not same(result, right):
            named_mistake(result, right, mistakes(q, k, v))
            _check_weighted_mean(attempt, q, k, v, result)
            raise WrongIdea(f"your weights add up to 1, but they are not {formula}")


def _check_mixed_shape(result: torch.Tensor, b: int, n: int, d: int, c: int) -> None:
    one_number = "one number a position is left: did you leave out the values?"
    one_mixture = "one mixture for the whole image: every position asks a question of its own."
    ideas = {
        (b, n, n): "that is the matrix of weights itself, one row a position: mix the values with it.",
        (b, c, n): "positions should come first, channels last: (B, N, c).",
        (b, d, c): "that is a summary of all positions, kᵀ v: the queries have not asked yet.",
        (b, d, d): "d × d numbers are left, and the positions are gone: which axes meet in your product?",
        (b, n, 1): one_number,
        (b, n): one_number,
        (b, 1, c): one_mixture,
        (b, c): one_mixture,
        (n, c): "the batch axis is gone: each image attends to itself.",
        (b, n, d): "the values have c channels, and so has the result: did you mix the keys or queries?",
        (b, b, n, c): "every image met every other: each image attends to itself.",
        (b, n, d, c): "you kept a product per query channel: add them up over d.",
        (b, n, n, c): "you kept a product per pair of positions: add them up over the positions.",
    }
    given = f"q and k of shape {shape_of(b, n, d)} and v of shape {shape_of(b, n, c)}"
    otherwise = f"one mixture of values a position, {shape_of(b, n, c)}, is wanted."
    core.expect_shape(result, (b, n, c), given, ideas, otherwise)


def _check_weighted_mean(attempt: Callable, q, k, v, result) -> None:
    """What any weighted mean of values obeys, whatever the weights are."""
    constant, order = torch.full_like(v, 3.0), torch.randperm(k.shape[1])
    core.expect_all(
        (same(call(attempt, q, k, constant, hints=STOPPED), constant), "if every position holds the same value, a "
         "weighted mean returns that value, and yours does not: do the weights of each query add up to 1?"),
        (same(call(attempt, q, k[:, order], v[:, order], hints=STOPPED), result), "shuffle keys and values together, "
         "and nothing should change for a query: positions have no order. Yours changes."),
        (same(call(attempt, q[:, order], k, v, hints=STOPPED), result[:, order]), "shuffle the queries, and the "
         "results should be shuffled along. Yours are not: does each query look at all positions by itself?"),
    )  # fmt: skip


def _check_gradients(attempt: Callable) -> None:
    names = ("the queries", "the keys", "the values")
    core.expect_gradient(attempt, *torch.randn(3, 2, 5, 3), names=names, hints=STOPPED)


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


def _check_cost(attempt: Callable, n: int, *inputs: torch.Tensor) -> None:
    with _Sizes() as seen, torch.no_grad():
        call(attempt, *inputs, hints=STOPPED)
    expect(
        seen.largest < n * n,
        f"the numbers are right, but on the way you build the {n:,} × {n:,} matrix of all pairs, which is what this "
        "should avoid: linear in name only. Where do you set the brackets?",
    )
    expect(
        seen.total < n * n,
        f"the numbers are right, and you never hold the whole {n:,} × {n:,} matrix, but you compute all of its numbers "
        "bit by bit: N² work. What can be computed once for all queries?",
    )


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("softmax(q kᵀ / √d) v: every position takes a weighted mean of all values, and its weights add up to 1.")
def check_self_attend(attempt: Callable) -> None:
    """Check exercise 1 of lesson 06: ``self_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    not_finite = "some of your results are no numbers: is something divided by 0?"
    formula = "softmax(q kᵀ / √d): compare one row with the one computed by hand above."
    _check_attention(attempt, _soft, _soft_mistakes, not_finite, formula)
    q, k, v = 40 * torch.randn(1, 6, 4), 40 * torch.randn(1, 6, 4), torch.randn(1, 6, 3)
    expect(
        same(call(attempt, q, k, v, hints=STOPPED), _soft(q, k, v)),
        "right for small scores; for large ones exp overflows and inf / inf is no number. A softmax does not change "
        "when you take the largest score of each row off first, and torch's softmax does that.",
    )
    _check_gradients(attempt)


def _soft(q, k, v, scale=None, dim=2):
    scale = q.shape[2] ** -0.5 if scale is None else scale
    return (q @ k.mT * scale).softmax(dim) @ v


def _soft_mistakes(q, k, v) -> Iterator[tuple[torch.Tensor, str]]:
    (b, n, d), c = q.shape, v.shape[2]
    if n == 1:
        return
    scores, right = q @ k.mT / d**0.5, _soft(q, k, v)
    weights = scores.softmax(2)
    if d > 1:
        yield _soft(q, k, v, 1), "the scores are not divided by √d."
        yield _soft(q, k, v, 1 / d), "you divided the scores by d: by its square root."
        yield _soft(q, k, v, d**0.5), "you multiplied the scores by √d: divide."
        after = "you divided by √d after the softmax, so rows no longer add up to 1: divide the scores."
        yield _soft(q, k, v, 1) / d**0.5, after
    for size, idea in (
        (n, "you divided by √N: it is √d, the width of a query, that makes scores large."),
        (c, "you divided by the root of the values' width: it is the width d of a query."),
        (b, "you divided by the root of the batch size: it is the width d of a query."),
    ):
        if size != d:
            yield _soft(q, k, v, size**-0.5), idea
    not_alone = "positions of different images look at each other: each image attends to itself."
    reshaped = "reshape or view in place of a transpose: it relabels numbers where they lie, and mixes positions with "
    reshaped += "channels. Use .mT or transpose(1, 2)."
    if b > 1:
        yield scores.softmax(0) @ v, "the softmax runs over the images of the batch: over the positions is meant."
        yield _soft(q[:1], k[:1], v), "every image uses the weights of the first one."
        yield _soft(*(t.flatten(0, 1)[None] for t in (q, k, v))).view_as(v), not_alone
    for matrix, idea in (
        (scores.softmax(1), "the softmax runs over the queries, so columns add up to 1: for each query, the weights of "
         "all positions should add up to 1. Over which axis?"),
        (scores.mT.softmax(2), "queries and keys have changed places."),
        (weights.mT, "your matrix of weights is transposed before it meets the values."),
        (scores.flatten(1).softmax(1).view_as(scores), "your softmax runs over all pairs of positions at once: each "
         "row should add up to 1."),
        (scores, "there is no softmax: the scores themselves mix the values."),
        (q @ k.mT, "there is no softmax: the scores themselves mix the values."),
        (scores.exp(), "exp, but no division by the sum of the row: that is half of a softmax."),
        (scores / scores.sum(2, True), "you divided by the row's sum without exp: scores may be negative."),
        (scores.sigmoid(), "a sigmoid treats each pair by itself; with a softmax, the positions compete."),
        (scores.relu(), "a ReLU in place of the softmax: rows do not add up to 1."),
        (weights.softmax(2), "the softmax is taken twice, which flattens it."),
        (F.one_hot(scores.argmax(2), n).to(v), "you took the best position only: a softmax mixes, and can learn."),
        ((-scores).softmax(2), "the sign is turned round: alike should weigh more."),
        ((-torch.cdist(q, k)).softmax(2), "you compare by distance: here the score is a dot product."),
        (scores.masked_fill(torch.ones(n, n).triu(1) > 0, -1e30).softmax(2), "each position looks at itself and at "
         "earlier ones only: that is the causal mask of a language model. An image has no before and after."),
        (scores.masked_fill(torch.eye(n) > 0, -1e30).softmax(2), "a position leaves itself out: it may look at itself, "
         "too."),
        ((q @ k.reshape(b, d, n) / d**0.5).softmax(2), reshaped),
        ((q @ k.reshape(b, d, n)).softmax(2), reshaped),
    ):  # fmt: skip
        yield matrix @ v, idea
    for scale in (1, d**-0.5):
        unit_q, unit_k = F.normalize(q, dim=2), F.normalize(k, dim=2)
        yield _soft(unit_q, unit_k, v, scale), "you normalised queries and keys (cosine): the plain dot product."
    for one, name in ((q, "queries"), (k, "keys")):
        yield _soft(one, one, v), f"the {name} are compared with themselves: compare queries with keys."
        if d == c:
            yield _soft(q, k, one), f"you mix the {name}: mix the values."
    yield v + right, "you added the values once more: the sum with x comes in the module."
    if d == c:
        yield q + right, "you added the queries: the sum with x comes in the module."
    yield v.mean(1, keepdim=True).expand_as(v), "every position gets the plain mean: the queries have no say."
    yield v, "that is v as it came in: nothing is mixed."
    yield right.mean(1, keepdim=True).expand_as(v), "the results are averaged over all positions."
    yield right.mean(0, keepdim=True).expand_as(v), "the results are averaged over the batch."


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("φ(q) (φ(k)ᵀ v), divided by φ(q)·Σφ(k): a weighted mean over all positions without an N × N matrix.")
def check_linear_attend(attempt: Callable) -> None:
    """Check exercise 2 of lesson 06: ``linear_attend(q (B, N, d), k (B, N, d), v (B, N, c)) → (B, N, c)``."""
    not_finite = "some of your results are no numbers (0 / 0): with ReLU, a query with nothing but negative channels "
    not_finite += "has no weights at all. elu + 1 is never 0."
    formula = "φ(q)·φ(k) over its sum, with φ = elu + 1: go through the lines above once more."
    _check_attention(attempt, _good, _linear_mistakes, not_finite, formula)
    _check_cost(attempt, 1500, torch.randn(1, 1500, 4), torch.randn(1, 1500, 4), torch.randn(1, 1500, 3))
    _check_gradients(attempt)


def _phi(x: torch.Tensor) -> torch.Tensor:
    return F.elu(x) + 1


def _linear(q, k, v):
    return q @ (k.mT @ v) / (q * k.sum(1, keepdim=True)).sum(2, keepdim=True)


def _good(q, k, v):
    return _linear(_phi(q), _phi(k), v)


def _bare(q, k, v):
    return q @ (k.mT @ v)


OTHER_PHI = (  # in place of φ = elu + 1, on queries and keys
    (F.elu, "that is elu without + 1, which goes down to −1: weights must be positive."),
    (torch.relu, "that is ReLU: a query with nothing but negative channels has no weights at all. Take elu + 1."),
    (lambda z: z.relu() + 1e-6, "that is ReLU: take elu + 1."),
    (lambda z: z.relu() + 1, "that is ReLU + 1, which is 1 for every negative number: take elu + 1."),
    *((lambda z, slope=slope: F.leaky_relu(z, slope), "that is a leaky ReLU, which is still negative for negative "
       "numbers: weights must be positive.") for slope in (0.01, 0.1, 0.2, 0.3)),
    (torch.exp, "that is exp: it is positive as well, but here φ = elu + 1."),
    (torch.sigmoid, "that is a sigmoid: here φ = elu + 1."),
    (F.softplus, "that is softplus: it is positive as well, but here φ = elu + 1."),
    (lambda z: F.elu(z + 1), "you add 1 before elu: behind it, so that nothing is negative."),
    (lambda z: _phi(_phi(z)), "φ is applied twice."),
    (lambda z: _phi(z / z.shape[2] ** 0.5), "you divided by √d: that belongs to the softmax; φ takes q and k as they "
     "are."),
    (lambda z: _phi(z / z.shape[2] ** 0.25), "you divided by ⁴√d: that belongs to exp; φ takes q and k as they are."),
    (lambda z: _phi(z).softmax(2), "there is a softmax over the channels behind φ: φ alone."),
    (lambda z: z.softmax(2), "a softmax over the channels in place of φ: here φ = elu + 1."),
    (lambda z: z.softmax(1), "a softmax over the positions in place of φ: here φ = elu + 1."),
    (torch.square, "you squared: positive, but a query then weighs its opposite like itself."),
    (torch.abs, "you took absolute values: positive, but a query then weighs its opposite like itself."),
)  # fmt: skip


def _linear_mistakes(q, k, v) -> Iterator[tuple[torch.Tensor, str]]:
    (b, n, d), c = q.shape, v.shape[2]
    if n == 1:
        return
    a, e = _phi(q), _phi(k)
    summary, total = e.mT @ v, e.sum(1, keepdim=True)
    above, right = a @ summary, _good(q, k, v)
    sums = torch.einsum("bnd,bnc->bndc", e, v).cumsum(1)  # for each position, over itself and all earlier ones
    yield above, "the normaliser is missing: divide each query's mixture by the sum of its weights, φ(q)·Σφ(k)."
    yield above / n, "you divided by N: the weights of a query add up to φ(q)·Σφ(k), another number for each."
    yield _bare(q, k, v), "there is no φ and no normaliser: that is the product alone."
    yield _bare(q, k, v) / n, "there is no φ: without it, weights may be negative, and N is not their sum."
    yield _linear(q, k, v), "there is no φ: without it, weights may be negative, and their sum near 0."
    yield _linear(a, k, v), "φ is missing on the keys."
    yield _linear(q, e, v), "φ is missing on the queries."
    for phi, idea in OTHER_PHI:
        yield _linear(phi(q), phi(k), v), idea
    yield _bare(q.softmax(2), k.softmax(1), v), "that is efficient attention, with two softmaxes: here φ = elu + 1."
    for soft, other, bare, name in (
        (lambda k: (q.softmax(2), k), k, e, "queries"),
        (lambda q: (q, k.softmax(1)), q, a, "keys"),
        (lambda q: (q, k.softmax(2)), q, a, "keys"),
    ):
        idea = f"there is a softmax on the {name} only: queries and keys go through one and the same φ."
        for one in (other, bare):
            yield _linear(*soft(one), v), idea
            yield _bare(*soft(one), v), idea
    yield _linear(a, _phi(e), v), "φ is applied twice on the keys: once, as on the queries."
    yield _linear(_phi(a), e, v), "φ is applied twice on the queries: once, as on the keys."
    yield _linear(_phi(q / d**0.5), e, v), "you divided the queries by √d: that belongs to the softmax."
    yield _soft(q, k, v), "that is softmax attention: replace exp by φ(q)·φ(k), and set the brackets anew."
    yield _soft(a, e, v), "there is a softmax behind φ: φ makes weights positive, and a division is enough."
    yield _soft(a, e, v, 1), "there is a softmax behind φ: φ makes weights positive, and a division is enough."
    for divisor, idea in (
        (total, "you divided by the sum of all keys: φ(q) has to meet it, too."),
        (a, "you divided by the sum of each query's features: the keys have a say."),
        (a.sum(1, keepdim=True), "you divided by the sum of all queries: each query has a sum of its own."),
        (a.sum(1, keepdim=True) * total, "one divisor for the whole image: each query divides by the sum of its own "
         "weights."),
        (e * a.sum(1, keepdim=True), "in the normaliser, queries and keys have changed places: keys are summed, and "
         "each query meets that sum."),
        (a * e, "in the normaliser, each query meets its own key only: it needs the sum over all keys."),
        (above, "you divided by the sum of the result: by the sum of the weights is meant, φ(q)·Σφ(k)."),
        (a * total.mean(2, keepdim=True), "the sum over the keys should keep their d channels apart, so that each "
         "meets its channel of the query."),
        (a * total / n, "you took the mean of the keys in the normaliser, but their sum in the mixture."),
        (a * total * n, "you took the mean over the positions in the mixture, but the sum in the normaliser."),
    ):  # fmt: skip
        yield above / divisor.sum(2, keepdim=True), idea
    norm = (a * total).sum(2, keepdim=True)
    yield from (
        (a @ (summary / total.mT), "you divided the summary channel by channel: the division comes once per query."),
        (a @ (summary / summary.sum(1, keepdim=True)), "you divided the summary by its sum: divide each query's "
         "mixture by the sum of its weights."),
        (F.normalize(above, dim=2), "you made each result a unit vector: divide by the sum of the weights."),
        (norm.expand(-1, -1, c), "that is the normaliser alone."),
        (above * norm, "you multiplied by the normaliser: divide."),
        (_linear(e, a, v), "queries and keys have changed places."),
        (v + right, "you added the values once more: the sum with x comes in the module."),
        (_linear(a, e, v.relu()), "you cut off negative values: values may have any sign."),
        (_linear(a, e, _phi(v)), "φ is on the values, too: they may have any sign."),
        (v.mean(1, keepdim=True).expand_as(v), "every position gets the plain mean: the queries have no say."),
        (torch.einsum("bnd,bndc->bnc", a, sums) / (a * e.cumsum(1)).sum(2, keepdim=True), "each position sees itself "
         "and earlier ones only (a running sum): that is for text. Sum over all positions."),
        (a @ (e.reshape(b, d, n) @ v) / norm, "reshape or view in place of a transpose: it relabels numbers where they "
         "lie. Use .mT or transpose(1, 2)."),
    )  # fmt: skip
    if d == c:
        yield _linear(a, e, k), "you mix the keys: mix the values."
        yield _linear(a, e, q), "you mix the queries: mix the values."
        yield a @ summary.mT / norm, "the summary is transposed: kᵀ v, not vᵀ k."
    if b > 1:
        every = a @ summary.sum(0, keepdim=True)
        itself = "each image attends to itself."
        yield every / (a * total.sum(0)).sum(2, keepdim=True), f"the sums run over the images as well: {itself}"
        yield every / b / norm, f"the summary is averaged over the images: {itself}"


# --------------------------------------------------------------------------------------------------- exercise 3
MODULE_SIZES = ((32, 8, 2, 4, 4), (24, 4, 2, 3, 5), (16, 8, 3, 5, 2), (48, 8, 1, 6, 1), (16, 2, 2, 1, 1))


@exercise("it runs for any H and W, keeps every position where it is, and never compares all pairs: linear at last.")
def check_repaired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 06: a class ``MyLinearAttention(in_dim, reduction=8)`` that keeps (B, C, H, W)."""
    for c, r, b, h, w in MODULE_SIZES:
        module = core.build_module(attempt, c, r, given=f"in_dim={c}, reduction={r}")
        layers = _Layers(module, c, r)
        layers.shuffle_()
        module.eval()
        x = torch.randn(b, c, h, w)
        result = call(module, x, hints=STOPPED)
        core.expect_scaled(result, x, "the module keeps the shape, so positions have to find back to H × W.")
        right = [x + _through(x, roles, _good) for roles in layers.roles()]
        if not any(same(result, one) for one in right):
            for roles in layers.roles():
                named_mistake(result, right[0], _module_mistakes(x, roles))
            _check_places(module, x, result)
        if h * w > 1:  # a single position has nothing to choose from
            core.expect_learning(module, x, "some of your layers")
    module = core.build_module(attempt, 8, 8, given="in_dim=8, reduction=8")
    _check_cost(module, 32 * 48, torch.randn(1, 8, 32, 48))


class _Layers:
    """The learner's four layers, told apart by name and size."""

    def __init__(self, module: nn.Module, c: int, r: int):
        core.learned(module, "layers must be attributes (self.query = …)")
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
                "position (nn.Linear, or a 1 × 1 convolution without groups).",
            )
        shapes = {name: tuple(layer.weight.shape[:2]) for name, layer in found.items()}
        narrow = [name for name, shape in shapes.items() if shape == (c // r, c)]
        wide = [name for name, shape in shapes.items() if shape == (c, c)]
        bare = [name for name, layer in found.items() if layer.bias is None]
        core.expect_all(
            (len(narrow) == 2 and len(wide) == 2, f"with in_dim={c} and reduction={r}, query and key go from {c} to "
             f"{c // r} channels, value and out from {c} to {c}; yours go "
             + ", ".join(f"{i} → {o}" for o, i in shapes.values()) + "."),
            (not bare, f"without a bias: {', '.join(bare)}. The tutorial's layers have one, and checkpoints hold it."),
            (has == wanted, f"your module has {has:,} parameters instead of {wanted:,}: is there more in it than four "
             "layers?"),
        )  # fmt: skip
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


def _check_places(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    """The result is wrong, and by no known mistake: at which end?"""
    order = torch.randperm(x[0, 0].numel())
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    expect(
        same(call(module, shuffled, hints=STOPPED).flatten(2), result.flatten(2)[:, :, order]),
        "shuffle the positions, and the result should be shuffled along; yours is not, so positions and channels get "
        "mixed up somewhere. Does every row of your (B, N, C) tensor hold the C channels of *one* position?",
    )
    core.expect_alone(module, x, result, "each image attends to itself.")
    raise WrongIdea(
        "the positions stay where they are, but the numbers are not x + out(linear attention of query, key and value), "
        "with φ = elu + 1 and its normaliser: put your exercise 2 between the layers."
    )


def _module_mistakes(x, roles) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    not_added, good = "x is not added: the tutorial's module returns x + out.", _through(x, roles, _good)
    yield good, not_added
    if h * w == 1:
        return
    yield from _place_mistakes(x, roles)
    for attend, idea in (
        (_soft, "it runs and keeps positions, but it is still softmax attention over N × N: put your exercise 2 in."),
        (lambda q, k, v: _soft(q, k, v, 1), "it runs and keeps the positions, but it is still the tutorial's softmax "
         "over N × N: put your exercise 2 in."),
        (_bare, "φ and the normaliser are missing: q (kᵀ v) alone is linear, but no weighted mean."),
        (lambda q, k, v: v, "the values go straight to out: no position looks at another."),
        (lambda q, k, v: _good(q, q, v), "one and the same layer makes queries and keys: the other one is never used."),
    ):  # fmt: skip
        yield x + _through(x, roles, attend), idea
    yield 2 * x + good, "x is added twice."
    yield x - good, "the result is taken off x: add it."
    yield x * good, "you multiplied x by the result: add it."
    yield x * good.sigmoid(), "a gate of the result: add it to x instead."
    yield (x + good).relu(), "there is a ReLU at the end: x + out as it is."
    yield x + good.relu(), "there is a ReLU behind out: x + out as it is."
    (query, key, value, out), tokens = roles, x.flatten(2).mT
    q, k, v = (_times(layer, tokens) for layer in (query, key, value))
    without_out = _good(q, k, v).mT.reshape(b, c, h, w)
    yield x + without_out, "the layer out is built, but forward does not use it."
    yield without_out, "the layer out is built, but forward does not use it, and x is not added."
    without_value = _times(out, _good(q, k, tokens)).mT.reshape(b, c, h, w)
    yield x + without_value, "the layer value is built, but forward does not use it."
    if b > 1:
        across = _good(*(t.flatten(0, 1)[None] for t in (q, k, v))).view_as(v)
        yield x + _times(out, across).mT.reshape(b, c, h, w), "positions of different images look at each other."
    for mixed, idea in _linear_mistakes(q, k, v):
        yield x + _times(out, mixed).mT.reshape(b, c, h, w), idea


def _place_mistakes(x, roles) -> Iterator[tuple[torch.Tensor, str]]:
    """Tokens (B, N, C) made from x in a wrong way, or turned back in a wrong way, whatever stands between."""
    b, c, h, w = x.shape
    rows = "you made tokens from x.transpose(1, 2), so H comes forward, but W stays behind C. A reshape then cuts "
    rows += "across positions and channels. Join H and W first, then transpose."
    tokens_lie = "(B, C, N) is reshaped to (B, N, C) as it lies, so a token holds neighbours of one channel instead of "
    tokens_lie += "the channels of one position. Transpose."
    back_lies = "on the way back, (B, N, C) is reshaped to (B, C, H, W) as it lies in memory. Transpose first."
    turned = "H and W have changed places on the way."
    ways_in = (
        (lambda z: z.flatten(2).mT, ""),
        (lambda z: z.transpose(1, 2).reshape(b, h * w, c), rows),
        (lambda z: z.reshape(b, h * w, c), tokens_lie),
        (lambda z: z.mT.flatten(2).mT, turned),
    )
    ways_back = (
        (lambda z: z.mT.reshape(b, c, h, w), ""),
        (lambda z: z.reshape(b, c, h, w), back_lies),
        (lambda z: z.reshape(b, h, c, w).transpose(1, 2), rows),
        (lambda z: z.mT.reshape(b, c, w, h).mT, turned),
        (lambda z: z.mT.reshape(b, c, w, h).mT.reshape(b, c, h, w), turned),
    )
    still = " (And it is still a softmax over N × N.)"
    for attend, also in ((_good, ""), (_soft, still), (lambda q, k, v: _soft(q, k, v, 1), still), (_bare, "")):
        for make, first in ways_in:
            for back, second in ways_back:
                if (first or second) and (first != turned or not second):
                    mixed = _through(x, roles, attend, make, back)
                    for result in (x + mixed, mixed):
                        yield result, f"the positions are scrambled: {first or second}{also}"
