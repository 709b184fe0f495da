"""Exercises of lesson 03: the two halves of CBAM, channel attention and spatial attention."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from . import core
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .lesson02 import expect_hidden_units, fill, two_layers
from .steps import BETWEEN, GATE, SCALE, SQUEEZE, Table, explain

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
    "second value": lambda v: v[..., 1],
    "last value": lambda v: v[..., -1],
}


def in_place_of(right: str, last: Callable) -> Table:
    """The rows of one summary; ``last(x)`` has the axis to sum up at its end."""
    told = f"one of the two summaries is the {right}; in its place you take the "
    rows = {f"{told}{name}.": step for name, step in SUMMARIES.items() if name != right}
    return {idea: lambda x, step=step: step(last(x)) for idea, step in rows.items()}


# ------------------------------------------------------------------------------------------------ exercise 1
def plain(v):
    return v


MEAN: Table = {f"for the mean, {idea}": step for idea, step in SQUEEZE.items() if "CBAM" not in idea}
MOST: Table = in_place_of("maximum", lambda x: x.flatten(2)) | {
    "you take the maximum over H, then a mean over W: both axes want the maximum.": lambda x: x.amax(2).mean(2),
    "you take the maximum over W, then a mean over H: both axes want the maximum.": lambda x: x.amax(3).mean(2),
    "you average over H before you take the maximum: take it over H and W.": lambda x: x.mean(2).amax(2),
    "you average over W before you take the maximum: take it over H and W.": lambda x: x.mean(3).amax(2),
    "your maximum is one number for each image: each channel has its own.": lambda x: (
        0 * x[..., 0, 0] + x.amax((1, 2, 3))[:, None]
    ),
    "your maximum runs over the batch as well: each image has its own.": lambda x: x.amax((0, 2, 3)).expand(len(x), -1),
    "your maximum is one number for the whole batch: each channel has its own.": lambda x: x.amax().expand(x.shape[:2]),
    "reshape mixes channels: take the maximum over H and W.": lambda x: x.reshape(len(x), -1, x.shape[1]).amax(1),
}
WAY = "the ReLU is missing on the {}'s way through the MLP: both ways are the same."
ANSWERS: Table = {  # mean, maximum, MLP, gate → gates, in place of `added`
    "only the mean goes through the MLP, and that is SE: the maximum counts as well.": lambda a, m, f, g: g(f(a)),
    "only the maximum goes through the MLP: the mean counts as well.": lambda a, m, f, g: g(f(m)),
    "mean and maximum go straight into the sigmoid: the two layers are not used.": lambda a, m, f, g: g(a + m),
    "two gates are added and squashed again: one sigmoid is enough.": lambda a, m, f, g: g(g(f(a)) + g(f(m))),
    WAY.format("maximum"): lambda a, m, f, g: g(f(a) + f(m, plain)),
    WAY.format("mean"): lambda a, m, f, g: g(f(a, plain) + f(m)),
    "a ReLU stands after the second layer, too: leave it out.": lambda a, m, f, g: g(f(a).relu() + f(m).relu()),
    "the ReLU stands after the MLP: it belongs between its two layers.": lambda a, m, f, g: g(
        f(a, plain).relu() + f(m, plain).relu()
    ),
}
JOINED = {  # in place of a sum
    "add": torch.add,
    "average": lambda one, two: (one + two) / 2,
    "multiply": torch.mul,
    "subtract": torch.sub,
    "subtract (the mean from the maximum)": lambda one, two: two - one,
    "take the larger of": torch.maximum,
    "take the smaller of": torch.minimum,
}
for how, join in JOINED.items():
    early = (
        f"you {how} mean and maximum before the MLP: each goes through it by itself, then the two answers are added."
    )
    late = f"you {how} two gates: add the two answers of the MLP first, then take one sigmoid."
    instead = f"you {how} the two answers of the MLP: they are added."
    if how != "add":
        ANSWERS[instead] = lambda a, m, f, g, join=join: g(join(f(a), f(m)))
    if not how.startswith("take"):  # the larger of mean and maximum is the maximum
        ANSWERS[early] = lambda a, m, f, g, join=join: g(f(join(a, m)))
        ANSWERS[late] = lambda a, m, f, g, join=join: join(g(f(a)), g(f(m)))
MAXIMA: Table = {"you scale the maxima: multiply x itself.": lambda x, g: (x.amax((2, 3), True) * g).expand_as(x)}
CHANNEL = {"mean": MEAN, "most": MOST, "between": BETWEEN, "answers": ANSWERS, "gate": GATE, "scale": SCALE | MAXIMA}


def added(mean, most, mlp, gate):
    return gate(mlp(mean) + mlp(most))


def channel(
    x, w1, w2, mean=lambda x: x.mean((2, 3)), most=lambda x: x.amax((2, 3)), between=torch.relu, answers=added,
    gate=torch.sigmoid, scale=torch.mul
):  # fmt: skip
    return scale(x, answers(mean(x), most(x), lambda v, f=between: f(v @ w1.T) @ w2.T, gate)[:, :, None, None])


@exercise("mean and maximum through one MLP, one gate per channel: the channel half of CBAM, weight for weight.")
def check_channel_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 03: a class ``ChannelAttention(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((33, 5, 3, 7, 9), (24, 8, 5, 6, 6), (20, 8, 3, 1, 7), (9, 9, 3, 5, 6)):
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = core.away_from_zero(b, channels, h, w)
        x[:, ::3] = -x[:, ::3].abs()  # some maxima are negative
        core.learned(module)
        core.expect_scaled(call(module, x), x, "a gate per channel, and x keeps its shape.")
        w1, w2 = _fill_alive(module, channels, reduction, x)
        result, turned = call(module, x), (w2.T, w1.T)  # the same two parameters, used as s @ W

        def properties(module=module, x=x, result=result):
            position = "mean and maximum both go over H and W, so that a channel gets one gate."
            core.expect_channel_gates(module, x, result, position, "its mean and maximum must go through the MLP.")
            _expect_both_summaries(module, x, result / x)

        formula = "your gates come from another formula than σ(MLP(mean) + MLP(max)): go through it step by step."
        explain(result, channel, (x, w1, w2), CHANNEL, formula, attempt, properties, [(x, *turned)])
        properties()
        w1, w2 = (w1, w2) if same(result, channel(x, w1, w2)) else turned
        core.expect_learning(module, x, "your two layers")
        core.expect_same_gradient(module, lambda x, w1=w1, w2=w2: channel(x, w1, w2), x)
        core.expect_one_image(module, x)
        _expect_double(module, x, channel(x.double(), w1.double(), w2.double()))
    expect_hidden_units(attempt)


def _fill_alive(module: nn.Module, channels: int, reduction: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill the two layers so that the images' gates differ, whichever way round they are used; return them."""
    weights = [p for p in module.parameters() if p.dim() > 1]
    core.expect_all(
        (not any(2 * channels in p.shape for p in weights), f"one of your layers takes 2·C = {2 * channels} numbers: "
         "mean and maximum are not joined (cat); each goes through the MLP by itself."),
        (len(weights) != 4, "there are two MLPs, four weight matrices: mean and maximum share one and the same MLP."),
        (any(p.any() for p in weights), "all your weights start at 0, and so do all gradients: nothing would learn."),
    )  # fmt: skip
    layers = two_layers(module, channels, reduction, "the MLP")
    for _ in range(100):
        w1, w2 = fill(*layers)
        if all((channel(x, *both) / x).std(0).amax() > 0.1 for both in ((w1, w2), (w2.T, w1.T))):
            break
    return w1, w2


