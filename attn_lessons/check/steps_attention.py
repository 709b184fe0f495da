"""Softmax attention and linear attention in steps, and what people write in place of each."""

from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from .steps import MIX, MIX_ROWS, NORMALISE, NORMALISE_ROWS, SCORES, Table

# --------------------------------------------------------------------------------------------------- softmax attention
AGAIN: Table = {  # s (over √d), q, v → s, so that another divisor may come with another mistake
    "the scores are not divided by √d.": lambda s, q, v: s * q.shape[2] ** 0.5,
    "you divide by the root of the values' width: it is the width d of a query.":
        lambda s, q, v: s * (q.shape[2] / v.shape[2]) ** 0.5,
}  # fmt: skip
COSINE: Table = {  # beside SCORES
    "you divide queries and keys by their length before q kᵀ / √d: take them as they are.":
        lambda q, k: dot(F.normalize(q, dim=2), F.normalize(k, dim=2)),
}  # fmt: skip
AFTER: Table = {  # result, q, k, v → result, in place of nothing
    "you divide by √d after the softmax, so rows no longer add up to 1: divide the scores.":
        lambda r, q, k, v: (q @ k.mT).softmax(2) @ v / q.shape[2] ** 0.5,
    "you divide by √d after the softmax as well: divide the scores only.": lambda r, q, k, v: r / q.shape[2] ** 0.5,
    "positions of different images look at each other: each image attends to itself.":
        lambda r, q, k, v: soft(*(t.flatten(0, 1)[None] for t in (q, k, v))).view_as(v),
}  # fmt: skip
SOFT = {"scores": SCORES | COSINE, "again": AGAIN, "normalise": NORMALISE | NORMALISE_ROWS, "mix": MIX | MIX_ROWS}
SOFT["after"] = AFTER


def dot(q, k):
    return q @ k.mT / q.shape[2] ** 0.5


def soft(q, k, v, scores=dot, again=lambda s, q, v: s, normalise=lambda s: s.softmax(2), mix=torch.matmul,
         after=lambda r, q, k, v: r):  # fmt: skip
    return after(mix(normalise(again(scores(q, k), q, v)), v), q, k, v)


# --------------------------------------------------------------------------------------------------- linear attention
def phi(x):
    return F.elu(x) + 1


FEATURES: Table = {  # queries or keys → positive features, in place of φ
    "there is no φ: without it, weights may be negative, and their sum near 0.": lambda z: z,
    "that is elu without + 1, which goes down to −1: weights must be positive.": F.elu,
    "that is x + 1 without elu: weights must be positive.": lambda z: z + 1,
    "that is ReLU: here φ = elu + 1.": lambda z: z.relu() + 1e-6,
    "that is ReLU + 1, which is 1 for every negative number: here φ = elu + 1.": lambda z: z.relu() + 1,
    "that is exp: it is positive as well, but here φ = elu + 1.": torch.exp,
    "that is a sigmoid: here φ = elu + 1.": torch.sigmoid,
    "that is softplus: it is positive as well, but here φ = elu + 1.": F.softplus,
    "that is GELU + 1: here φ = elu + 1.": lambda z: F.gelu(z) + 1,
    "you add 1 before elu: after it, so that nothing is negative.": lambda z: F.elu(z + 1),
    "you turn the sign round before elu: take elu(x) + 1.": lambda z: phi(-z),
    "φ is applied twice.": lambda z: phi(phi(z)),
    "φ is squared.": lambda z: phi(z).square(),
    "you divide by √d, which belongs to the softmax: φ takes q, k as they are.": lambda z: phi(z / z.shape[2] ** 0.5),
    "you divide by ⁴√d, which belongs to exp: φ takes q and k as they are.": lambda z: phi(z / z.shape[2] ** 0.25),
    "you divide by lengths before φ: φ takes q and k as they are.": lambda z: phi(F.normalize(z, dim=2)),
    "there is a softmax over the channels after φ: φ alone.": lambda z: phi(z).softmax(2),
    "there is a softmax over the positions after φ: φ alone.": lambda z: phi(z).softmax(1),
    "a softmax over the channels in place of φ: here φ = elu + 1.": lambda z: z.softmax(2),
    "a softmax over the positions in place of φ: here φ = elu + 1.": lambda z: z.softmax(1),
    "you square: positive, but a query then weighs its opposite like itself.": torch.square,
    "you take absolute values: positive, but a query then weighs its opposite like itself.": torch.abs,
} | {
    f"that is a leaky ReLU (slope {s}), still negative for negative numbers: weights must be positive.":
        partial(F.leaky_relu, negative_slope=s) for s in (0.01, 0.1, 0.2, 0.3)
}  # fmt: skip
ON_KEYS: Table = {f"on the keys: {idea}": step for idea, step in FEATURES.items()}
ON_QUERIES: Table = {f"on the queries: {idea}": step for idea, step in FEATURES.items()
                     if step is not torch.exp}  # a softmax over channels, but for a factor that cancels  # fmt: skip
