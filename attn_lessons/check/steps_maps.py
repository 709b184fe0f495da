"""What people write in place of a step of spatial attention: two maps, a window over them, a gate per position."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from .steps import GATE, SCALE, Table

SUMMARIES: Table = {  # over the last axis, in place of its mean or its maximum
    "mean": lambda v: v.mean(-1),
    "maximum": lambda v: v.amax(-1),
    "minimum": lambda v: v.amin(-1),
    "sum": lambda v: v.sum(-1),
    "median": lambda v: v.median(-1).values,
    "standard deviation": lambda v: v.std(-1),
    "norm": lambda v: v.norm(dim=-1),
    "mean of the squares": lambda v: v.square().mean(-1),
    "mean of the absolute values": lambda v: v.abs().mean(-1),
    "maximum of the absolute values": lambda v: v.abs().amax(-1),
    "mean with negative values set to 0": lambda v: v.relu().mean(-1),
    "maximum with negative values set to 0": lambda v: v.relu().amax(-1),
    "*position* of the maximum (its index)": lambda v: v.argmax(-1).float(),
    "first value": lambda v: v[..., 0],
}


def in_place_of(right: str, last: Callable) -> Table:
    """The rows of one summary; ``last(x)`` has the axis to sum up at its end."""
    told = f"one of the two summaries is the {right}; in its place you take the "
    rows = {f"{told}{name}.": step for name, step in SUMMARIES.items() if name != right}
    return {idea: lambda x, step=step: step(last(x)) for idea, step in rows.items()}


def pair(one, two):
    return torch.stack([one, two], 1)


def zeros(maps, kernel, mode="constant", shift=0, dilation=1):
    """A convolution whose map is padded at both sides, and shifted by so many positions."""
    half = dilation * (kernel.shape[-1] // 2)
    return F.conv2d(F.pad(maps, (half + shift, half - shift) * 2, mode=mode), kernel, dilation=dilation)


def stretched(mode):
    return lambda v, k: F.interpolate(F.conv2d(v, k), v.shape[2:], mode=mode)


def spatial(
    x, kernel, bias, mean=lambda x: x.mean(1), most=lambda x: x.amax(1), maps=pair, slide=zeros,
    scores=lambda v: v, gate=torch.sigmoid, scale=torch.mul
):  # fmt: skip
    return scale(x, gate(scores(slide(maps(mean(x), most(x)), kernel) + bias)))


VALUES = {"gate": "the gates, B1HW", "scores": "the scores, B1HW", "maps": "the two maps, B2HW",
          "scale": "the result, BCHW"}  # fmt: skip
MEANS, MOSTS = (in_place_of(right, lambda x: x.movedim(1, -1)) for right in ("mean", "maximum"))
MAPS: Table = {  # the mean map, the maximum map → what the convolution reads, in place of `pair`
    "you add mean and maximum: the convolution reads them as two maps.": lambda a, m: pair(a + m, a + m),
    "you average mean and maximum: the convolution reads them as two maps.": lambda a, m: pair(a + m, a + m) / 2,
    "view mixes the two maps: join them with cat or stack along dimension 1.":
        lambda a, m: torch.stack([a, m], -1).reshape(len(a), 2, *a.shape[1:]),
    "the maps are joined along the batch, so that view mixes images: join them along dimension 1.":
        lambda a, m: torch.cat([a, m]).view(len(a), 2, *a.shape[1:]),
    "the maps are joined along W, so that view mixes positions: join them along dimension 1.":
        lambda a, m: torch.cat([a, m], 2).view(len(a), 2, *a.shape[1:]),
    "you pool over neighbouring positions as well: mean and maximum go over the channels only.":
        lambda a, m: pair(F.avg_pool2d(a, 3, 1, 1), F.max_pool2d(m, 3, 1, 1)),
} | {
    f"you pool over {name} as well: mean and maximum go over the channels only.":
        lambda a, m, d=d: pair(a.mean(d, True), m.amax(d, True))
    for d, name in enumerate(("the batch", "H", "W"))
}  # fmt: skip
SLIDE: Table = {  # two maps, kernel → scores, in place of `zeros`
    "your padding mirrors the map at its edges: pad with zeros.": partial(zeros, mode="reflect"),
    "your padding repeats the map at its edges: pad with zeros.": partial(zeros, mode="replicate"),
    "your padding wraps round from one edge to the other: pad with zeros.": partial(zeros, mode="circular"),
    "your window skips positions (dilation): it reads the ones right beside its own.": partial(zeros, dilation=2),
    "you stretch a smaller map to the size of x: keep the size by padding.": stretched("nearest"),
    "you stretch a smaller map (bilinear) to the size of x: keep the size by padding.": stretched("bilinear"),
}
for d in (1, 2, 3):
    SLIDE[f"your map is shifted by {d}: pad as much at the top and left as opposite."] = partial(zeros, shift=d)
    SLIDE[f"your map is shifted by {d}: pad as much at the bottom and right as opposite."] = partial(zeros, shift=-d)
MAP_GATE: Table = {idea: gate for idea, gate in GATE.items() if "channels" not in idea} | {
    "you divide the map by its sum: leave it as it is.": lambda v: v.sigmoid() / v.sigmoid().sum((2, 3), True),
    "you divide the map by its maximum: leave it as it is.": lambda v: v.sigmoid() / v.sigmoid().amax((2, 3), True),
} | {
    f"your map is a softmax over {name}, which compete for a sum of 1: take a sigmoid.":
        lambda v, dims=dims: v.exp() / v.exp().sum(dims, True)
    for name, dims in {"the positions": (2, 3), "the rows": 2, "the columns": 3, "the images": 0}.items()
}  # fmt: skip
OTHER = ("squeezed", "comes back")
MAP_SCALE: Table = {idea: step for idea, step in SCALE.items() if not any(word in idea for word in OTHER)} | {
    "x comes back as it is. Is the map used? (A softmax over a single map is 1 everywhere.)": lambda x, g: x,
    "you scale the mean map: multiply x itself.": lambda x, g: (x.mean(1, True) * g).expand_as(x),
    "you scale the maximum map: multiply x itself.": lambda x, g: (x.amax(1, True) * g).expand_as(x),
}
SPATIAL = {"mean": MEANS, "most": MOSTS, "maps": MAPS, "slide": SLIDE, "gate": MAP_GATE, "scale": MAP_SCALE}