def _expect_both_summaries(module: nn.Module, x: torch.Tensor, gate: torch.Tensor) -> None:
    positions = x[0, 0].numel()
    shuffled = x.flatten(2)[:, :, torch.randperm(positions)].view_as(x)
    expect(
        same(call(module, shuffled) / shuffled, gate),
        "your gates change when the positions are shuffled: did mean and maximum both go over all of H and W?",
    )
    raised = x.flatten(2) - 3 / (positions - 1)  # one position up, all others down by as much in total: the mean stays
    raised[:, :, 0] += 3 + 3 / (positions - 1)
    raised = raised.view_as(x)
    expect(
        not torch.allclose(call(module, raised) / raised, gate, atol=1e-4, equal_nan=True),
        "your gates depend on the mean only: the maximum of each channel changes nothing.",
    )


def _expect_double(module: nn.Module, x: torch.Tensor, right: torch.Tensor) -> None:
    """The same in float64; the module stays so."""
    given = "weights and x in float64"
    result = core.one_tensor(core.guarded(module.double(), x.double(), given=given))
    precise = result.dtype == torch.float64 and torch.allclose(result, right, rtol=1e-9, atol=1e-9)
    expect(precise, f"for {given} your result is not in float64, or not as precise: do not name a dtype.")


# ------------------------------------------------------------------------------------------------ exercise 2
def pair(one, two):
    return torch.stack([one, two], 1)


