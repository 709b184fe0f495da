"""Exercises of lesson 03: the two halves of CBAM, channel attention and spatial attention."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from . import core, probes
from .core import exercise, expect, expect_all, same
from .lesson02 import expect_hidden_units, expect_two_layers
from .steps import explain
from .steps_channels import CHANNEL, CHANNEL_VALUES, channel
from .steps_maps import SPATIAL, VALUES, spatial


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("mean and maximum through one MLP, one gate per channel: the channel half of CBAM, weight for weight.")
def check_channel_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 03: a class ``ChannelAttention(channels, reduction)`` that keeps (B, C, H, W)."""
    expect_two_layers(attempt, channel, CHANNEL, CHANNEL_VALUES, "σ(MLP(mean) + MLP(max))")
    expect_hidden_units(attempt, "Keep at least one unit, whatever C and r are.")


# ------------------------------------------------------------------------------------------------ exercise 2
@exercise("mean and maximum over the channels, a window of k × k, one gate per position: the spatial half of CBAM.")
def check_spatial_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 03: a class ``SpatialAttention(kernel_size)`` that keeps (B, C, H, W)."""
    for k, b, c, h, w in ((5, 3, 4, 5, 7), (3, 5, 9, 7, 7), (7, 3, 5, 6, 9), (3, 3, 6, 1, 5), (1, 5, 3, 3, 5)):
        module = core.build_module(attempt, k, given=f"kernel_size={k}")
        x = probes.away_from_zero(b, c, h, w)
        x[:, :, ::3] = -x[:, :, ::3].abs()  # some maxima are negative
        core.learned(module, "the convolution must be an attribute (self.conv = nn.Conv2d(…))")
        run(module, x)  # before the weights are counted: what stops is the better message
        kernels, bias = fill_window(module, k)
        result = run(module, x)
        probes.expect_scaled(result, x, "a gate per position, and x keeps its shape.")
        properties, outside = partial(expect_map, module, x, result), partial(probes.expect_gates, result / x)
        right = next((kernel for kernel in kernels if same(result, spatial(x, kernel, bias))), None)
        if right is None:
            formula = "your gates come from another formula than σ(conv([mean, max])): go through it step by step."
            one, other = ((x, kernel, bias) for kernel in kernels[:2])
            explain(result, spatial, one, SPATIAL, formula, attempt, properties, VALUES, [other], outside)
        properties()
        more = probes.away_from_zero(b, c + 2, h, w)
        fixed = "with another number of channels your module gives something else: there are two maps all the same."
        expect(same(run(module, more), spatial(more, right, bias)), fixed)
        probes.expect_faithful(module, spatial, x, right, bias, what="the convolution")


def fill_window(module: nn.Module, k: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Fill the convolution; return the kernels that it may stand for, as any order of axes is as good, and its bias."""
    sizes = core.learned(module)
    weights = [p for p in module.parameters() if p.dim() > 1] or [p for p in module.parameters() if p.numel() > 1]
    others = [p for p in module.parameters() if not any(p is weight for weight in weights)]
    enough = sum(p.numel() for p in weights) == 2 * k * k
    _, reads, *window = next((size for size in sizes if len(size) == 4 and not enough), (1, 2, k, k))
    normed = any("Norm" in type(part).__name__ for part in module.modules())
    expect_all(
        (not normed, "there is a norm, as in the paper's code; here the convolution goes straight into the sigmoid."),
        (window == [k, k], f"with kernel_size={k} your window has the size {window}: is kernel_size handed on?"),
        (reads == 2, f"your convolution reads {reads} map(s): it reads two, the mean and the maximum of the channels."),
        (enough, f"with kernel_size={k} your parameters have shapes {sizes}: one nn.Conv2d from two maps to one, with "
         "a window of k × k positions, is enough."),
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
    return kernels + [kernel.mT for kernel in kernels], torch.tensor(0.3 if others else 0.0)


GIVEN = {  # the convolution; b, c, h, w are twice B, C, H, W
    "BCHW BcHW": "all C channels. Pool over the channels first, which leaves two maps.",
    "B1HW": "a single map. Mean *and* maximum are wanted, as two channels.",
    "BHW bHW BhW BHw 2BHW b1HW B1hW B1Hw BHW2": "mean and maximum belong side by side as two *channels*, "
    "(B, 2, H, W): join along dimension 1.",
    "Bc11 BC11 BC2 B2C B2C1 B21C B211 2BC": "you pooled over the positions, and where is gone. Pool over the channels, "
    "dimension 1.",
    "B2W B2H B2CW B2CH": "you pooled over rows or columns. Pool over the channels, dimension 1, and over nothing else.",
    "B2HW": "two maps, but it was built for another number. How many maps are left after pooling?",
}


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``module(x)``; where it stops, what its convolution was given says more than torch's message does."""
    b, c, h, w = x.shape
    ideas = probes.by_letter(GIVEN, B=b, C=c, H=h, W=w, b=2 * b, c=2 * c, h=2 * h, w=2 * w)

    def told(given: tuple[int, ...], returned: tuple[int, ...]) -> str:
        if given in ideas and (not returned or given[2:] != (h, w)):
            return f": {ideas[given]}"
        if len(returned) != 4 or returned[1:] == (1, h, w):
            return ""
        if returned[1] != 1:
            return f" and returns {returned[1]} maps: one gate per position is wanted."
        if returned[2:] == (w, h):
            return ": H and W have changed places."
        return f" and returns {[*returned[2:]]} positions: the edges are lost or gained. Which padding keeps the size "\
            "for an odd k?"  # fmt: skip

    return probes.call_convolution(module, x, told)


def expect_map(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    """One gate per position and image."""
    probes.expect_no_chance(module, x, result)
    expect_all(
        (probes.even(result / x, 1), "at one position your gate differs from channel to channel: a single map serves "
         "all."),
        (not probes.even(result / x, 2, 3), "all positions of an image get the same gate: pool over the channels, not "
         "over the positions."),
    )  # fmt: skip
    probes.expect_alone(module, x, result, "pool over the channels only, no batch statistics.")
    other = 1.5 * x.flip(1, 3)
    image = probes.kept(module) or "the convolution must read mean and maximum of x."
    expect(not same(core.call(module, other) / other, result / x), f"your gates do not depend on the image: {image}")
