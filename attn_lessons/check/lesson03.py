"""Exercises of lesson 03: the two halves of CBAM, channel attention and spatial attention."""

from collections.abc import Callable

import torch
from torch import nn

from . import core, probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .lesson02 import expect_hidden_units, fill_alive
from .steps import BETWEEN, GATE, SCALE, SQUEEZE, Table, explain
from .steps_maps import SPATIAL, in_place_of, spatial


# ------------------------------------------------------------------------------------------------ exercise 1
def added(mean, most, mlp, gate):
    return gate(mlp(mean) + mlp(most))


def channel(
    x, w1, w2, mean=lambda x: x.mean((2, 3)), most=lambda x: x.amax((2, 3)), between=torch.relu, answers=added,
    gate=torch.sigmoid, scale=torch.mul
):  # fmt: skip
    return scale(x, answers(mean(x), most(x), lambda v, f=between: f(v @ w1.T) @ w2.T, gate)[:, :, None, None])


MEAN: Table = {f"for the mean, {idea}": step for idea, step in SQUEEZE.items() if "CBAM" not in idea}
MOST: Table = in_place_of("maximum", lambda x: x.flatten(2)) | {
    "you take the maximum over H, then a mean over W: both axes want the maximum.": lambda x: x.amax(2).mean(2),
    "you take the maximum over W, then a mean over H: both axes want the maximum.": lambda x: x.amax(3).mean(2),
    "you average over H before you take the maximum: take it over H and W.": lambda x: x.mean(2).amax(2),
    "you average over W before you take the maximum: take it over H and W.": lambda x: x.mean(3).amax(2),
    "your maximum runs over the batch as well: each image has its own.": lambda x: x.amax((0, 2, 3)).expand(len(x), -1),
    "all images get the maximum of the first one: each has its own.": lambda x: x.amax((2, 3))[:1].expand(len(x), -1),
    "your maximum is one number for the whole batch: each channel has its own.": lambda x: x.amax().expand(x.shape[:2]),
}  # fmt: skip
PLAIN, WAY = lambda v: v, "the ReLU is missing on the {}'s way through the MLP: both ways are the same."
ONE = "the sigmoid squashes one of the two answers only: add both first (brackets)."
ANSWERS: Table = {  # mean, maximum, MLP, gate → gates, in place of `added`
    "only the mean goes through the MLP, and that is SE: the maximum counts as well.": lambda a, m, f, g: g(f(a)),
    "only the maximum goes through the MLP: the mean counts as well.": lambda a, m, f, g: g(f(m)),
    "mean and maximum go straight into the sigmoid: the two layers are not used.": lambda a, m, f, g: g(a + m),
    "two gates are added and squashed again: one sigmoid is enough.": lambda a, m, f, g: g(g(f(a)) + g(f(m))),
    "one gate follows the other: add the two answers of the MLP, then take one sigmoid.":
        lambda a, m, f, g: g(f(a)) * g(f(m * g(f(a)))),
    f"for the maximum, {ONE}": lambda a, m, f, g: f(a) + g(f(m)),
    f"for the mean, {ONE}": lambda a, m, f, g: g(f(a)) + f(m),
    WAY.format("maximum"): lambda a, m, f, g: g(f(a) + f(m, PLAIN)),
    WAY.format("mean"): lambda a, m, f, g: g(f(a, PLAIN) + f(m)),
    "a ReLU stands after the second layer, too: leave it out.": lambda a, m, f, g: g(f(a).relu() + f(m).relu()),
    "the ReLU stands after the MLP: it belongs between its two layers.":
        lambda a, m, f, g: g(f(a, PLAIN).relu() + f(m, PLAIN).relu()),
}  # fmt: skip
JOINED = {  # in place of a sum
    "add": torch.add,
    "average": lambda one, two: (one + two) / 2,
    "average (without brackets)": lambda one, two: one + two / 2,
    "multiply": torch.mul,
    "subtract": torch.sub,
    "subtract (the mean from the maximum)": lambda one, two: two - one,
    "take the larger of": torch.maximum,
    "take the smaller of": torch.minimum,
}
for how, join in JOINED.items():
    if how != "add":
        instead = f"you {how} the two answers of the MLP: they are added."
        ANSWERS[instead] = lambda a, m, f, g, join=join: g(join(f(a), f(m)))
    if not how.startswith("take"):  # the larger of mean and maximum is the maximum
        early = f"you {how} mean and maximum before the MLP: each goes through it by itself, and the answers are added."
        ANSWERS[early] = lambda a, m, f, g, join=join: g(f(join(a, m)))
        late = f"you {how} two gates: add the two answers of the MLP first, then take one sigmoid."
        ANSWERS[late] = lambda a, m, f, g, join=join: join(g(f(a)), g(f(m)))
