"""Answers to the exercises of lesson 06; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check.steps_attention import SOFT, SOFT_VALUES, soft
from attn_lessons.check.steps_linear import LINEAR, LINEAR_VALUES, linear, phi
from attn_lessons.check.steps_repaired import MODULE, MODULE_VALUES, repaired


# --------------------------------------------------------------------------------------------------- exercise 1
def self_attend(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def with_einsum(q, k, v):
    scores = torch.einsum("...id,...jd->...ij", q, k) * q.size(-1) ** -0.5
    return torch.einsum("...ij,...jc->...ic", torch.softmax(scores, dim=-1), v)


def by_hand(q, k, v, largest=lambda s: s.amax(-1, keepdim=True)):
    e = q @ k.mT / q.shape[-1] ** 0.5
    e = (e - largest(e)).exp()
    return e / e.sum(-1, keepdim=True) @ v


def into_a_buffer(q, k, v):
    mixed = torch.zeros(v.shape)
    for i in range(q.shape[-2]):
        scores = (k * q[..., i, None, :]).sum(-1) / q.shape[-1] ** 0.5
        mixed[..., i, :] = (scores.softmax(-1)[..., None] * v).sum(-2)
    return mixed


def image_by_image(q, k, v):
    return torch.stack([self_attend(*one) for one in zip(q, k, v, strict=True)])


def soft_scores(q, k):
    return q @ k.mT / q.shape[-1] ** 0.5


def soft_weights(q, k):
    return soft_scores(q, k).softmax(-1)


QUERIES = torch.ones(7, 5, dtype=torch.float64)


def of_the_notebook(q, k, v):
    return self_attend(QUERIES.expand(len(k), -1, -1), k, v)


WRONG_SELF = {  # beside those of the tables
    "axes counted from the front": (lambda q, k, v: (q @ k.mT / q.shape[2] ** 0.5).softmax(2) @ v, "of three axes"),
    "transpose from the front": (lambda q, k, v: self_attend(q, k.transpose(1, 2).mT, v), "of three axes"),
    "einsum of a batch": (lambda q, k, v: torch.einsum("bij,bjc->bic", soft_weights(q, k), v), "of three axes"),
    "two axes": (lambda q, k, v: (q @ k.t() / q.shape[1] ** 0.5).softmax(1) @ v, "of two axes, as (N, d), but not"),
    "two axes, softmax only": (lambda q, k, v: soft_scores(q, k).softmax(1) @ v, "of two axes"),
    "image by image": (image_by_image, "but not for two, as (N, d)"),
    "weights only": (lambda q, k, v: (q @ k.mT).softmax(2), "matrix of weights itself"),
    "inner axes": (lambda q, k, v: (q.mT @ k).softmax(2), "positions are gone"),
    "no transpose": (lambda q, k, v: (q @ k).softmax(2) @ v, "has to be transposed?"),
    "scale left out, softmax over queries": (lambda q, k, v: (q @ k.mT).softmax(1) @ v, "And: the softmax runs over"),
    "overflow": (lambda q, k, v: by_hand(q, k, v, lambda s: 0), "overflows"),
    "one largest score for all": (lambda q, k, v: by_hand(q, k, v, torch.amax), "of each row"),
    "detached": (lambda q, k, v: self_attend(q.detach(), k, v), "no gradient gets back to the queries"),
    "number by number": (lambda q, k, v: (q * k / q.shape[2] ** 0.5).softmax(2) @ v, "* is no matrix product"),
    "keys of another image": (lambda q, k, v: self_attend(q, k.roll(1, 0), v), "other images"),
    "keys shifted": (lambda q, k, v: self_attend(q, k.roll(1, 1), v), "shuffle the positions"),
    "a notebook's q": (of_the_notebook, "'QUERIES' of the notebook in place of your argument q"),
    "float32": (lambda q, k, v: self_attend(q.float(), k.float(), v.float()), "leave out .float()"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def kernel(q, k, v):
    return q @ (k.mT @ v) / (q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True)


def linear_attend(q, k, v):
    return kernel(phi(q), phi(k), v)


def linear_einsum(q, k, v):
    q, k = (torch.where(x > 0, x + 1, x.clamp(max=0).exp()) for x in (q, k))
    above = torch.einsum("...nd,...dc->...nc", q, torch.einsum("...md,...mc->...dc", k, v))
    return above / torch.einsum("...nd,...d->...n", q, k.sum(-2))[..., None]


def with_a_column_of_ones(q, k, v):
    both = phi(q) @ (phi(k).mT @ torch.cat([v, torch.ones_like(v[..., :1])], -1))
    return both[..., :-1] / both[..., -1:]


def bit_by_bit(q, k, v):
    return torch.cat([linear(some, k, v) for some in q.split(100, -2)], -2)


def fixed_divisor(q, k, v):
    q, k = phi(q), phi(k)
    return q @ (k.mT @ v) / (q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True).detach()


def of_a_batch(q, k, v):
    q, k = phi(q), phi(k)
    return q @ (k.mT @ v) / (q * k.sum(1, keepdim=True)).sum(2, keepdim=True)


def of_the_page(q, k, v):
    q, k = phi(q), phi(k)
    return q @ (k.t() @ v) / (q @ k.sum(0))[:, None]


WRONG_LINEAR = {  # beside those of the tables
    "axes counted from the front": (of_a_batch, "of three axes, as (B, N, d), but not inside a module"),
    "two axes": (of_the_page, "of two axes, as (N, d), but not for a batch"),
    "two axes, keepdim": (lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q) @ phi(k).sum(0))[:, None], "of two axes"),
    "N × N": (linear, "matrix of all pairs"),
    "N × N in pieces": (bit_by_bit, "bit by bit"),
    "bare product": (lambda q, k, v: q @ (k.mT @ v), "sum near 0. And: the normalizer"),
    "softmax on queries, keys bare": (lambda q, k, v: kernel(q.softmax(2), k, v), "And: on the queries: a softmax"),
    "summary only": (lambda q, k, v: phi(k).mT @ v, "summary of all"),
    "transpose forgotten": (lambda q, k, v: phi(q) @ (phi(k) @ v), "has to be transposed?"),
    "no keepdim, matrix product": (lambda q, k, v: phi(q) @ (phi(k).mT @ v) / (phi(q) @ phi(k).sum(1)), "keepdim=True"),
    "no keepdim": (lambda q, k, v: phi(q) * phi(k).sum(1), "positions meet images"),
    "normalizer detached": (fixed_divisor, "part of the gradient"),
}


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

    def attend(self, q, k, v):
        return linear_attend(q, k, v)

    def mix(self, x):
        tokens = self.cut(x)
        mixed = self.attend(self.query(tokens), self.key(tokens), self.value(tokens))
        return self.out(mixed).mT.reshape(x.shape)

    def forward(self, x):
        return x + self.mix(x)


def wrong(**methods):
    return type("MyLinearAttention", (Repaired,), methods)


def wrong_init(change):
    def init(self, in_dim, reduction=8):
        Repaired.__init__(self, in_dim, reduction)
        change(self, in_dim, reduction)

    return wrong(__init__=init)


def module_by_step(**steps):
    return wrong(forward=lambda m, x: repaired(x, (m.query, m.key, m.value, m.out), **steps))


class Convolutions(nn.Module):
    """1 × 1 convolutions in two dimensions, other names, another order."""

    def __init__(self, in_dim, reduction=8):
        super().__init__()
        self.to_v, self.proj = nn.Conv2d(in_dim, in_dim, 1), nn.Conv2d(in_dim, in_dim, 1)
        self.to_k, self.to_q = (nn.Conv2d(in_dim, in_dim // reduction, 1) for _ in range(2))

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = (layer(x).view(b, -1, h * w).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v))
        return x + self.proj(linear_attend(q, k, v).transpose(1, 2).reshape(b, c, h, w))


class Bare(nn.Module):
    """Parameters without layers, used as s @ W + b."""

    def __init__(self, in_dim, reduction=8):
        super().__init__()
        sizes = (in_dim // reduction, in_dim // reduction, in_dim, in_dim)
        self.w = nn.ParameterList(torch.randn(in_dim, size) / in_dim**0.5 for size in sizes)
        self.b = nn.ParameterList(torch.zeros(1, 1, size) for size in sizes)

    def forward(self, x):
        tokens = x.flatten(2).mT
        q, k, v = (tokens @ self.w[i] + self.b[i] for i in range(3))
        return x + (linear_attend(q, k, v) @ self.w[3] + self.b[3]).mT.reshape(x.shape)


def rows_first(self, x):
    return x.transpose(1, 2).reshape(x.shape[0], -1, x.shape[1])


WRONG_MODULES = {  # beside those of the tables
    "view": (wrong(cut=lambda m, x: x.transpose(1, 2).view(x.shape[0], -1, x.shape[1])), "which two axes"),
    "the popular one": (wrong(cut=rows_first, attend=lambda m, q, k, v: (q @ k.mT).softmax(2) @ v), "And: that is"),
    "flattened only": (wrong(cut=lambda m, x: x.flatten(2)), "acts on the last axis"),
    "quadratic kernel": (wrong(attend=lambda m, q, k, v: linear(q, k, v)), "linear in name only"),
    "H and W turned": (wrong(forward=lambda m, x: x + m.mix(x).reshape(x.mT.shape)), "columns meet rows"),
    "no bias": (wrong(bias=False), "without a bias"),
    "γ": (wrong_init(lambda m, c, r: setattr(m, "gamma", nn.Parameter(torch.zeros(1)))), "more in it than four layers"),
    "reduction ignored": (wrong_init(lambda m, c, r: Repaired.__init__(m, c, 1)), "go from"),
    "one layer for q and k": (wrong_init(lambda m, c, r: setattr(m, "key", m.query)), "two places"),
    "frozen": (wrong_init(lambda m, c, r: m.query.requires_grad_(False)), "requires_grad=False"),
    "3 × 3": (wrong_init(lambda m, c, r: setattr(m, "value", nn.Conv2d(c, c, 3, padding=1))), "neighbours"),
    "dropout": (wrong(mix=lambda m, x: F.dropout(Repaired.mix(m, x), 0.1, m.training)), "two calls"),
    "tokens out": (wrong(forward=lambda m, x: m.cut(x)), "find back to H × W"),
    "batch squeezed": (wrong(cut=lambda m, x: x.flatten(2).squeeze(0).t()), "The batch is an axis, too"),
    "normalizer detached": (wrong(attend=lambda m, q, k, v: fixed_divisor(q, k, v)), "part of the gradient"),
    "float32": (wrong(forward=lambda m, x: x.float() + m.mix(x).float()), "leave out .float()"),
    "no default": (wrong(__init__=lambda m, in_dim, reduction: Repaired.__init__(m, in_dim, reduction)), "missing 1"),
}  # fmt: skip

RIGHT_SELF = [self_attend, with_einsum, by_hand, into_a_buffer, F.scaled_dot_product_attention]
RIGHT_LINEAR = [linear_attend, linear_einsum, with_a_column_of_ones]
EXERCISES = {
    "self": (check.check_self_attend, RIGHT_SELF, WRONG_SELF),
    "linear": (check.check_linear_attend, RIGHT_LINEAR, WRONG_LINEAR),
    "module": (check.check_repaired, [Repaired, Convolutions, Bare], WRONG_MODULES),
}
OWN = "cut", "layers", "back", "join", "divisor"  # steps; the others are tested in exercise 2
TABLES = {
    "self": (lambda **steps: lambda q, k, v: soft(q, k, v, **steps), SOFT, soft, SOFT_VALUES),
    "linear": (lambda **steps: lambda q, k, v: linear(q, k, v, **steps), LINEAR, linear, LINEAR_VALUES),
    "module": (
        module_by_step,
        {step: MODULE[step] for step in OWN},
        repaired,
        {step: value for step, value in MODULE_VALUES.items() if step in OWN},
    ),
}