def each(change):
    return lambda a, m: pair(change(a), change(m))


def pooled(dims):
    return lambda a, m: pair(a.mean(dims, True).expand_as(a), m.amax(dims, True).expand_as(m))


WHOLE = "as well: every position of every image keeps numbers of its own."
MAPS: Table = {  # the mean map, the maximum map → what the convolution reads, in place of `pair`
    "you add mean and maximum: the convolution reads them as two maps.": lambda a, m: pair(a + m, a + m),
    "you average mean and maximum: the convolution reads them as two maps.": lambda a, m: pair(a + m, a + m) / 2,
    "you set negative values to 0 before the convolution: leave them in.": each(torch.relu),
    "a sigmoid stands before the convolution as well: only the one at the end.": each(torch.sigmoid),
    "a softmax stands before the convolution: leave the two maps as they are.": lambda a, m: pair(a, m).softmax(1),
    "you average over the batch: each image has maps of its own.": each(lambda v: v.mean(0, True).expand_as(v)),
    "view mixes the two maps: join them with cat or stack along dimension 1.": lambda a, m: torch.stack(
        [a, m], -1
    ).reshape(len(a), 2, *a.shape[1:]),
    "you pool over neighbouring positions as well: mean and maximum go over the channels only.": lambda a, m: pair(
        F.avg_pool2d(a, 3, 1, 1), F.max_pool2d(m, 3, 1, 1)
    ),
    f"you pool over H {WHOLE}": pooled(1),
    f"you pool over W {WHOLE}": pooled(2),
    f"you pool over all positions {WHOLE}": pooled((1, 2)),
    f"you pool over the batch {WHOLE}": pooled(0),
}


def zeros(maps, kernel, mode="constant", before=1, after=1):
    """A convolution whose map is padded by so many halves of the kernel."""
    half = kernel.shape[-1] // 2
    return F.conv2d(F.pad(maps, (before * half, after * half) * 2, mode=mode), kernel)


