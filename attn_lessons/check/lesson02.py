"""The exercise of lesson 02: Squeeze-and-Excitation."""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from . import core, probes
from .core import call, exercise, expect, expect_all, same
from .steps import explain
from .steps_channels import SE, SE_VALUES, se


@exercise("squeeze, excite, scale: your module is Squeeze-and-Excitation, weight for weight.")
def check_se(attempt: Callable) -> None:
    """Check exercise 1 of lesson 02: a class ``SE(channels, reduction)`` that keeps (B, C, H, W)."""
    expect_two_layers(attempt, se, SE, SE_VALUES, "σ(W₂ ReLU(W₁ mean))")
    expect_hidden_units(attempt, "Keep at least one unit, or raise a ValueError.", ValueError)


FIT = {"mat1 and mat2": "Does the layer to C // r come first, and is C what `channels` says?"}


def expect_two_layers(attempt: Callable, reference: Callable, steps: dict, values: dict, formula: str) -> None:
    """A gate per channel by an MLP C → C // r → C, as in ``reference(x, w1, w2)``."""
    for turn, (c, r, b, h, w) in enumerate(((17, 3, 3, 4, 5), (24, 8, 5, 6, 6), (20, 8, 3, 1, 7), (9, 9, 3, 5, 6))):
        module = core.build_module(attempt, c, r, given=f"channels={c}, reduction={r}")
        x = probes.away_from_zero(b, c, h, w)
        x[:, ::3] = -x[:, ::3].abs()  # some maxima are negative
        core.learned(module)
        probes.expect_scaled(call(module, x, hints=FIT), x, "a gate weights a channel, and x keeps its shape.")
        weights = two_layers(module, c, r)
        either = fill_alive(weights, c // r, reference, x, turn % 2)
        result = call(module, x)

        def properties(module=module, x=x, result=result):
            position = "squeeze over both H and W, so that a channel gets one gate, and multiply x by it."
            probes.expect_channel_gates(module, x, result, position, "the squeezed x must go through the two layers.")

        one, other = ((x, *pair) for pair in either)
        told = f"your gates come from another formula than {formula}: go through it step by step."
        outside = partial(probes.expect_gates, result / x)
        explain(result, reference, one, steps, told, attempt, properties, values, [other], outside)
        properties()
        right = next(pair for pair in either if same(result, reference(x, *pair)))
        probes.expect_faithful(module, reference, x, *right, what="your two layers")


def two_layers(module: nn.Module, c: int, r: int) -> list[nn.Parameter]:
    """The weights of the MLP C → C // r → C; says what is wrong with them."""
    hidden, sizes = c // r, core.learned(module)
    weights = [p for p in module.parameters() if p.dim() > 1]
    fitting = [p for p in weights if p.numel() == c * hidden and {*p.shape[:2]} == {c, hidden}]
    numbers = f"{sum(p.numel() for p in module.parameters()):,} parameters instead of 2·C·(C // r) = {2 * c * hidden:,}"
    expect_all(
        (not any(2 * c in size for size in sizes), f"one of your layers takes 2·C = {2 * c} numbers: mean and maximum "
         "are not joined (cat); each goes through the MLP by itself."),
        (len(weights) != 4, "there are two MLPs, four weight matrices: one is enough. In CBAM, mean and maximum share "
         "one and the same MLP."),
        (len(weights) == 2, f"two weight matrices are wanted, C → C // r and back; yours has {len(weights)}, all its "
         f"parameters are {sizes}."),
        (all(p.numel() == len(p) * p.shape[1] for p in weights), "your convolutions have windows larger than 1 × 1: "
         "after the squeeze, there is a single position."),
        (len(fitting) == 2, f"with channels={c} and reduction={r} the hidden layer has {c} // {r} = {hidden} units; "
         f"your weights have shapes {sizes}."),
        (len([*module.parameters()]) == 2, f"your layers have biases (or a norm): {numbers}. In this exercise they "
         "have none: say bias=False."),
        (any(p.any() for p in weights), "all your weights start at 0, and so do all gradients: nothing would learn."),
    )  # fmt: skip
    return weights


def fill_alive(weights: list[nn.Parameter], hidden: int, reference: Callable, x: torch.Tensor, turn: int) -> list:
    """Fill the two layers so that gates differ between images; return what W₁ and W₂ may be: shapes do not tell.

    Activations are large, so that ReLU6 differs from ReLU, if the layer used first is that of this `turn`.
    """
    scales = [0.3, 0.3]
    scales[turn] = 20 / x.shape[1] ** 0.5
    for _ in range(100):
        with torch.no_grad():
            for p, scale in zip(weights, scales, strict=True):
                p.copy_(torch.randn_like(p) * scale)
        first, second = (p.detach().flatten(1) if len(p) == hidden else p.detach().flatten(1).T for p in weights)
        either = [(first, second.T), (second, first.T)]
        if all((reference(x, *pair) / x).std(0).amax() > 0.1 for pair in either):
            break
    return either


def expect_hidden_units(attempt: Callable, instead: str, *refusal: type[Exception]) -> None:
    """With r > C, C // r is 0; a gate of 0.5 for ever is wrong, and a `refusal` may be fine."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a layer without units; our sentence says more
            units = all(p.numel() for p in attempt(4, 16).parameters())
    except refusal:
        return
    except Exception:
        units = False
    expect(
        units,
        "nearly there: with channels=4 and reduction=16, 4 // 16 leaves no hidden unit, and no gate could depend on "
        f"the image. {instead}",
    )
