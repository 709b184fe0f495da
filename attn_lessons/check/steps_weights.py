"""A weighted average, and gates of two kinds, in steps; what people write in place of each."""

from itertools import permutations

import torch

from .slips import ALONG
from .steps import MIX, NORMALISE, SCALE, Table, keep


# --------------------------------------------------------------------------------------------------- weighted average
def averaged(v, s, values=keep, scores=keep, normalise=lambda s: s.softmax(0), mix=torch.matmul,
             whole=None):  # fmt: skip
    """(N, C), (N,) → (C,)."""
    return whole(v, s) if whole else mix(normalise(scores(s)), values(v))


WHOLE: Table = {  # values, scores → average, in place of all steps
    "the softmax stands on scores × values: first weights from the scores alone, then the average.":
        lambda v, s: ((s[:, None] * v).softmax(0) * v).sum(0),
    "your weights come from the values: they should come from the scores.": lambda v, s: (v.softmax(0) * v).sum(0),
    "softmax and scores are on the wrong things: weights are the softmax of the scores, and they weight the values.":
        lambda v, s: s @ v.softmax(0),
    "you divide the scores by √C: take them as they are.": lambda v, s: (s / v.shape[1] ** 0.5).softmax(0) @ v,
}  # fmt: skip
AVERAGE = {"normalise": NORMALISE, "mix": MIX, "whole": WHOLE}
AVERAGE_VALUES = {"mix": "the result, C", "normalise": "the weights, I", "scores": "the scores, I",
                  "values": "the values, IC"}  # fmt: skip


# --------------------------------------------------------------------------------------------------- two kinds of gates
AXES = "images", "channels", "rows", "columns"


def laid(gate: torch.Tensor, *axes: int) -> torch.Tensor:
    """Its axes become these of four, and the others get size 1."""
    return gate[(...,) + (None,) * (4 - len(axes))].movedim(tuple(range(len(axes))), axes)


def laid_wrong(name: str, right: tuple[int, ...], wanted: str) -> Table:
    """Gates on other axes, which runs where sizes are equal."""
    return {
        f"where sizes are equal, your {name} gates lie along {', '.join(AXES[a] for a in axes)}: they must become "
        f"{wanted} before you multiply.": lambda g, axes=axes: laid(g, *axes)
        for axes in permutations(range(4), len(right))
        if axes != right
    }


GATED = {
    "lay_channels": laid_wrong("channel", (0, 1), "(B, C, 1, 1)"),
    "lay_positions": laid_wrong("position", (0, 2, 3), "(B, 1, H, W)"),
    "channels": {"the channel gates are missing: multiply by both kinds.": torch.ones_like},
    "positions": {"the position gates are missing: multiply by both kinds.": torch.ones_like} | {
        f"{what.format('the position gates', 'positions')}: leave that out.":
            lambda p, wrong=wrong: wrong(p.flatten(1), 1).reshape(p.shape) for what, wrong in ALONG.items()
    },
    "meet": {  # (B, C, 1, 1), (B, 1, H, W) → (B, C, H, W), in place of their product
        "you add where two gates meet: a closed channel stays closed at an open position. Multiply.": torch.add,
        "you average the two gates: multiply by both.": lambda c, p: (c + p) / 2,
        "the larger of the two gates wins: multiply by both.": torch.maximum,
        "the smaller of the two gates wins: multiply by both.": torch.minimum,
        "one open gate is enough with your formula: multiply by both.": lambda c, p: c + p - c * p,
        "one gate is the other's exponent: multiply by both.": torch.pow,
    },
    "apply": SCALE | {
        "images and channels have changed places in your result.": lambda x, g: (x * g).transpose(0, 1),
        "rows and columns have changed places in your result.": lambda x, g: (x * g).mT,
    },
}  # fmt: skip
GATED_VALUES = {"apply": "the result, BCHW", "gates": "the gates, B", "channels": "the channel gates, BC",
                "positions": "the position gates, BHW", "meet": "the product of the gates, BCHW", "enter": "x, BCHW",
                }  # fmt: skip


def gated(x, channel, position, enter=keep, gates=keep, channels=keep, positions=keep, meet=torch.mul, apply=torch.mul,
          lay_channels=lambda c: laid(c, 0, 1), lay_positions=lambda p: laid(p, 0, 2, 3)):  # fmt: skip
    """(B, C, H, W), (B, C), (B, H, W) → (B, C, H, W)."""
    return apply(enter(x), meet(lay_channels(channels(gates(channel))), lay_positions(positions(gates(position)))))