SLIDE: Table = (
    {  # two maps, kernel → scores, in place of `zeros`
        "your padding mirrors the map at its edges: pad with zeros.": partial(zeros, mode="reflect"),
        "your padding repeats the map at its edges: pad with zeros.": partial(zeros, mode="replicate"),
        "your padding wraps round from one edge to the other: pad with zeros.": partial(zeros, mode="circular"),
        "your map is shifted, all padding is at the top and left: pad all sides alike.": partial(
            zeros, before=2, after=0
        ),
        "your map is shifted, all padding is at the bottom and right: pad all sides alike.": partial(
            zeros, before=0, after=2
        ),
        "you subtract the mean score: scores go straight into the sigmoid.": lambda v, k: (
            zeros(v, k) - zeros(v, k).mean((2, 3), True)
        ),
        "you average the scores over the positions: each has its own.": lambda v, k: zeros(v, k).mean((2, 3), True),
        "you add the mean map to the scores (a residual): leave it out.": lambda v, k: zeros(v, k) + v[:, :1],
        "you add the maximum map to the scores (a residual): leave it out.": lambda v, k: zeros(v, k) + v[:, 1:],
    }
    | {
        f"you stretch a smaller map ({mode}) to the size of x: keep the size by padding.": lambda v, k, mode=mode: (
            F.interpolate(F.conv2d(v, k), v.shape[2:], mode=mode)
        )
        for mode in ("nearest", "bilinear")
    }
)
OVER = {"the positions": (2, 3), "the rows": 2, "the columns": 3, "the images": 0}
MAP_GATE: Table = {idea: gate for idea, gate in GATE.items() if "channels" not in idea} | {
    "you divide the map by its sum: leave it as it is.": lambda v: v.sigmoid() / v.sigmoid().sum((2, 3), True),
    "you divide the map by its maximum: leave it as it is.": lambda v: v.sigmoid() / v.sigmoid().amax((2, 3), True),
    "you average the gates over the positions: each has its own.": lambda v: v.sigmoid().mean((2, 3), True),
    "you take the largest gate for all positions: each has its own.": lambda v: v.sigmoid().amax((2, 3), True),
    "you round the gates to 0 or 1: leave them in between.": lambda v: v.sigmoid().round(),
} | {
    f"your map is a softmax over {name}, which compete for a sum of 1: take a sigmoid.": lambda v, dims=dims: (
        v.exp() / v.exp().sum(dims, True)
    )
    for name, dims in OVER.items()
}  # fmt: skip
MAP_SCALE: Table = {
    idea: step for idea, step in SCALE.items() if not any(word in idea for word in ("squeezed", "channels", "comes"))
} | {
    "x comes back as it is. Is the map used? (A softmax over a single map is 1 everywhere.)": lambda x, g: x,
    "you scale the mean map: multiply x itself.": lambda x, g: (x.mean(1, True) * g).expand_as(x),
    "you scale the maximum map: multiply x itself.": lambda x, g: (x.amax(1, True) * g).expand_as(x),
}
MEANS, MOSTS = (in_place_of(right, lambda x: x.movedim(1, -1)) for right in ("mean", "maximum"))
SPATIAL = {"mean": MEANS, "most": MOSTS, "maps": MAPS, "slide": SLIDE, "gate": MAP_GATE, "scale": MAP_SCALE}


def spatial(
    x, kernel, bias, mean=lambda x: x.mean(1), most=lambda x: x.amax(1), maps=pair, slide=zeros, gate=torch.sigmoid,
    scale=torch.mul
):  # fmt: skip
    return scale(x, gate(slide(maps(mean(x), most(x)), kernel) + bias))


