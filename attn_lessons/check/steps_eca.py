"""What people write in place of a step of ECA: a kernel that slides along the channels, and the recipe for its size."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from .steps import GATE, SCALE, Table
from .steps_channels import POOLED, keep, squeezed


# ------------------------------------------------------------------------------------------------ ECA
def line(s, w, shift=0, mode="constant", dilation=1):
    """A convolution along the channels, padded at both ends, and shifted by so many channels."""
    half = dilation * (len(w) // 2)
    padded = F.pad(s[:, None], (half + shift, half - shift), mode=mode)
    return F.conv1d(padded, w[None, None], dilation=dilation)[:, 0]


def eca(x, weight, squeeze=squeezed, kernel=keep, slide=line, gate=torch.sigmoid, scale=torch.mul):
    return scale(x, gate(slide(squeeze(x), kernel(weight)))[:, :, None, None])


ECA_VALUES = {"gate": "the gates, BC", "slide": "the scores, BC", "squeeze": "the means, BC",
              "kernel": "the kernel, N", "scale": "the result, BCHW"}  # fmt: skip
SLIDE: Table = {  # (B, C), (k,) → (B, C), in place of `line`
    "only the middle weight of your kernel is used: along which axis does it slide? Conv1d slides along the last one.":
        lambda s, w: w[len(w) // 2] * s,
    "your kernel is mirrored: its first weight belongs to the channel before, as in conv1d.":
        lambda s, w: line(s, w.flip(0)),
    "your convolution slides along the images of the batch: the channels must be the last axis, (B, 1, C).":
        lambda s, w: line(s.T.contiguous(), w).T,
    "your convolution runs on from one image into the next: keep the batch apart, (B, 1, C).":
        lambda s, w: line(s.reshape(1, -1), w).view_as(s),
    "you add the means to the convolution (a residual): leave them out.": lambda s, w: s + line(s, w),
    "you stretch fewer gates to as many as channels: keep their number by padding.":
        lambda s, w: F.interpolate(F.conv1d(s[:, None], w[None, None]), s.shape[1])[:, 0],
    "your kernel skips channels (dilation): it reads the ones right beside its own.": partial(line, dilation=2),
    "your padding wraps round, from the last channel to the first: pad with zeros.": partial(line, mode="circular"),
    "your padding repeats the channels at the ends: pad with zeros.": partial(line, mode="replicate"),
    "your padding mirrors the ends: pad with zeros.": partial(line, mode="reflect"),
}  # fmt: skip
for d in (1, 2, 3):
    SLIDE[f"the middle weight reads the channel {d} before its own: pad both ends alike."] = partial(line, shift=d)
    SLIDE[f"the middle weight reads the channel {d} after its own: pad both ends alike."] = partial(line, shift=-d)
MEANS: Table = {idea: step for idea, step in POOLED.items() if not idea.startswith("reshape mixes")} | {
    "a mean is left for every column: average over dimensions 2 and 3, H and W.": lambda x: x.mean((1, 2))
}
WIDE: Table = {"your gates weight the columns: give them the shape (B, C, 1, 1).": lambda x, g: x * g.transpose(1, 3)}
ECA = {"squeeze": MEANS, "slide": SLIDE, "gate": GATE, "scale": SCALE | WIDE}


# ------------------------------------------------------------------------------------------------ the kernel size
def size_of(c, gamma, b, defaults=lambda gamma, b: (gamma, b), log=math.log2,
            t=lambda c, gamma, b, log: log(c) / gamma + b / gamma, whole=int, odd=lambda k, t: k | 1):  # fmt: skip
    t = t(c, *defaults(gamma, b), log)
    return odd(whole(t), t)


def recipe(cases, **steps):
    return torch.tensor([size_of(*case, **steps) for case in cases])


DEFAULTS: Table = {
    "gamma is 2 and b is 1 where nothing else is said: yours have changed places.":
        lambda gamma, b: (1, 2) if (gamma, b) == (2, 1) else (gamma, b),
}  # fmt: skip
LOG: Table = {  # in place of log₂
    "that is the natural logarithm (math.log, torch.log, np.log): the formula has the one to base 2.": math.log,
    "that is the logarithm to base 10: the formula has the one to base 2.": math.log10,
    "that is the square root of C: the formula has its logarithm.": math.sqrt,
    "that is the logarithm of C + 1: the formula has that of C.": lambda c: math.log2(c + 1),
    "the logarithm is missing: the size would grow with C itself.": lambda c: c,
    "bit_length is the logarithm without its decimals, and 1 more: take log₂.": lambda c: int(c).bit_length(),
}
T: Table = {  # C, γ, b, log → t
    "the term b / gamma is missing.": lambda c, g, b, log: log(c) / g,
    "b and gamma have changed places: gamma divides, b is added.": lambda c, g, b, log: log(c) / b + g / b,
    "b is added whole: in the formula it is divided by gamma as well.": lambda c, g, b, log: log(c) / g + b,
    "you drop the decimals of each part before they are added: add first, and drop decimals once.":
        lambda c, g, b, log: int(log(c) / g) + int(b / g),
    "you multiply by gamma: the formula divides by it.": lambda c, g, b, log: log(c) * g + b,
    "you took the logarithm alone: gamma and b are missing.": lambda c, g, b, log: log(c),
    "b / gamma is added, not taken away.": lambda c, g, b, log: log(c) / g - b / g,
    "b is added after the logarithm, not inside.": lambda c, g, b, log: log(c + b) / g,
    "gamma divides the logarithm, not C.": lambda c, g, b, log: log(c / g) + b / g,
    "gamma divides b only: it divides the logarithm, too.": lambda c, g, b, log: log(c) + b / g,
    "b is typed in as 1: use the argument.": lambda c, g, b, log: log(c) / g + 1 / g,
    "gamma is typed in as 2: use the argument.": lambda c, g, b, log: log(c) / 2 + b / 2,
    "your answers stay the same whatever gamma and b are: numbers typed in, or a table, do not use the arguments.":
        lambda c, g, b, log: log(c) / 2 + 1 / 2,
    "gamma divides both terms: b is not added to gamma.": lambda c, g, b, log: log(c) / (g + b),
}  # fmt: skip
WHOLE: Table = {  # in place of dropping the decimals
    "you round to the nearest whole number first: drop the decimals instead, and make it odd only then.": round,
    "you round up first: drop the decimals instead.": math.ceil,
}
ODD: Table = {  # t without its decimals, t → k
    "you make an even number odd by taking 1 away; the recipe adds 1.": lambda k, t: k - 1 + k % 2,
    "some of your sizes are even: a window needs a middle. Where t without its decimals is even, take one more.":
        lambda k, t: k,
    "you test whether t is even before its decimals are dropped: drop them first.":
        lambda k, t: int(t + 1 if t % 2 == 0 else t),
    "you add 1 always: only an even number needs it.": lambda k, t: k + 1,
    "you add 1, and then make it odd: only an even number needs 1 more.": lambda k, t: (k + 1) | 1,
    "you turn it round, and make odd numbers even: even ones should become odd.": lambda k, t: k + k % 2,
    "you take the nearest odd number: drop the decimals of t, and then add 1 to an even number.":
        lambda k, t: 2 * round((t - 1) / 2) + 1,
    "you round half of t, and so overshoot: drop the decimals of t, and add 1 only to an even number.":
        lambda k, t: 2 * round(t / 2) + 1,
    "for very few channels the formula gives 1, and you never return less than 3: leave out the lower limit.":
        lambda k, t: max(3, k | 1),
}  # fmt: skip
SIZE = {"defaults": DEFAULTS, "log": LOG, "t": T, "whole": WHOLE, "odd": ODD}
