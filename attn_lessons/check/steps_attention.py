"""Softmax attention in steps, and what people write in place of each."""

import torch

from .steps import MIX, MIX_ROWS, NORMALISE, NORMALISE_ROWS, SCORES, Table, keep


def dot(q, k):
    return q @ k.mT / q.shape[-1] ** 0.5


def soft(q, k, v, enter=keep, queries=keep, keys=keep, values=keep, scores=dot, again=lambda s, q, v: s,
         normalise=lambda s: s.softmax(-1), mix=torch.matmul, after=lambda r, q, k, v: r):  # fmt: skip
    q, k, v = queries(enter(q)), keys(enter(k)), values(v)
    return after(mix(normalise(again(scores(q, k), q, v)), v), q, k, v)


AGAIN: Table = {  # s (over √d), q, v → s, so that another divisor may come with another mistake
    "the scores are not divided by √d.": lambda s, q, v: s * q.shape[-1] ** 0.5,
    "you divide by the root of the values' width: it is the width d of a query.":
        lambda s, q, v: s * (q.shape[-1] / v.shape[-1]) ** 0.5,
    "you divide by √2, which is √d in the example by hand only: d is the width of a query.":
        lambda s, q, v: s * (q.shape[-1] / 2) ** 0.5,
}  # fmt: skip
AFTER: Table = {  # result, q, k, v → result, in place of nothing
    "you divide by √d after the softmax, so rows no longer add up to 1: divide the scores.":
        lambda r, q, k, v: (q @ k.mT).softmax(-1) @ v / q.shape[-1] ** 0.5,
    "you divide by √d after the softmax as well: divide the scores only.": lambda r, q, k, v: r / q.shape[-1] ** 0.5,
    "keys and values have changed places.": lambda r, q, k, v: soft(q, v, k),
    "the queries are compared with the values: compare them with the keys.": lambda r, q, k, v: soft(q, v, v),
    "the weights mix the keys: mix the values.": lambda r, q, k, v: soft(q, k, k),
}  # fmt: skip
SOFT = {"scores": SCORES, "again": AGAIN, "normalise": NORMALISE | NORMALISE_ROWS, "mix": MIX | MIX_ROWS,
        "after": AFTER}  # fmt: skip
SOFT_VALUES = {"mix": "the result, BNC", "again": "the scores, BQN", "normalise": "the weights, BQN",
               "values": "the values, BNC", "enter": "queries and keys, BNC", "queries": "the queries, BNC",
               "keys": "the keys, BNC"}  # fmt: skip