@exercise("mean and maximum over the channels, a window of k × k, one gate per position: the spatial half of CBAM.")
def check_spatial_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 03: a class ``SpatialAttention(kernel_size)`` that keeps (B, C, H, W)."""
    for k, b, c, h, w in ((5, 3, 7, 8, 11), (3, 5, 9, 7, 7), (7, 3, 5, 6, 9), (3, 3, 6, 1, 5), (1, 5, 3, 3, 5)):
        module = core.build_module(attempt, k, given=f"kernel_size={k}")
        x = core.away_from_zero(b, c, h, w)
        x[:, :, ::3] = -x[:, :, ::3].abs()  # some maxima are negative
        sizes = core.learned(module, "the convolution must be an attribute (self.conv = nn.Conv2d(…))")
        _run(module, x)  # before the weights are counted: what stops is the better message
        kernels, bias = _fill_window(module, sizes, k)
        result = _run(module, x)
        core.expect_scaled(result, x, "a gate per position, and x keeps its shape.")
        kernel = next((kernel for kernel in kernels if same(result, spatial(x, kernel, bias))), None)

        def properties(module=module, x=x, result=result, k=k):
            _expect_map(module, x, result, k)

        if kernel is None:
            formula = "your gates come from another formula than σ(conv([mean, max])): go through it step by step."
            given, other = ((x, kernel, bias) for kernel in kernels[:2])
            explain(result, spatial, given, SPATIAL, formula, attempt, properties, [other])
        properties()
        core.expect_learning(module, x, "the convolution")
        core.expect_same_gradient(module, lambda x, kernel=kernel, bias=bias: spatial(x, kernel, bias), x)
        core.expect_one_image(module, x)
        more = core.away_from_zero(b, c + 2, h, w)
        expect(
            same(_run(module, more), spatial(more, kernel, bias)),
            "with another number of channels the same module gives something else: mean and maximum over the channels "
            "leave two maps, however many channels there are.",
        )
        _expect_double(module, x, spatial(x.double(), kernel.double(), torch.tensor(bias).double()))


def _fill_window(module: nn.Module, sizes: list[tuple], k: int) -> tuple[list[torch.Tensor], float]:
    """Fill the convolution; return the kernels that it may stand for, (1, 2, k, k) each, and its bias.

    [mean, max] or [max, mean], two axes in another order or turned round: all are equally good.
    """
    weights = [p for p in module.parameters() if p.dim() > 1] or [p for p in module.parameters() if p.numel() > 1]
    others = [p for p in module.parameters() if not any(p is weight for weight in weights)]
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    normed = any(isinstance(part, norms) for part in module.modules())
    core.expect_all(
        (not normed, "there is a norm: the paper's code has one, but here the convolution goes straight into the "
         "sigmoid."),
        (sum(p.numel() for p in weights) == 2 * k * k, _why_not_a_window(weights, sizes, k)),
        (len(others) <= len(weights), f"beside the convolution there are other parameters ({sizes}); 2·k² weights and "
         "perhaps one bias are enough."),
    )  # fmt: skip
    with torch.no_grad():
        for p in weights:
            p.copy_(torch.randn_like(p) * (2 / k))
        for p in others:
            p.fill_(0.3 / sum(p.numel() for p in others))
    flat = torch.cat([p.detach().flatten() for p in weights])
    kernels = [flat.view(1, 2, k, k), flat.view(1, k, k, 2).permute(0, 3, 1, 2)]
    kernels = [spelling for kernel in kernels for spelling in (kernel, kernel.flip(1))]
    kernels += [kernel.flip(2, 3) for kernel in kernels]
    return kernels + [kernel.mT for kernel in kernels], 0.3 if others else 0.0


def _why_not_a_window(weights: list[nn.Parameter], sizes: list[tuple], k: int) -> str:
    """What the wrong number of weights gives away."""
    one = weights[0].shape if len(weights) == 1 else ()
    if len(one) == 4 and one[2:] != (k, k):
        return f"with kernel_size={k} your window is {' × '.join(map(str, one[2:]))}: is kernel_size handed on?"
    if len(one) == 4 and one[1] != 2:
        return f"your convolution reads {one[1]} map(s): it reads two, the mean and the maximum over the channels."
    if len(one) == 4:
        return f"your convolution gives {one[0]} maps: one gate per position is wanted, the same for all channels."
    if len(weights) > 1:
        return f"one convolution from two maps to one is enough; your parameters have shapes {sizes}."
    return f"your parameters have shapes {sizes}: a window of {k} × {k} positions over two maps takes nn.Conv2d."


def _run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``module(x)``; where it stops, what its convolution was given says more than torch's message does."""
    with core.shapes_inside(module, nn.Conv1d, nn.Conv2d, nn.Linear) as (given, returned):
        try:
            result, stopped = call(module, x), None
        except WrongIdea as idea:
            stopped = str(idea)
    if given and (stopped or result.shape != x.shape) and "changed" not in (stopped or ""):
        told = _why_it_stopped(*given[0], returned[0] if returned else (), *x.shape)
        expect(
            not told, f"for x of shape {shape_of(*x.shape)} your convolution is given {shape_of(*given[0][1])}{told}"
        )
    expect(stopped is None, str(stopped))
    return result