WEIGHTS: Table = {  # a = φ(q), e = φ(k), q, k → weights before the division, in place of a eᵀ
    "queries and keys have changed places.": lambda m: m.e @ m.a.mT,
    "the queries are compared with themselves: compare queries with keys.": lambda m: m.a @ m.a.mT,
    "the keys are compared with themselves: compare queries with keys.": lambda m: m.e @ m.e.mT,
    "that is softmax attention over N × N: replace exp by φ, and set the brackets anew.":
        lambda m: dot(m.q, m.k).softmax(2),
    "that is softmax attention over N × N, without √d: replace exp by φ, and set the brackets anew.":
        lambda m: (m.q @ m.k.mT).softmax(2),
    "there is a softmax after φ: a division is enough.": lambda m: (m.a @ m.e.mT).softmax(2),
    "there is a softmax with √d after φ: a division is enough.": lambda m: dot(m.a, m.e).softmax(2),
    "that is efficient attention, with two softmaxes: here φ = elu + 1.": lambda m: m.q.softmax(2) @ m.k.softmax(1).mT,
    "each position sees itself and earlier ones only (a running sum): sum over all.": lambda m: (m.a @ m.e.mT).tril(),
}  # fmt: skip
DIVISOR: Table = {  # with the weights so far, s, in place of the sum of each row
    "the normaliser is missing: divide each query's mixture by the sum of its weights, φ(q)·Σφ(k).": lambda m: 1,
    "you divide by N: the weights of a query add up to φ(q)·Σφ(k).": lambda m: m.q.shape[1],
    "you divide by √d: the weights of a query add up to φ(q)·Σφ(k).": lambda m: m.q.shape[2] ** 0.5,
    "you divide by d: the weights of a query add up to φ(q)·Σφ(k).": lambda m: m.q.shape[2],
    "you divide by the sum of all keys: φ(q) has to meet it, too.": lambda m: m.e.sum((1, 2), True),
    "you divide by the sum of each query's features: the keys have a say.": lambda m: m.a.sum(2, True),
    "you divide by the sum of all queries: each query has its own.": lambda m: m.a.sum((1, 2), True),
    "you add φ(q) and Σφ(k) in the normaliser: multiply.": lambda m: (m.a + m.e.sum(1, True)).sum(2, True),
    "one divisor for the whole image: each query has the sum of its own weights.": lambda m: m.s.sum((1, 2), True),
    "columns add up to 1: each query needs the sum of its own row.": lambda m: m.s.sum(1, True),
    "queries and keys have changed places in the normaliser: the keys are summed.": lambda m: m.s.sum(1)[..., None],
    "each query meets its own key only in the normaliser: sum all keys.": lambda m: (m.a * m.e).sum(2, True),
    "the sum over the keys should keep their d channels apart, so that each meets its channel of the query.":
        lambda m: (m.a * m.e.sum((1, 2), True)).sum(2, True),
    "you average the normaliser over d channels: add up.": lambda m: m.s.sum(2, True) / m.q.shape[2],
    "you take the mean of the keys in the normaliser, but their sum in the mixture.": lambda m: m.s.mean(2, True),
    "you take the mean in the mixture, but the sum in the normaliser.": lambda m: m.s.sum(2, True) * m.q.shape[1],
    "φ is missing on queries and keys in the normaliser.": lambda m: (m.q @ m.k.mT).sum(2, True),
    "φ is missing on the keys in the normaliser.": lambda m: (m.a @ m.k.mT).sum(2, True),
    "φ is missing on the queries in the normaliser.": lambda m: (m.q @ m.e.mT).sum(2, True),
    "φ is missing on the keys in the mixture.": lambda m: m.s / (m.a @ m.k.mT) * m.s.sum(2, True),
    "φ is missing on the queries in the mixture.": lambda m: m.s / (m.q @ m.e.mT) * m.s.sum(2, True),
    "you sum the keys over their channels in the normaliser: sum over the positions.":
        lambda m: (m.a * m.e.sum(2, True)).sum(2, True),
    "φ is in the normaliser only: the mixture needs it, too.": lambda m: m.s / (m.q @ m.k.mT) * m.s.sum(2, True),
    "you divide channel by channel of the keys: the division comes once per query.":
        lambda m: m.s / (m.a @ (m.e / m.e.sum(1, True)).mT),
    "you divide by the root of the normaliser.": lambda m: m.s.sum(2, True).sqrt(),
    "you divide by the length of each row of weights: by its sum.": lambda m: m.s.norm(dim=2, keepdim=True),
    "you add 1 to the normaliser: weights add up to less than 1.": lambda m: 1 + m.s.sum(2, True),
    "you divide by the normaliser twice.": lambda m: m.s.sum(2, True).square(),
    "you multiply by the normaliser: divide.": lambda m: 1 / m.s.sum(2, True),
    "the normaliser adds up the keys of all images.": lambda m: (m.a @ m.e.sum((0, 1)))[..., None],
}  # fmt: skip
SUMMARY: Table = {  # with the result so far, r, in place of nothing
    "φ is on the values, too: they may have any sign.": lambda m: m.w @ phi(m.v),
    "every position gets the plain mean: the queries have no say.": lambda m: m.v.mean(1, True).expand_as(m.v),
    "you divide by the sum of the result: by the sum of the weights, φ(q)·Σφ(k).": lambda m: m.r / m.r.sum(2, True),
    "you divide the summary by its sum: divide each query's mixture by the sum of its weights.":
        lambda m: m.a @ (m.e.mT @ m.v / (m.e.mT @ m.v).sum(1, True)),
    "that is the normaliser alone: divide the mixture by it.": lambda m: m.s.sum(2, True).expand_as(m.v),
    "the sums run over the images as well: each image attends to itself.":
        lambda m: m.a @ (m.e.mT @ m.v).sum(0) / (m.a @ m.e.sum((0, 1)))[..., None],
    "the summary adds up all images: each image attends to itself.":
        lambda m: m.a @ (m.e.mT @ m.v).sum(0) / m.s.sum(2, True),
    "every image uses the summary of the first one: each has its own.":
        lambda m: m.a @ (m.e.mT @ m.v)[:1] / m.s.sum(2, True),
    "reshape or view in place of a transpose relabels numbers where they lie: take .mT or transpose(1, 2).":
        lambda m: m.a @ (m.e.reshape(m.e.mT.shape) @ m.v) / m.s.sum(2, True),
}  # fmt: skip
LINEAR = {"features": FEATURES, "weights": WEIGHTS, "divisor": DIVISOR, "mix": MIX | MIX_ROWS, "summary": SUMMARY}
ONE_SIDE = {"on_queries": ON_QUERIES, "on_keys": ON_KEYS}


def linear(q, k, v, features=phi, on_queries=None, on_keys=None, weights=lambda m: m.a @ m.e.mT,
           divisor=lambda m: m.s.sum(2, True), mix=torch.matmul, summary=lambda m: m.r):  # fmt: skip
    """By the definition, with all pairs: then every step can be exchanged."""
    m = SimpleNamespace(q=q, k=k, v=v, a=(on_queries or features)(q), e=(on_keys or features)(k))
    m.s = weights(m)
    m.w = m.s / divisor(m)
    m.r = mix(m.w, v)
    return summary(m)
