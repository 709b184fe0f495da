"""Linear attention in steps, and what people write in place of each."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from .steps import MIX, MIX_ROWS, Table, keep
from .steps_attention import dot


def phi(x):
    return F.elu(x) + 1


def sums(a, e):
    return (a @ e.mT).sum(-1, True)


def linear(q, k, v, enter=keep, features=phi, on_queries=lambda q, features: features(q), values=keep,
           on_keys=lambda k, features: features(k), weights=lambda m: m.a @ m.e.mT,
           divisor=lambda m: m.s.sum(-1, True), mix=torch.matmul, summary=lambda m: m.r):  # fmt: skip
    """By the definition, with all pairs: then every step can be exchanged."""
    m = SimpleNamespace(q=enter(q), k=enter(k), v=values(v))
    m.a, m.e = on_queries(m.q, features), on_keys(m.k, features)
    m.s = weights(m)
    m.r = mix(m.s / divisor(m), m.v)
    return summary(m)


FEATURES: Table = {  # queries or keys → positive features, in place of φ
    "there is no φ: without it, weights may be negative, and their sum near 0.": keep,
    "that is elu without + 1, which goes down to −1: weights must be positive.": F.elu,
    "that is ReLU: here φ = elu + 1.": lambda z: z.relu() + 1e-9,
    "that is ReLU + 1, which is 1 for every negative number: here φ = elu + 1.": lambda z: z.relu() + 1,
    "that is exp: it is positive as well, but here φ = elu + 1.": torch.exp,
    "that is a sigmoid: here φ = elu + 1.": torch.sigmoid,
    "that is softplus: it is positive as well, but here φ = elu + 1.": F.softplus,
    "you add 1 before elu: after it, so that nothing is negative.": lambda z: F.elu(z + 1),
    "φ is applied twice.": lambda z: phi(phi(z)),
    "you divide by √d, which belongs to the softmax: φ takes q, k as they are.":
        lambda z: phi(z / z.shape[-1] ** 0.5),
    "a softmax over the channels in place of φ: here φ = elu + 1.": lambda z: z.softmax(-1),
    "a softmax over the positions in place of φ: here φ = elu + 1.": lambda z: z.softmax(-2),
    "you square: positive, but a query then weighs its opposite like itself.": torch.square,
    "you take absolute values: positive, but a query then weighs its opposite like itself.": torch.abs,
    "that is a leaky ReLU, still negative for negative numbers: weights must be positive.": F.leaky_relu,
}  # fmt: skip
ON_KEYS: Table = {f"on the keys: {idea}": lambda z, _, step=step: step(z) for idea, step in FEATURES.items()}
ON_QUERIES: Table = {f"on the queries: {idea}": lambda z, _, step=step: step(z) for idea, step in FEATURES.items()
                     if step is not torch.exp}  # a softmax over channels, but for a factor that cancels  # fmt: skip
WEIGHTS: Table = {  # a = φ(q), e = φ(k), q, k → weights before the division, in place of a eᵀ
    "queries and keys have changed places.": lambda m: m.e @ m.a.mT,
    "the queries are compared with themselves: compare queries with keys.": lambda m: m.a @ m.a.mT,
    "the keys are compared with themselves: compare queries with keys.": lambda m: m.e @ m.e.mT,
    "that is softmax attention over N × N: replace exp by φ, and set the brackets anew.":
        lambda m: dot(m.q, m.k).softmax(-1),
    "that is softmax attention over N × N, without √d: replace exp by φ, and set the brackets anew.":
        lambda m: (m.q @ m.k.mT).softmax(-1),
    "φ stands on the products of queries and keys: it belongs to each of the two.": lambda m: phi(m.q @ m.k.mT),
    "there is a softmax after φ: a division is enough.": lambda m: (m.a @ m.e.mT).softmax(-1),
    "that is efficient attention, with two softmaxes: here φ = elu + 1.":
        lambda m: m.q.softmax(-1) @ m.k.softmax(-2).mT,
    "each position sees itself and earlier ones only (a running sum): sum over all.": lambda m: (m.a @ m.e.mT).tril(),
}  # fmt: skip
DIVISOR: Table = {  # with the weights so far, s, in place of the sum of each row
    "the normalizer is missing: divide each query's mixture by the sum of its weights, φ(q)·Σφ(k).": lambda m: 1,
    "you divide by N: the weights of a query add up to φ(q)·Σφ(k).": lambda m: m.q.shape[-2],
    "you divide by √d: the weights of a query add up to φ(q)·Σφ(k).": lambda m: m.q.shape[-1] ** 0.5,
    "you divide by the sum of all keys: φ(q) has to meet it, too.": lambda m: m.e.sum((-2, -1), True),
    "you divide by the sum of each query's features: φ(k) belongs there, too.": lambda m: m.a.sum(-1, True),
    "you divide by √d as well, which belongs to the softmax.": lambda m: m.s.sum(-1, True) * m.q.shape[-1] ** 0.5,
    "you sum the queries in the normalizer: φ(q) meets the sum of the keys.":
        lambda m: (m.a * m.a.sum(-2, True)).sum(-1, True),
    "columns add up to 1: each query needs the sum of its own row.": lambda m: m.s.sum(-2, True),
    "queries and keys have changed places in the normalizer: the keys are summed.": lambda m: m.s.sum(-2)[..., None],
    "each query meets its own key only in the normalizer: sum all keys.": lambda m: (m.a * m.e).sum(-1, True),
    "the sum over the keys should keep their d channels apart, so that each meets its channel of the query.":
        lambda m: (m.a * m.e.sum((-2, -1), True)).sum(-1, True),
    "you sum the keys over their channels in the normalizer: sum over the positions.":
        lambda m: (m.a * m.e.sum(-1, True)).sum(-1, True),
    "you sum the keys over the images (axis 0) in the normalizer: sum over the positions.":
        lambda m: (m.a * m.e.sum(0)).sum(2, True),
    "you take the mean of the keys in the normalizer, but their sum in the mixture.": lambda m: m.s.mean(-1, True),
    "φ is missing on queries and keys in the normalizer.": lambda m: sums(m.q, m.k),
    "φ is missing on the keys in the normalizer.": lambda m: sums(m.a, m.k),
    "φ is missing on the queries in the normalizer.": lambda m: sums(m.q, m.e),
    "you divide channel by channel of the keys: the division comes once per query.":
        lambda m: m.s / (m.a @ (m.e / m.e.sum(-2, True)).mT),
    "you average the normalizer over the d channels: add up.": lambda m: m.s.sum(-1, True) / m.q.shape[-1],
    "you multiply by the normalizer: divide.": lambda m: 1 / m.s.sum(-1, True),
}  # fmt: skip
SUMMARY: Table = {  # with the result so far, r, in place of nothing
    "the normalizer is one number per query: add φ(q)·Σφ(k) up over the d channels.":
        lambda m: m.s @ m.v / (m.a * m.e.sum(-2, True)),
    "φ is missing on queries and keys in the mixture.": lambda m: m.q @ m.k.mT @ m.v / sums(m.a, m.e),
    "φ is missing on the keys in the mixture.": lambda m: m.a @ m.k.mT @ m.v / sums(m.a, m.e),
    "φ is missing on the queries in the mixture.": lambda m: m.q @ m.e.mT @ m.v / sums(m.a, m.e),
    "the sums run over the images as well: each image attends to itself.":
        lambda m: m.a @ (m.e.mT @ m.v).sum(0) / (m.a @ m.e.sum((0, 1)))[..., None],
    "reshape or view in place of a transpose relabels numbers where they lie: take .mT or transpose(-1, -2).":
        lambda m: m.a @ (m.e.reshape(m.e.mT.shape) @ m.v) / m.s.sum(-1, True),
}  # fmt: skip
LINEAR = {"features": FEATURES, "on_queries": ON_QUERIES, "on_keys": ON_KEYS, "weights": WEIGHTS, "divisor": DIVISOR,
          "mix": MIX | MIX_ROWS, "values": {"φ is on the values, too: they may have any sign.": phi},
          "summary": SUMMARY}  # fmt: skip
LINEAR_VALUES = {"summary": "the result, BNC", "values": "the values, BNC", "features": "φ(q) and φ(k), BNC",
                 "on_queries": "φ(q), BNC", "on_keys": "φ(k), BNC", "enter": "queries and keys, BNC",
                 "weights": "the products φ(q)·φ(k), BQN", "divisor": "the normalizer, BQ"}  # fmt: skip