MAXIMA: Table = {
    "you scale the maxima: multiply x itself.": lambda x, g: (x.amax((2, 3), True) * g).expand_as(x),
    "a ReLU stands after the scaling: x keeps its signs.": lambda x, g: (x * g).relu(),
}
CHANNEL = {"mean": MEAN, "most": MOST, "between": BETWEEN, "answers": ANSWERS, "gate": GATE, "scale": SCALE | MAXIMA}


@exercise("mean and maximum through one MLP, one gate per channel: the channel half of CBAM, weight for weight.")
def check_channel_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 03: a class ``ChannelAttention(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((33, 5, 3, 7, 9), (24, 8, 5, 6, 6), (20, 8, 3, 1, 7), (9, 9, 3, 5, 6)):
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = probes.away_from_zero(b, channels, h, w)
        x[:, ::3] = -x[:, ::3].abs()  # some maxima are negative
        sizes = core.learned(module)
        probes.expect_scaled(call(module, x), x, "a gate per channel, and x keeps its shape.")
        w1, w2 = _fill_alive(module, sizes, channels, reduction, x)
        result, turned = call(module, x), (w2.T, w1.T)  # the same two parameters, used as s @ W

        def properties(module=module, x=x, result=result):
            position = "mean and maximum both go over H and W, so that a channel gets one gate."
            probes.expect_channel_gates(module, x, result, position, "its mean and maximum must go through the MLP.")
            shuffled = x.flatten(2)[:, :, torch.randperm(x[0, 0].numel())].view_as(x)
            changed = "your gates change when the positions are shuffled: mean and maximum go over all of H and W."
            expect(same(call(module, shuffled) / shuffled, result / x), changed)

        formula = "your gates come from another formula than σ(MLP(mean) + MLP(max)): go through it step by step."
        explain(result, channel, (x, w1, w2), CHANNEL, formula, attempt, properties, [(x, *turned)])
        properties()
        w1, w2 = (w1, w2) if same(result, channel(x, w1, w2)) else turned
        probes.expect_learning(module, x, "your two layers")
        probes.expect_same_gradient(module, lambda x, w1=w1, w2=w2: channel(x, w1, w2), x)
        probes.expect_one_image(module, x)
        _expect_precise(module, x, channel(x.double(), w1.double(), w2.double()))
    expect_hidden_units(attempt)


def _fill_alive(module: nn.Module, sizes: list, channels: int, reduction: int, x: torch.Tensor) -> list[torch.Tensor]:
    """Fill the two layers so that the images' gates differ, whichever way round they are used; return them."""
    weights = [p for p in module.parameters() if p.dim() > 1]
    core.expect_all(
        (not any(2 * channels in size for size in sizes), f"one of your layers takes 2·C = {2 * channels} numbers: "
         "mean and maximum are not joined (cat); each goes through the MLP by itself."),
        (len(weights) != 4, "there are two MLPs, four weight matrices: mean and maximum share one and the same MLP."),
        (any(p.any() for p in weights), "all your weights start at 0, and so do all gradients: nothing would learn."),
    )  # fmt: skip
    return fill_alive(module, sizes, channels, reduction, channel, x)


def _expect_precise(module: nn.Module, x: torch.Tensor, right: torch.Tensor) -> None:
    """The same in float64, to the last digits; the module stays in float64."""
    probes.expect_dtype(module.double(), x)
    precise = torch.allclose(call(module, x.double()), right, rtol=1e-9, atol=1e-9)
    expect(precise, "in float64 your result has no more digits than in float32: do you convert something (float())?")


# ------------------------------------------------------------------------------------------------ exercise 2
@exercise("mean and maximum over the channels, a window of k × k, one gate per position: the spatial half of CBAM.")
def check_spatial_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 03: a class ``SpatialAttention(kernel_size)`` that keeps (B, C, H, W)."""
    for k, b, c, h, w in ((5, 3, 7, 8, 11), (3, 5, 9, 7, 7), (7, 3, 5, 6, 9), (3, 3, 6, 1, 5), (1, 5, 3, 3, 5)):
        module = core.build_module(attempt, k, given=f"kernel_size={k}")
        x = probes.away_from_zero(b, c, h, w)
        x[:, :, ::3] = -x[:, :, ::3].abs()  # some maxima are negative
        sizes = core.learned(module, "the convolution must be an attribute (self.conv = nn.Conv2d(…))")
        _run(module, x)  # before the weights are counted: what stops is the better message
        kernels, bias = _fill_window(module, sizes, k)
        result = _run(module, x)
        probes.expect_scaled(result, x, "a gate per position, and x keeps its shape.")
        kernel = next((kernel for kernel in kernels if same(result, spatial(x, kernel, bias))), None)

        def properties(module=module, x=x, result=result, k=k):
            _expect_map(module, x, result, k)

        if kernel is None:
            formula = "your gates come from another formula than σ(conv([mean, max])): go through it step by step."
            if any(size[1:2] == (1,) for size in sizes):
                formula = "each map has a convolution of its own: add the two scores, then take one sigmoid."
            if not 0 <= (result / x).min() <= (result / x).max() <= 1:
                formula = "some of your gates lie outside (0, 1): which function squashes any number into that range?"
            given, other = ((x, kernel, bias) for kernel in kernels[:2])
            explain(result, spatial, given, SPATIAL, formula, attempt, properties, [other])
        properties()
        probes.expect_learning(module, x, "the convolution")
        probes.expect_same_gradient(module, lambda x, kernel=kernel, bias=bias: spatial(x, kernel, bias), x)
        probes.expect_one_image(module, x)
        more = probes.away_from_zero(b, c + 2, h, w)
        fixed = "with another number of channels your module gives something else: there are two maps all the same."
        expect(same(_run(module, more), spatial(more, kernel, bias)), fixed)
        _expect_precise(module, x, spatial(x.double(), kernel.double(), torch.tensor(bias).double()))


def _fill_window(module: nn.Module, sizes: list[tuple], k: int) -> tuple[list[torch.Tensor], float]:
    """Fill the convolution; return its bias, and the kernels that it may stand for: any order of axes is as good."""
    weights = [p for p in module.parameters() if p.dim() > 1] or [p for p in module.parameters() if p.numel() > 1]
    others = [p for p in module.parameters() if not any(p is weight for weight in weights)]
    enough = sum(p.numel() for p in weights) == 2 * k * k
    _, reads, *window = (1, 2, k, k) if enough or len(weights) > 1 or weights[0].dim() != 4 else weights[0].shape
    normed = any("Norm" in type(part).__name__ for part in module.modules())
    core.expect_all(
        (not normed, "there is a norm, as in the paper's code; here the convolution goes straight into the sigmoid."),
        (window == [k, k], f"with kernel_size={k} your window has the size {window}: is kernel_size handed on?"),
        (reads == 2, f"your convolution reads {reads} map(s): it reads two, the mean and the maximum of the channels."),
        (enough, f"with kernel_size={k} your parameters have shapes {sizes}: one "
         "nn.Conv2d from two maps to one, with a window of k × k positions, is enough."),
        (len(others) <= len(weights), f"beside the convolution there are other parameters, {sizes}: leave them out."),
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


GIVEN = {  # what a convolution is given, where it stops
    "all C channels. Pool over the channels first, which leaves two maps.": "B,C,H,W B,2C,H,W",
    "a single map. Mean *and* maximum are wanted, as two channels.": "B,1,H,W",
    "two maps, but it was built for another number. How many maps are left after pooling?": "B,2,H,W",
    "mean and maximum belong side by side as two *channels*, (B, 2, H, W): join along dimension 1.":
        "B,H,W 2B,H,W B,2H,W B,H,2W 2,B,H,W 2B,1,H,W B,1,2H,W B,1,H,2W B,H,W,2",
    "you pooled over the positions, and where is gone. Pool over the channels, dimension 1.":
        "B,2C,1,1 B,C,1,1 B,C,2 B,2,C B,2,C,1 B,2,1,C B,2,1,1 2,B,C",
}  # fmt: skip


def _run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``module(x)``; where it stops, what its convolution was given says more than torch's message does."""
    letters = {n * size: f"{n}{name}".lstrip("1") for n in (2, 1) for size, name in zip(x.shape, "BCHW", strict=True)}
    letters |= {1: "1", 2: "2"}
    with core.shapes_inside(module, nn.Conv2d) as (given, returned):
        try:
            result, stopped = call(module, x), None
        except WrongIdea as idea:
            stopped = idea
    if given and (stopped or result.shape != x.shape):
        told = f"for x of shape {shape_of(*x.shape)} your convolution is given {shape_of(*given[0][1])}"
        key = ",".join(letters.get(size, "?") for size in given[0][1])
        idea = next((idea for idea, keys in GIVEN.items() if key in keys.split()), "")
        expect(not idea or (returned and "pooled" not in idea), f"{told}: {idea}")
        if returned and len(returned[0]) == 4:
            maps, *size = returned[0][1:]
            core.expect_all(
                (maps in (1, x.shape[1]), f"{told} and returns {maps} maps: one gate per position is wanted."),
                (size != [*x.shape[:1:-1]] or size[0] == size[1], f"{told}: H and W have changed places."),
                (size == [*x.shape[2:]], f"{told} and returns {size} positions: the edges are lost or gained. Which "
                 "padding keeps the size for an odd k?"),
            )  # fmt: skip
    if stopped:
        raise stopped
    return result


def _expect_map(module: nn.Module, x: torch.Tensor, result: torch.Tensor, k: int) -> None:
    probes.expect_no_chance(module, x, result)
    gate, order, moved = result / x, torch.randperm(x.shape[1]), x.clone()
    moved[..., x.shape[2] // 2, x.shape[3] // 2] += 3
    reached = (call(module, moved) / moved - gate).abs().amax((0, 1)) > 1e-5
    far = torch.ones_like(reached)
    far[tuple(slice(max(0, size // 2 - k // 2), size // 2 + k // 2 + 1) for size in x.shape[2:])] = False
    core.expect_all(
        (probes.even(gate, 1), "at one position your gate differs from channel to channel: a single map serves all."),
        (not probes.even(gate, 2, 3), "all positions of an image get the same gate: pool over the channels, not over "
         "the positions."),
    )  # fmt: skip
    probes.expect_alone(module, x, result, "pool over the channels only, no batch statistics.")
    core.expect_all(
        (same(call(module, x[:, order]), result[:, order]), "your map changes when the channels change places: mean "
         "and maximum do not depend on their order."),
        (not (reached & far).any(), f"a gate depends on positions outside its window of {k} × {k}: is the convolution "
         "dilated, or does another step mix positions?"),
    )  # fmt: skip
