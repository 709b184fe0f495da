"""What people do to any value that should stay as it is: a ReLU too many, a softmax, a mean over an axis."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

Table = dict[str, Callable]
AXES = {"B": "images", "C": "channels", "H": "rows", "W": "columns", "N": "positions", "K": "classes", "n": "points",
        "I": "items", "Q": "queries", "G": "groups"}  # fmt: skip
ANYWHERE: Table = {  # {0} should stay as it is
    "a ReLU stands on {0}": torch.relu,
    "you take absolute values of {0}": torch.abs,
    "a sigmoid stands on {0}": torch.sigmoid,
    "a tanh stands on {0}": torch.tanh,
    "you take exp of {0}": torch.exp,
    "you square {0}": torch.square,
    "you take the root of {0}": torch.sqrt,
    "you round {0}": torch.round,
    "you round {0} down (// does)": torch.floor,
    "you double {0}": lambda v: 2 * v,
    "you halve {0} (** 1/2 does)": lambda v: v / 2,
    "you turn round the sign of {0}": torch.neg,
    "you take 1 − {0}": lambda v: 1 - v,
    "you add 1 to {0}": lambda v: 1 + v,
}
ALONG: dict[str, Callable] = {  # d → the same along an axis, {1}
    "a softmax over the {1} stands on {0}": lambda v, d: v.softmax(d),
    "you divide {0} by the sum over the {1}": lambda v, d: v / v.sum(d, True),
    "you divide {0} by the length over the {1}": lambda v, d: F.normalize(v, dim=d),
    "you average {0} over the {1}": lambda v, d: v.mean(d, True).expand_as(v),
    "you add up {0} over the {1}": lambda v, d: v.sum(d, True).expand_as(v),
    "you subtract the mean over the {1} from {0}": lambda v, d: v - v.mean(d, True),
    "you turn round the order of {0} over the {1}": lambda v, d: v.flip(d),
}
IMAGES: Table = {  # where the first axis is that of the images
    "every image gets {0} of the first one": lambda v: v[:1].expand_as(v),
    "every image gets {0} of the last one": lambda v: v[-1:].expand_as(v),
    "the images are in reverse order in {0}": lambda v: v.flip(0),
}


def slips(value: str) -> Table:
    """What people do to a value that should stay as it is: ``slips("the gates, BC")``, with a letter for each axis."""
    name, _, axes = value.rpartition(", ")
    table = {f"{what.format(name)}: leave that out.": wrong for what, wrong in ANYWHERE.items()}
    if axes.startswith("B"):
        table |= {f"{what.format(name)}: each has its own.": wrong for what, wrong in IMAGES.items()}
    for d, letter in enumerate(axes):
        if letter in AXES:
            table |= {f"{what.format(name, AXES[letter])}: leave that out.": partial(wrong, d=d)
                      for what, wrong in ALONG.items()}  # fmt: skip
    return table
