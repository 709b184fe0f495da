"""Exercises of lesson 02: the squeeze, and the whole Squeeze-and-Excitation module."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

from ..attention.se import start_in_pairs_
from . import core
from .core import call, exercise, expect, named_mistake, same, shape_of


@exercise("one number per channel and image: the mean over all positions.")
def check_squeeze(attempt: Callable) -> None:
    """Check exercise 1 of lesson 02: ``squeeze(x (B, C, H, W)) → (B, C)``."""
    for b, c, h, w in ((2, 3, 4, 5), (4, 4, 4, 4), (1, 6, 7, 1)):
        x = torch.randn(b, c, h, w)
        result = call(attempt, x)
        given, otherwise = f"x of shape {shape_of(b, c, h, w)}", f"one number each, {shape_of(b, c)}, is wanted."
        core.expect_shape(result, (b, c), given, _squeezed_shapes(b, c, h, w), otherwise)
        right = x.mean((2, 3))
        named_mistake(
            result,
            right,
            [
                (x.sum((2, 3)), "you added up without dividing: a larger image would get larger numbers."),
                (x.amax((2, 3)), "you took the largest value; the squeeze of SE is the mean."),
                (x.amin((2, 3)), "you took the smallest value; the squeeze of SE is the mean."),
                (x.flatten(2).median(2).values, "you took the median; the squeeze of SE is the mean."),
                (x.abs().mean((2, 3)), "you took the mean of the absolute values: signs should stay."),
                (x.square().mean((2, 3)), "you took the mean of the squares: leave the values as they are."),
                (x.relu().mean((2, 3)), "you cut off the negative values first: leave the values as they are."),
                (x[:, :, 0, 0], "you took the value at one corner: every position should count."),
                (x[:, :, h // 2, w // 2], "you took the value at the centre: every position should count."),
                (x.mean((2, 3)).sigmoid(), "the sigmoid comes later, after the two linear layers: only the mean."),
                (x.mean((2, 3)).softmax(1), "channels do not compete here: leave out the softmax."),
                (x.reshape(b, h * w, c).mean(1), "reshape read the numbers in another order, so channels got mixed: "
                 "average over the dimensions H and W themselves."),
            ],
        )  # fmt: skip
        if b == c == h == w:  # where all sizes are equal, the wrong pair of dimensions gives the right shape
            pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3))
            wrong = [(x.mean(pair), f"you averaged over dimensions {pair}: H and W are others.") for pair in pairs]
            named_mistake(result, right, wrong)
        shuffled = x.flatten(2)[:, :, torch.randperm(h * w)].view_as(x)
        expect(
            same(call(attempt, shuffled), result),
            "your numbers change when the pixels are shuffled: did every position count, and count the same?",
        )
        expect(same(result, right), "not every value counts as 1 / (H·W): the squeeze is the plain mean.")
    core.expect_gradient(attempt, torch.randn(1, 2, 3, 3), names=("x",))


def _squeezed_shapes(b: int, c: int, h: int, w: int) -> dict[tuple[int, ...], str]:
    ideas = {
        (b, c, 1, 1): "the numbers may be right, but the two axes of size 1 are still there: without keepdim they go.",
        (b, c, h): "a number is left for every row: you squeezed W only. Squeeze H as well.",
        (b, c, w): "a number is left for every column: you squeezed H only. Squeeze W as well.",
        (c,): "you averaged over the images too: each image gets its own numbers.",
        (b,): "you averaged over the channels too: one number per channel is what we are after.",
        (b, h, w): "you averaged over the channels and kept the positions: SE does the reverse.",
        (): "you averaged over everything: images and channels must stay apart.",
    }
    if b == 1:
        ideas[c,] = "the axis of the single image is gone: squeeze() takes every axis of size 1."
    return ideas


@exercise("squeeze, excite, scale: your module is Squeeze-and-Excitation, weight for weight.")
def check_se(attempt: Callable) -> None:
    """Check exercise 2 of lesson 02: a class ``SE(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((32, 4, 3, 5, 7), (24, 8, 2, 6, 6), (20, 8, 2, 1, 3)):
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        core.expect_scaled(call(module, x), x, "SE weights channels, and keeps the shape.")
        first, second = two_layers(module, channels, reduction, "SE")
        with torch.no_grad():  # weights far from 0, so that no gate can hide near 0.5, and each idea leaves a trace
            first.copy_(torch.randn_like(first))
            start_in_pairs_(first)  # or, with few hidden units, they could all be dead by chance
            second.copy_(torch.randn_like(second))
        w1, w2 = first.detach().reshape(-1, channels), second.detach().reshape(channels, -1)
        result, right = call(module, x), x * _gate(x.mean((2, 3)), w1, w2)
        named_mistake(result, right, _se_mistakes(x, w1, w2))
        position = "squeeze over both H and W, so that a channel gets one gate, and multiply x by it."
        core.expect_channel_gates(module, x, result, position, "the squeezed x must go through the two layers.")
        expect(
            same(result, right),
            "one gate in (0, 1) per channel and image, as it should be, but computed by another formula than "
            "σ(W₂ ReLU(W₁ mean)): go through it step by step.",
        )
        core.expect_learning(module, x, "your two layers")
        core.expect_one_image(module, x)
    expect_hidden_units(attempt)


def _gate(squeezed: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    return ((squeezed @ w1.T).relu() @ w2.T).sigmoid()[:, :, None, None]


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


def _se_mistakes(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    mean = x.mean((2, 3))
    gate, linear = _gate(mean, w1, w2), mean @ w1.T
    scores, early = (linear.relu() @ w2.T)[:, :, None, None], (linear.sigmoid() @ w2.T)[:, :, None, None]
    return [
        *core.gate_mistakes(x, scores),
        (x * (linear.clamp(0, 6) @ w2.T).sigmoid()[:, :, None, None], "that is ReLU6, which stops at 6; the paper's SE "
         "has ReLU."),
        (x * (linear @ w2.T).sigmoid()[:, :, None, None], "there is no ReLU between the two layers: two linear layers "
         "in a row are a single one."),
        (x * early, "the sigmoid stands between the two layers: ReLU goes there, and the sigmoid to the end."),
        (x * early.sigmoid(), "a sigmoid stands between the two layers: ReLU goes there."),
        (x * early.relu(), "ReLU and sigmoid have changed places: ReLU goes between the layers, the sigmoid last."),
        (x * _gate(x.amax((2, 3)), w1, w2), "your squeeze takes the largest value; SE takes the mean."),
        (x * _gate(x.sum((2, 3)), w1, w2), "your squeeze adds up without dividing by H·W: take the mean."),
        (x * _gate(mean.mean(0, keepdim=True), w1, w2), "you averaged over the batch: each image has gates of its "
         "own."),
        (mean[:, :, None, None] * gate.expand_as(x), "you scaled the squeezed numbers: the gates weight x itself."),
    ]  # fmt: skip


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
        "nearly there: with channels=4 and reduction=16, 4 // 16 leaves no hidden unit, and no gate could ever hear "
        "of the image. Keep at least one unit, or raise a ValueError.",
    )
