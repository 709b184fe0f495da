"""Exercises of lesson 02: the squeeze, and the whole Squeeze-and-Excitation module."""

import warnings
from collections.abc import Callable

import torch
from torch import nn

from ..attention.se import start_in_pairs_
from . import core, probes
from .core import call, exercise, expect, same, shape_of
from .steps import BETWEEN, GATE, SCALE, SQUEEZE, explain, other_axes

SHAPES = {  # of the squeeze, by what is left of (B, C, H, W)
    "BC11": "the numbers may be right, but the two axes of size 1 are still there: without keepdim they go.",
    "BCH": "a number is left for every row: you squeezed W only. Squeeze H as well.",
    "BCW": "a number is left for every column: you squeezed H only. Squeeze W as well.",
    "C": "you averaged over the images too: each image gets its own numbers.",
    "B": "you averaged over the channels too: one number per channel is wanted.",
    "BHW": "you averaged over the channels and kept the positions: SE does the reverse.",
    "": "you averaged over everything: images and channels must stay apart.",
}


def squeezed(x, squeeze=lambda x: x.mean((2, 3))):
    return squeeze(x)


@exercise("one number per channel and image: the mean over all positions.")
def check_squeeze(attempt: Callable) -> None:
    """Check exercise 1 of lesson 02: ``squeeze(x (B, C, H, W)) → (B, C)``."""
    for b, c, h, w in ((3, 6, 5, 7), (4, 4, 4, 4), (1, 6, 7, 1)):
        x, sizes = torch.randn(b, c, h, w), dict(zip("BCHW1", (b, c, h, w, 1), strict=True))
        ideas = {tuple(sizes[letter] for letter in left): idea for left, idea in reversed(SHAPES.items())}
        if b == 1:
            ideas[c,] = "the axis of the single image is gone: squeeze() takes every axis of size 1."
        result = call(attempt, x)
        otherwise = f"one number per channel and image, {shape_of(b, c)}, is wanted."
        probes.expect_shape(result, (b, c), f"x of shape {shape_of(b, c, h, w)}", ideas, otherwise)

        def every_position_counts(x=x, result=result):
            shuffled = x.flatten(2)[:, :, torch.randperm(x[0, 0].numel())].view_as(x)
            expect(
                same(call(attempt, shuffled), result),
                "your numbers change when the pixels are shuffled: every position should count, and count the same.",
            )

        tables, values = {"squeeze": SQUEEZE | other_axes(x)}, {"squeeze": "the means, BC"}
        plain = "not every value counts as 1 / (H·W): the squeeze is the plain mean."
        explain(result, squeezed, (x,), tables, plain, attempt, every_position_counts, values)
    probes.expect_same_gradient(attempt, squeezed, torch.randn(3, 2, 5, 6))


def se(x, w1, w2, squeeze=lambda x: x.mean((2, 3)), between=torch.relu, gate=torch.sigmoid, scale=torch.mul):
    return scale(x, gate(between(squeeze(x) @ w1.T) @ w2.T)[:, :, None, None])


VALUES = {"squeeze": "the means, BC", "between": "the hidden units, BC", "gate": "the gates, BC",
          "scale": "the result, BCHW"}  # fmt: skip