def _why_it_stopped(layer: nn.Module, given: tuple, returned: tuple, b: int, c: int, h: int, w: int) -> str:
    """`given` to the layer and `returned` by it, empty where it stopped."""
    if isinstance(layer, nn.Conv1d):
        return ": a window of k × k positions slides over (B, 2, H, W), so take nn.Conv2d."
    over_positions = (2 * c, 1, 1), (c, 1, 1), (c, 2), (2, c), (2, c, 1), (2, 1, c), (2, 1, 1)
    if given[1:] in over_positions or given == (2, b, c):
        return ": you pooled over the positions, and where is gone. Pool over the channels, dimension 1."
    if isinstance(layer, nn.Linear):
        return ""
    elsewhere = {(b, h, w), (2 * b, h, w), (b, 2 * h, w), (b, h, 2 * w), (2, b, h, w), (2 * b, 1, h, w)}
    if given in elsewhere | {(b, 1, 2 * h, w), (b, 1, h, 2 * w), (b, h, w, 2)}:
        return ": mean and maximum belong side by side as two *channels*, (B, 2, H, W): join along dimension 1."
    if given == (b, 2, h, w) and layer.in_channels != 2:
        return f": two maps, but it was built for {layer.in_channels}. How many maps are left after pooling?"
    if given == (b, 2, h, w) and returned[1:2] not in ((), (1,), (c,)):
        return f" and returns {returned[1]} maps: one gate per position is wanted, the same for all channels."
    if given[2:] == (h, w) and returned and returned[2:] != (h, w):
        return (
            f" and, with k={layer.kernel_size[0]}, returns {returned[2]} × {returned[3]} positions: the edges are lost "
            "or gained. Which padding keeps the size for an odd k?"
        )
    if given == (b, c, h, w) and layer.in_channels != c:
        return ": all C channels. Pool over the channels first, which leaves two maps."
    if given == (b, 1, h, w) and layer.in_channels == 2:
        return ": a single map. Mean *and* maximum are wanted, as two channels."
    return ""


def _expect_map(module: nn.Module, x: torch.Tensor, result: torch.Tensor, k: int) -> None:
    core.expect_no_chance(module, x, result)
    gate, order, moved = result / x, torch.randperm(x.shape[1]), x.clone()
    moved[..., x.shape[2] // 2, x.shape[3] // 2] += 3
    reached = (call(module, moved) / moved - gate).abs().amax((0, 1)) > 1e-5
    far = torch.ones_like(reached)
    far[tuple(slice(max(0, size // 2 - k // 2), size // 2 + k // 2 + 1) for size in x.shape[2:])] = False
    positions = "pool over the channels, dimension 1, not over the positions."
    core.expect_all(
        (core.even(gate, 1), "at one position your gate differs from channel to channel: a single map serves all."),
        (not core.even(gate, 2, 3), f"all positions of an image get the same gate: {positions}"),
    )  # fmt: skip
    core.expect_alone(module, x, result, "pool over the channels only, no batch statistics.")
    core.expect_gates(gate)
    core.expect_all(
        (same(call(module, x[:, order]), result[:, order]), "your map changes when the channels change places: mean "
         "and maximum do not depend on their order."),
        (not (reached & far).any(), f"a gate depends on positions outside its window of {k} × {k}: {positions} A "
         "dilated or a second convolution reaches too far as well."),
        (reached.any(), "a changed position changes no gate near it: does the convolution read the maps of x?"),
    )  # fmt: skip
