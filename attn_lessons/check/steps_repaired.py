"""A module with linear attention in steps: its layers, and what people write on the way in and out."""

from collections.abc import Iterator
from functools import partial
from itertools import permutations, product

import torch
import torch.nn.functional as F
from torch import nn

from . import core
from .core import shape_of
from .steps import Table, keep
from .steps_linear import LINEAR, linear, phi


def repaired(
    x, roles, cut=lambda x: x.flatten(2).mT, layers=lambda t, m, attend: m[3](attend(m[0](t), m[1](t), m[2](t))),
    back=lambda y, shape: y.mT.reshape(shape), join=torch.add, features=phi, values=keep, summary=lambda m: m.r, **steps
):  # fmt: skip
    attend = partial(linear, features=features, values=values, summary=summary, **steps)
    return join(x, back(layers(cut(x), roles, attend), x.shape))


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
    "one layer makes queries and keys: the other one is never used.":
        lambda t, m, attend: m[3](attend(m[0](t), m[0](t), m[2](t))),
    "you use value a second time in place of out.": lambda t, m, attend: m[2](attend(m[0](t), m[1](t), m[2](t))),
    "you add the tokens before out: x is added once, at the end.":
        lambda t, m, attend: m[3](t + attend(m[0](t), m[1](t), m[2](t))),
}  # fmt: skip
JOIN: Table = {  # x, y → result, in place of x + y
    "x is not added: the tutorial's module returns x + out.": lambda x, y: y,
    "x is added twice.": lambda x, y: 2 * x + y,
    "you subtract the result from x: add it.": lambda x, y: x - y,
    "you multiply x by the result: add it.": lambda x, y: x * y,
    "you make a gate of the result: add it to x instead.": lambda x, y: x * y.sigmoid(),
    "x comes back as it is: nothing is added.": lambda x, y: x,
}
MODULE = {"cut": CUT, "layers": LAYERS, "back": BACK, "join": JOIN, **LINEAR}
MODULE_VALUES = {"join": "the result, BCHW", "layers": "the output of out, BNC", "cut": "the tokens, BNC",
                 "summary": "the mixture, BNC", "values": "the values, BNC",
                 "features": "φ(q) and φ(k), BNC"}  # fmt: skip


def roles_in(module: nn.Module, c: int, r: int) -> Iterator[tuple]:
    """What may be (query, key, value, out), for all that the sizes allow; as layers or as bare parameters."""
    core.learned(module, "layers must be attributes (self.query = …)")
    named = sorted(module.named_parameters(), key=lambda named: [letter not in named[0] for letter in "qkv"])
    d, every = c // r, [p for _, p in named]  # query, key, value, out, if their names say so
    weights, biases = ([p for p in every if (p.squeeze().dim() > 1) == matrix] for matrix in (True, False))
    shapes = ", ".join(shape_of(*p.shape) for p in weights)
    has, wanted = sum(p.numel() for p in every), 2 * (c * d + d) + 2 * (c * c + c)
    core.expect_all(
        (len(weights) == 4, f"your module has {len(weights)} linear layers or convolutions (a layer in two places "
         "counts once); the tutorial's has four: query, key, value and out."),
        (all(p[0, 0].numel() == 1 for p in weights), "one of your layers looks at neighbours: each of the four mixes "
         "the channels of one position (nn.Linear, or a 1 × 1 convolution)."),
        (sorted(sorted(p.shape[:2]) for p in weights) == [[d, c]] * 2 + [[c, c]] * 2, f"with in_dim={c} and "
         f"reduction={r}, query and key go from {c} to {c} // {r} = {d} channels, value and out from {c} to {c}; your "
         f"weights have shapes {shapes}."),
        (len(biases) >= 4, "some of your layers are without a bias. The tutorial's have one, and checkpoints hold it."),
        (all(p.requires_grad for p in every), "some of your parameters have requires_grad=False: they cannot learn."),
        (has == wanted, f"your module has {has:,} parameters instead of {wanted:,}: is there more in it than four "
         "layers?"),
    )  # fmt: skip
    with torch.no_grad():  # a trace of every wrong idea
        for p in every:
            p.copy_(torch.randn_like(p) * (1.5 / c**0.5 if p.numel() > c else 1))
    weights, biases = ([p.detach().clone().squeeze() for p in some] for some in (weights, biases))
    narrow = [w.T if len(w) == c else w for w in weights if w.numel() < c * c]
    wide = [w for w in weights if w.numel() == c * c]
    small, large = ([b for b in biases if len(b) == size] for size in (d, c))  # in the order of their weights
    for turned in product((False, True), repeat=2):
        square = [w.T if turn else w for w, turn in zip(wide, turned, strict=True)]
        pairs = zip(narrow, small, strict=True), zip(square, large, strict=True)
        for chosen in product(*map(permutations, pairs)):
            yield tuple(partial(F.linear, weight=weight, bias=bias) for pair in chosen for weight, bias in pair)