@exercise("squeeze, excite, scale: your module is Squeeze-and-Excitation, weight for weight.")
def check_se(attempt: Callable) -> None:
    """Check exercise 2 of lesson 02: a class ``SE(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((33, 5, 3, 7, 9), (24, 8, 5, 6, 6), (20, 8, 3, 1, 7), (9, 9, 3, 5, 6)):
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = probes.away_from_zero(b, channels, h, w)
        sizes = core.learned(module)
        probes.expect_scaled(call(module, x), x, "SE weights channels, and keeps the shape.")
        w1, w2 = fill_alive(module, sizes, channels, reduction, se, x)
        result, turned = call(module, x), (w2.T, w1.T)  # the same two parameters, used as s @ W

        def properties(module=module, x=x, result=result):
            position = "squeeze over both H and W, so that a channel gets one gate, and multiply x by it."
            probes.expect_channel_gates(module, x, result, position, "the squeezed x must go through the two layers.")

        tables = {"squeeze": SQUEEZE | other_axes(x), "between": BETWEEN, "gate": GATE, "scale": SCALE}
        formula = "your gates come from another formula than σ(W₂ ReLU(W₁ mean)): go through it step by step."
        explain(result, se, (x, w1, w2), tables, formula, attempt, properties, VALUES, [(x, *turned)])
        properties()
        w1, w2 = (w1, w2) if same(result, se(x, w1, w2)) else turned
        probes.expect_learning(module, x, "your two layers")
        probes.expect_same_gradient(module, lambda x, w1=w1, w2=w2: se(x, w1, w2), x)
        probes.expect_one_image(module, x)
    expect_hidden_units(attempt)


def fill_alive(
    module: nn.Module, sizes: list, channels: int, reduction: int, reference: Callable, x: torch.Tensor
) -> list[torch.Tensor]:
    """Fill the two layers so that the images' gates differ, whichever way round they are used; return them."""
    weights, hidden = [p for p in module.parameters() if p.dim() > 1], channels // reduction
    if sizes != [(channels, hidden)] * 2:  # s @ W in the first layer, and W @ h in the second, or the reverse
        two_layers(module, channels, reduction, "the module")
    first, second = (p.detach() for p in sorted(weights, key=lambda p: len(p) != hidden))
    layers = first if len(first) == hidden else first.T, second
    for _ in range(100):
        w1, w2 = fill(*layers)
        if all((reference(x, *both) / x).std(0).amax() > 0.1 for both in ((w1, w2), (w2.T, w1.T))):
            break
    return w1, w2


@torch.no_grad()
def fill(first: nn.Parameter, second: nn.Parameter) -> tuple[torch.Tensor, torch.Tensor]:
    """Large activations, moderate gates: ReLU6 differs from ReLU, and no gate hides near 0.5 or is stuck at an end."""
    wide = first[0].numel()
    first.copy_(torch.randn_like(first) * 20 / wide**0.5)
    start_in_pairs_(first)  # or, with few hidden units, they could all be dead by chance
    second.copy_(torch.randn_like(second) * 0.3)
    return first.detach().reshape(len(first), wide).clone(), second.detach().reshape(len(second), -1).clone()


def two_layers(module: nn.Module, channels: int, reduction: int, name: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The weights of the MLP C → C // r → C; says what is wrong with them."""
    hidden, sizes = channels // reduction, core.learned(module)
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    narrow = {p.numel() for p in weights} == {channels * hidden} and weights[0].shape[0] in (hidden, channels)
    numbers = f"{sum(p.numel() for p in module.parameters()):,} parameters instead of 2·C·(C // r)"
    core.expect_all(
        (len(weights) == 2, f"{name} has two weight matrices, C → C // r and back; yours has {len(weights)}, all its "
         f"parameters are {sizes}."),
        (narrow, f"with channels={channels} and reduction={reduction} the hidden layer has {channels} // {reduction} = "
         f"{hidden} units; your weights have shapes {sizes}."),
        (not others, f"your layers have biases (or a norm): {numbers} = {2 * channels * hidden:,}. In this exercise "
         "they have none: say bias=False."),
    )  # fmt: skip
    first, second = sorted(weights, key=lambda p: p.shape[0] != hidden) if hidden != channels else weights
    expect(
        first.shape[:2] == (hidden, channels) and second.shape[:2] == (channels, hidden),
        f"one layer should go from {channels} to {hidden} channels and the other back; yours have shapes {sizes}.",
    )
    return first, second


def expect_hidden_units(attempt: Callable) -> None:
    """With r > C, C // r is 0: refusing is fine, keeping a unit is fine, a gate of 0.5 for ever is not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a layer without units; our sentence says more
            module = attempt(4, 16)
        x = torch.rand(2, 4, 3, 3) + 0.5
        stuck = torch.allclose(module(x), 0.5 * x) and torch.allclose(module(2 * x), x)
        hidden = min((size for p in module.parameters() for size in p.shape), default=0)
    except ValueError:
        return
    except Exception:
        stuck, hidden = True, 0
    expect(
        hidden > 0 or not stuck,
        "nearly there: with channels=4 and reduction=16, 4 // 16 leaves no hidden unit, and no gate could depend on "
        "the image. Keep at least one unit, or raise a ValueError.",
    )
