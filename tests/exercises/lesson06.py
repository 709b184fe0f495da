"""Answers to the exercises of lesson 06; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def self_attend(q, k, v):
    return (q @ k.mT / q.shape[2] ** 0.5).softmax(2) @ v


def with_einsum(q, k, v):
    scores = torch.einsum("bid,bjd->bij", q, k) * q.size(-1) ** -0.5
    return torch.einsum("bij,bjc->bic", torch.softmax(scores, dim=-1), v)


def exp_by_hand(q, k, v):
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True) @ v


def query_by_query(q, k, v):
    rows = [(k @ q[:, i, :, None] / q.shape[2] ** 0.5).softmax(1).mul(v).sum(1) for i in range(q.shape[1])]
    return torch.stack(rows, 1)


def scores_of(q, k):
    return q @ k.mT / q.shape[2] ** 0.5


def own_place_out(q, k, v):
    n = q.shape[1]
    return scores_of(q, k).masked_fill(torch.eye(n, dtype=torch.bool) & (n > 1), -1e9).softmax(2) @ v


def in_place(q, k, v):
    q /= q.shape[2] ** 0.5
    return (q @ k.mT).softmax(2) @ v


def overflowing(q, k, v):
    e = scores_of(q, k).exp()
    return e / e.sum(2, keepdim=True) @ v


WRONG_SELF = {
    "no scale": (lambda q, k, v: (q @ k.mT).softmax(2) @ v, "not divided by √d"),
    "scale d": (lambda q, k, v: (q @ k.mT / q.shape[2]).softmax(2) @ v, "square root"),
    "times √d": (lambda q, k, v: (q @ k.mT * q.shape[2] ** 0.5).softmax(2) @ v, "multiplied the scores"),
    "scale √N": (lambda q, k, v: (q @ k.mT / q.shape[1] ** 0.5).softmax(2) @ v, "√N"),
    "scale of values": (lambda q, k, v: (q @ k.mT / v.shape[2] ** 0.5).softmax(2) @ v, "values' width"),
    "scale after": (lambda q, k, v: (q @ k.mT).softmax(2) @ v / q.shape[2] ** 0.5, "after the softmax"),
    "softmax over queries": (lambda q, k, v: scores_of(q, k).softmax(1) @ v, "columns add up to 1"),
    "softmax over the batch": (lambda q, k, v: scores_of(q, k).softmax(0) @ v, "images of the batch"),
    "softmax over all": (lambda q, k, v: scores_of(q, k).flatten(1).softmax(1).view_as(q @ k.mT) @ v, "all pairs"),
    "no softmax": (lambda q, k, v: scores_of(q, k) @ v, "no softmax"),
    "exp only": (lambda q, k, v: scores_of(q, k).exp() @ v, "half of a softmax"),
    "sum without exp": (lambda q, k, v: F.normalize(scores_of(q, k), p=1, dim=2) @ v, "add up to 1"),
    "sigmoid": (lambda q, k, v: scores_of(q, k).sigmoid() @ v, "compete"),
    "softmax twice": (lambda q, k, v: scores_of(q, k).softmax(2).softmax(2) @ v, "twice"),
    "argmax": (lambda q, k, v: F.one_hot(scores_of(q, k).argmax(2), q.shape[1]).to(v) @ v, "best position only"),
    "negative": (lambda q, k, v: (-scores_of(q, k)).softmax(2) @ v, "sign"),
    "distance": (lambda q, k, v: (-torch.cdist(q, k)).softmax(2) @ v, "distance"),
    "cosine": (lambda q, k, v: (F.normalize(q, dim=2) @ F.normalize(k, dim=2).mT).softmax(2) @ v, "cosine"),
    "q and k exchanged": (lambda q, k, v: self_attend(k, q, v), "changed places"),
    "queries with queries": (lambda q, k, v: self_attend(q, q, v), "compared with themselves"),
    "weights only": (lambda q, k, v: scores_of(q, k).softmax(2), "matrix of weights itself"),
    "residual": (lambda q, k, v: v + self_attend(q, k, v), "values once more"),
    "transposed weights": (lambda q, k, v: scores_of(q, k).softmax(2).mT @ v, "transposed"),
    "reshape for transpose": (
        lambda q, k, v: (q @ k.reshape(len(k), k.shape[2], -1) / q.shape[2] ** 0.5).softmax(2) @ v,
        "relabels",
    ),
    "causal": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), "causal"),
    "itself left out": (own_place_out, "leaves itself out"),
    "mean of everything": (lambda q, k, v: v.mean(1, keepdim=True).expand_as(v), "plain mean"),
    "overflow": (overflowing, "overflows"),
    "no transpose": (lambda q, k, v: (q @ k).softmax(2) @ v, "transposed?"),
    "inner axes": (lambda q, k, v: (q.mT @ k).softmax(2), "positions are gone"),
    "detached": (lambda q, k, v: self_attend(q.detach(), k, v), "no gradient gets back to the queries"),
    "in place": (in_place, "in place"),
    "no return": (lambda q, k, v: None, "return"),
    "a pair": (lambda q, k, v: (v, v), "a single tensor"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
def phi(x):
    return F.elu(x) + 1


def kernel(q, k, v):
    return q @ (k.mT @ v) / (q * k.sum(1, keepdim=True)).sum(2, keepdim=True)


def linear_attend(q, k, v):
    return kernel(phi(q), phi(k), v)


def linear_einsum(q, k, v):
    q, k = (torch.where(x > 0, x + 1, x.clamp(max=0).exp()) for x in (q, k))
    above = torch.einsum("bnd,bmd,bmc->bnc", q[:, :0], k, v) if False else torch.einsum(
        "bnd,bdc->bnc", q, torch.einsum("bmd,bmc->bdc", k, v)
    )  # fmt: skip
    return above / torch.einsum("bnd,bd->bn", q, k.sum(1))[..., None]


def with_a_column_of_ones(q, k, v):
    both = phi(q) @ (phi(k).mT @ torch.cat([v, torch.ones_like(v[..., :1])], 2))
    return both[..., :-1] / both[..., -1:]


def means(q, k, v):
    q, k, n = phi(q), phi(k), q.shape[1]
    return q @ (k.mT @ v / n) / (q @ k.mean(1)[..., None])


def quadratic(q, k, v):
    weights = phi(q) @ phi(k).mT
    return weights / weights.sum(2, keepdim=True) @ v


def bit_by_bit(q, k, v):
    q, k = phi(q), phi(k)
    rows = []
    for some in q.split(100, 1):
        weights = some @ k.mT
        rows.append(weights / weights.sum(2, keepdim=True) @ v)
    return torch.cat(rows, 1)


def running_sum(q, k, v):
    q, k = phi(q), phi(k)
    sums = torch.einsum("bnd,bnc->bndc", k, v).cumsum(1)
    return torch.einsum("bnd,bndc->bnc", q, sums) / (q * k.cumsum(1)).sum(2, keepdim=True)


WRONG_LINEAR = {
    "N × N": (quadratic, "matrix of all pairs"),
    "N × N in pieces": (bit_by_bit, "bit by bit"),
    "normaliser by the matrix": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q) @ phi(k).mT).sum(2, keepdim=True),
        "matrix of all pairs",
    ),
    "no normaliser": (lambda q, k, v: phi(q) @ (phi(k).mT @ v), "normaliser is missing"),
    "over N": (lambda q, k, v: phi(q) @ (phi(k).mT @ v) / q.shape[1], "divided by N"),
    "no φ": (kernel, "no φ"),
    "bare product": (lambda q, k, v: q @ (k.mT @ v), "no φ and no normaliser"),
    "φ on queries only": (lambda q, k, v: kernel(phi(q), k, v), "missing on the keys"),
    "φ on keys only": (lambda q, k, v: kernel(q, phi(k), v), "missing on the queries"),
    "elu": (lambda q, k, v: kernel(F.elu(q), F.elu(k), v), "without + 1"),
    "relu": (lambda q, k, v: kernel(q.relu(), k.relu(), v), "ReLU"),
    "relu + 1": (lambda q, k, v: kernel(q.relu() + 1, k.relu() + 1, v), "ReLU + 1"),
    "leaky relu": (lambda q, k, v: kernel(F.leaky_relu(q), F.leaky_relu(k), v), "leaky ReLU"),
    "leaky relu, slope 0.2": (lambda q, k, v: kernel(F.leaky_relu(q, 0.2), F.leaky_relu(k, 0.2), v), "leaky ReLU"),
    "φ twice on keys": (lambda q, k, v: kernel(phi(q), phi(phi(k)), v), "φ is applied twice on the keys"),
    "softmax on queries, φ on keys": (lambda q, k, v: kernel(q.softmax(2), phi(k), v), "softmax on the queries only"),
    "softmax on queries, keys bare": (lambda q, k, v: kernel(q.softmax(2), k, v), "softmax on the queries only"),
    "softmax on queries, no normaliser": (lambda q, k, v: q.softmax(2) @ (k.mT @ v), "softmax on the queries only"),
    "exp": (lambda q, k, v: kernel(q.exp(), k.exp(), v), "that is exp"),
    "softplus": (lambda q, k, v: kernel(F.softplus(q), F.softplus(k), v), "softplus"),
    "elu(x + 1)": (lambda q, k, v: kernel(F.elu(q + 1), F.elu(k + 1), v), "before elu"),
    "scaled": (lambda q, k, v: linear_attend(q / q.shape[2] ** 0.5, k / q.shape[2] ** 0.5, v), "√d"),
    "queries scaled": (lambda q, k, v: linear_attend(q / q.shape[2] ** 0.5, k, v), "√d"),
    "efficient": (lambda q, k, v: q.softmax(2) @ (k.softmax(1).mT @ v), "efficient attention"),
    "softmax attention": (self_attend, "softmax attention"),
    "softmax behind φ": (lambda q, k, v: (phi(q) @ phi(k).mT).softmax(2) @ v, "softmax behind φ"),
    "sum of keys only": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / phi(k).sum((1, 2), keepdim=True),
        "sum of all keys",
    ),
    "sum of queries only": (lambda q, k, v: phi(q) @ (phi(k).mT @ v) / phi(q).sum(2, keepdim=True), "keys have a say"),
    "own key only": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q) * phi(k)).sum(2, keepdim=True),
        "own key only",
    ),
    "exchanged in the normaliser": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(k) * phi(q).sum(1, keepdim=True)).sum(2, keepdim=True),
        "changed places",
    ),
    "one divisor": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q).sum(1, True) * phi(k).sum(1, True)).sum(2, True),
        "one divisor",
    ),
    "channel by channel": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v / phi(k).sum(1)[..., None]),
        "channel by channel",
    ),
    "mean in the normaliser": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q) * phi(k).mean(1, True)).sum(2, True),
        "mean of the keys",
    ),
    "normaliser alone": (
        lambda q, k, v: (phi(q) * phi(k).sum(1, True)).sum(2, True).expand_as(v),
        "normaliser alone",
    ),
    "multiplied": (
        lambda q, k, v: phi(q) @ (phi(k).mT @ v) * (phi(q) * phi(k).sum(1, True)).sum(2, True),
        "multiplied by the normaliser",
    ),
    "running sum": (running_sum, "running sum"),
    "φ on values": (lambda q, k, v: linear_attend(q, k, phi(v)), "φ is on the values"),
    "summary only": (lambda q, k, v: phi(k).mT @ v, "summary of all positions"),
    "residual": (lambda q, k, v: v + linear_attend(q, k, v), "values once more"),
    "exchanged": (lambda q, k, v: linear_attend(k, q, v), "changed places"),
    "transpose forgotten": (lambda q, k, v: phi(q) @ (phi(k) @ v), "transposed?"),
    "detached": (lambda q, k, v: linear_attend(q, k.detach(), v), "no gradient gets back to the keys"),
    "over the batch": (
        lambda q, k, v: (
            phi(q) @ (phi(k).mT @ v).sum(0, True) / (phi(q) * phi(k).sum((0, 1), True)).sum(2, True)
        ),
        "images as well",
    ),
    "no return": (lambda q, k, v: None, "return"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 3
class Repaired(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    bias = True

    def __init__(self, in_dim, reduction=8):
        super().__init__()
        narrow = in_dim // reduction
        self.query, self.key = (nn.Linear(in_dim, narrow, bias=self.bias) for _ in range(2))
        self.value, self.out = (nn.Linear(in_dim, in_dim, bias=self.bias) for _ in range(2))

    def cut(self, x):
        return x.flatten(2).mT

    def back(self, mixed, x):
        return mixed.mT.reshape(x.shape)

    def attend(self, q, k, v):
        return linear_attend(q, k, v)

    def mix(self, x):
        tokens = self.cut(x)
        return self.back(self.out(self.attend(self.query(tokens), self.key(tokens), self.value(tokens))), x)

    def forward(self, x):
        return x + self.mix(x)


def wrong(**methods):
    return type("MyLinearAttention", (Repaired,), methods)


class Convolutions(nn.Module):
    """1 × 1 convolutions in two dimensions, other names, a refusal of a reduction that is too large."""

    def __init__(self, in_dim, reduction=8):
        super().__init__()
        self.to_v, self.proj = nn.Conv2d(in_dim, in_dim, 1), nn.Conv2d(in_dim, in_dim, 1)
        self.to_k, self.to_q = (nn.Conv2d(in_dim, in_dim // reduction, 1) for _ in range(2))

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = (layer(x).view(b, -1, h * w).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v))
        return x + self.proj(linear_attend(q, k, v).transpose(1, 2).reshape(b, c, h, w))


class ChannelsLast(Repaired):
    def cut(self, x):
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1])

    def back(self, mixed, x):
        b, c, h, w = x.shape
        return mixed.view(b, h, w, c).permute(0, 3, 1, 2)


class MultipliedHeads(Repaired):
    def __init__(self, in_dim, reduction=8):
        super().__init__(in_dim, reduction)
        self.norm = nn.LayerNorm(in_dim)

    def cut(self, x):
        return self.norm(x.flatten(2).mT)


class FullWidth(Repaired):
    def __init__(self, in_dim, reduction=8):
        super().__init__(in_dim, 1)


class InList(nn.Module):
    def __init__(self, in_dim, reduction=8):
        super().__init__()
        self.layers = [nn.Linear(in_dim, in_dim) for _ in range(4)]

    def forward(self, x):
        return x


class ThreeLayers(Repaired):
    def __init__(self, in_dim, reduction=8):
        super().__init__(in_dim, reduction)
        self.out = nn.Identity()


class Neighbours(Convolutions):
    def __init__(self, in_dim, reduction=8):
        super().__init__(in_dim, reduction)
        self.to_v = nn.Conv2d(in_dim, in_dim, 3, padding=1)


def no_matrix_softmax(self, q, k, v):
    return (q @ k.mT).softmax(2) @ v


WRONG_MODULES = {
    "view": (wrong(cut=lambda m, x: x.transpose(1, 2).view(x.shape[0], -1, x.shape[1])), "which two axes"),
    "reshape": (wrong(cut=lambda m, x: x.transpose(1, 2).reshape(x.shape[0], -1, x.shape[1])), "H comes forward"),
    "the popular one with reshape": (
        wrong(cut=lambda m, x: x.transpose(1, 2).reshape(x.shape[0], -1, x.shape[1]), attend=no_matrix_softmax),
        "still a softmax",
    ),
    "no transpose": (wrong(cut=lambda m, x: x.reshape(x.shape[0], -1, x.shape[1])), "neighbours of one channel"),
    "no transpose back": (wrong(back=lambda m, mixed, x: mixed.reshape(x.shape)), "on the way back"),
    "H and W exchanged": (wrong(cut=lambda m, x: x.mT.flatten(2).mT), "H and W have changed places"),
    "still softmax": (wrong(attend=lambda m, q, k, v: self_attend(q, k, v)), "still softmax attention"),
    "the tutorial's softmax": (wrong(attend=no_matrix_softmax), "tutorial's softmax"),
    "quadratic kernel": (wrong(attend=lambda m, q, k, v: quadratic(q, k, v)), "linear in name only"),
    "in pieces": (wrong(attend=lambda m, q, k, v: bit_by_bit(q, k, v)), "bit by bit"),
    "no normaliser": (wrong(attend=lambda m, q, k, v: phi(q) @ (phi(k).mT @ v)), "normaliser is missing"),
    "over N": (wrong(attend=lambda m, q, k, v: phi(q) @ (phi(k).mT @ v) / q.shape[1]), "divided by N"),
    "no φ": (wrong(attend=lambda m, q, k, v: q @ (k.mT @ v)), "φ and the normaliser are missing"),
    "efficient": (wrong(attend=lambda m, q, k, v: q.softmax(2) @ (k.softmax(1).mT @ v)), "efficient attention"),
    "leaky relu": (wrong(attend=lambda m, q, k, v: kernel(F.leaky_relu(q), F.leaky_relu(k), v)), "leaky ReLU"),
    "φ twice on keys": (wrong(attend=lambda m, q, k, v: kernel(phi(q), phi(phi(k)), v)), "applied twice on the keys"),
    "softmax on queries": (
        wrong(attend=lambda m, q, k, v: kernel(q.softmax(2), phi(k), v)), "softmax on the queries only"
    ),
    "relu": (wrong(attend=lambda m, q, k, v: kernel(q.relu() + 1e-6, k.relu() + 1e-6, v)), "ReLU"),
    "no residual": (wrong(forward=lambda m, x: m.mix(x)), "x is not added"),
    "residual twice": (wrong(forward=lambda m, x: 2 * x + m.mix(x)), "added twice"),
    "multiplied": (wrong(forward=lambda m, x: x * m.mix(x)), "multiplied x"),
    "gate": (wrong(forward=lambda m, x: x * m.mix(x).sigmoid()), "a gate"),
    "out unused": (
        wrong(mix=lambda m, x: m.back(m.attend(*(f(m.cut(x)) for f in (m.query, m.key, m.value))), x)),
        "out is built",
    ),
    "no bias": (wrong(bias=False), "without a bias"),
    "norm": (MultipliedHeads, "more in it than four layers"),
    "reduction ignored": (FullWidth, "go from"),
    "three layers": (ThreeLayers, "3 linear layers"),
    "layers in a list": (InList, "no parameters"),
    "3 × 3": (Neighbours, "neighbours"),
    "tokens out": (wrong(forward=lambda m, x: m.cut(x)), "find back to H × W"),
    "detached": (wrong(attend=lambda m, q, k, v: linear_attend(q.detach(), k, v)), "no gradient"),
    "no forward": (wrong(forward=nn.Module.forward), "no forward"),
    "an instance": (Repaired(16), "without (…)"),
    "no return": (wrong(forward=lambda m, x: None), "return"),
}  # fmt: skip

EXERCISES = {
    "self": (
        check.check_self_attend,
        [self_attend, with_einsum, exp_by_hand, query_by_query, F.scaled_dot_product_attention],
        WRONG_SELF,
    ),
    "linear": (check.check_linear_attend, [linear_attend, linear_einsum, with_a_column_of_ones, means], WRONG_LINEAR),
    "module": (check.check_repaired, [Repaired, Convolutions, ChannelsLast], WRONG_MODULES),
}
