"""Exercises of lesson 02: the squeeze, and the whole Squeeze-and-Excitation module."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

from ..attention.se import start_in_pairs_
from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of


@exercise("one number per channel and picture: the mean over all places.")
def check_squeeze(attempt: Callable) -> None:
    """Check exercise 1 of lesson 02: ``squeeze(x (B, C, H, W)) → (B, C)``."""
    for b, c, h, w in ((2, 3, 4, 5), (4, 4, 4, 4), (1, 6, 7, 1)):
        x = torch.randn(b, c, h, w)
        result = call(attempt, x)
        _check_squeezed_shape(result, b, c, h, w)
        right = x.mean((2, 3))
        named_mistake(
            result,
            right,
            [
                (x.sum((2, 3)), "you added up without dividing: a larger picture would get larger numbers."),
                (x.amax((2, 3)), "you took the largest value; the squeeze of SE is the mean."),
                (x.amin((2, 3)), "you took the smallest value; the squeeze of SE is the mean."),
                (x.flatten(2).median(2).values, "you took the median; the squeeze of SE is the mean."),
                (x.abs().mean((2, 3)), "you took the mean of the absolute values: signs should stay."),
                (x.square().mean((2, 3)), "you took the mean of the squares: leave the values as they are."),
                (x.relu().mean((2, 3)), "you cut off the negative values first: leave the values as they are."),
                (x[:, :, 0, 0], "you took the value at one corner: every place should count."),
                (x[:, :, h // 2, w // 2], "you took the value at the centre: every place should count."),
                (x.mean((2, 3)).sigmoid(), "the sigmoid comes later, after the two linear layers: only the mean."),
                (x.mean((2, 3)).softmax(1), "channels do not compete here: leave out the softmax."),
                (x.reshape(b, h * w, c).mean(1), "reshape read the numbers in another order, so channels got mixed: "
                 "average over the dimensions H and W themselves."),
            ],
        )  # fmt: skip
        if b == c == h == w:  # where all sizes are equal, the wrong pair of dimensions gives the right shape
            for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3)):
                named_mistake(
                    result, right, [(x.mean(pair), f"you averaged over dimensions {pair}: H and W are others.")]
                )
        shuffled = x.flatten(2)[:, :, torch.randperm(h * w)].view_as(x)
        expect(
            same(call(attempt, shuffled), result),
            "your numbers change when the pixels are shuffled: did every place count, and count the same?",
        )
        expect(same(result, right), "not every value counts as 1 / (H·W): the squeeze is the plain mean.")
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    expect(
        call(attempt, x).requires_grad,
        "no gradient gets back to x, so nothing before it could learn: did you use detach, .data, .item or numpy?",
    )


def _check_squeezed_shape(result: torch.Tensor, b: int, c: int, h: int, w: int) -> None:
    shape = tuple(result.shape)
    ideas = {
        (b, c, 1, 1): "the numbers may be right, but the two axes of size 1 are still there: without keepdim they go.",
        (b, c, h): "a number is left for every row: you squeezed W only. Squeeze H as well.",
        (b, c, w): "a number is left for every column: you squeezed H only. Squeeze W as well.",
        (c,): "you averaged over the pictures too: each picture gets its own numbers.",
        (b,): "you averaged over the channels too: one number per channel is what we are after.",
        (b, h, w): "you averaged over the channels and kept the places: SE does the reverse.",
        (): "you averaged over everything: pictures and channels must stay apart.",
    }
    if b == 1:
        ideas[c,] = "the axis of the single picture is gone: squeeze() takes every axis of size 1."
    if shape != (b, c):
        idea = ideas.get(shape, f"one number per channel and picture, {shape_of(b, c)}, is wanted.")
        raise WrongIdea(f"for x of shape {shape_of(b, c, h, w)} your result has shape {shape_of(*shape)}: {idea}")


@exercise("squeeze, excite, scale: your module is Squeeze-and-Excitation, weight for weight.")
def check_se(attempt: Callable) -> None:
    """Check exercise 2 of lesson 02: a class ``SE(channels, reduction)`` that keeps (B, C, H, W)."""
    expect(
        not isinstance(attempt, nn.Module),
        "this is a module already built; hand over the class itself, without (…).",
    )
    for channels, reduction, b, h, w in ((32, 4, 3, 5, 7), (24, 8, 2, 6, 6), (20, 8, 2, 1, 3)):
        module = _build(attempt, channels, reduction)
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        result = call(module, x)
        _check_kept_shape(result, x)
        first, second = _two_layers(module, channels, reduction)
        # Weights far from 0, so that no gate can hide near 0.5, and each idea below leaves a trace.
        with torch.no_grad():
            first.copy_(torch.randn_like(first))
            start_in_pairs_(first)  # or, with few hidden units, they could all be dead by chance
            second.copy_(torch.randn_like(second))
        w1, w2 = first.detach().reshape(-1, channels), second.detach().reshape(channels, -1)
        result = call(module, x)
        _check_formula(result, x, w1, w2)
        _check_gate(module, x, result)
        expect(
            same(result, x * _gate(x.mean((2, 3)), w1, w2)),
            "one gate in (0, 1) per channel and picture, as it should be, but computed by another formula than "
            "σ(W₂ ReLU(W₁ mean)): go through it step by step.",
        )
        _check_gradient(module, x)
        _check_single_picture(module, x[:1])
    _check_hidden_width(attempt)


def _gate(squeezed: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    return ((squeezed @ w1.T).relu() @ w2.T).sigmoid()[:, :, None, None]


def _build(attempt: Callable, channels: int, reduction: int) -> nn.Module:
    module = guarded(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module),
        "your class must inherit from nn.Module (class MySE(nn.Module), and super().__init__() first), or its weights "
        "are not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    return module


def _check_kept_shape(result: torch.Tensor, x: torch.Tensor) -> None:
    b, c = x.shape[:2]
    if result.shape[:2] == (b, c) and result.numel() == b * c:
        expect(x.numel() == b * c, "you return one number per channel: multiply x itself by the gates.")
    expect(
        result.shape == x.shape,
        f"for x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: SE weights channels, "
        "and keeps the shape.",
    )


def _two_layers(module: nn.Module, channels: int, reduction: int) -> tuple[nn.Parameter, nn.Parameter]:
    hidden = channels // reduction
    sizes = [tuple(p.shape) for p in module.parameters() if p.requires_grad]
    expect(
        sizes,
        "your module has no parameters to learn: layers must be attributes (self.reduce = nn.Linear(…)), made in "
        "__init__; a plain list hides them.",
    )
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    expect(
        len(weights) == 2,
        f"SE has two weight matrices, C → C // r and back; yours has {len(weights)}, all its parameters are {sizes}.",
    )
    narrow = {p.numel() for p in weights} == {channels * hidden}
    expect(
        narrow and weights[0].shape[0] in (hidden, channels),
        f"with channels={channels} and reduction={reduction} the hidden layer has {channels} // {reduction} = {hidden} "
        f"units; your weights have shapes {sizes}.",
    )
    expect(
        not others,
        f"your layers have biases (or a norm): {sum(p.numel() for p in module.parameters()):,} parameters instead of "
        f"2·C·(C // r) = {2 * channels * hidden:,}. Say bias=False.",
    )
    first, second = sorted(weights, key=lambda p: p.shape[0] != hidden) if hidden != channels else weights
    expect(
        first.shape[:2] == (hidden, channels) and second.shape[:2] == (channels, hidden),
        f"one layer should go from {channels} to {hidden} channels and the other back; yours have shapes {sizes}.",
    )
    return first, second


def _check_formula(result: torch.Tensor, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> None:
    mean, peak = x.mean((2, 3)), x.amax((2, 3))
    gate = _gate(mean, w1, w2)
    relu6 = ((mean @ w1.T).clamp(0, 6) @ w2.T).sigmoid()[:, :, None, None]
    linear = ((mean @ w1.T) @ w2.T).sigmoid()[:, :, None, None]
    logits = ((mean @ w1.T).relu() @ w2.T)[:, :, None, None]
    early = ((mean @ w1.T).sigmoid() @ w2.T)[:, :, None, None]
    named_mistake(
        result,
        x * gate,
        [
            (x * logits, "there is no sigmoid at the end: your gates can be negative or larger than 1."),
            (x * relu6, "that is ReLU6, which stops at 6; the paper's SE has ReLU."),
            (x * gate[:1], "every picture got the gates of the first one: each has gates of its own."),
            (x * linear, "there is no ReLU between the two layers: two linear layers in a row are a single one."),
            (x * early, "the sigmoid stands between the two layers: ReLU goes there, and the sigmoid to the end."),
            (x * early.sigmoid(), "a sigmoid stands between the two layers: ReLU goes there."),
            (x * early.relu(), "ReLU and sigmoid have changed places: ReLU goes between the layers, the sigmoid last."),
            (x * _gate(peak, w1, w2), "your squeeze takes the largest value; SE takes the mean."),
            (x * _gate(x.sum((2, 3)), w1, w2), "your squeeze adds up without dividing by H·W: take the mean."),
            (x + x * gate, "you added x once more (a residual): SE scales x, so a gate near 0 silences a channel."),
            (x + gate, "you added the gate to x: scaling multiplies."),
            (gate.expand_as(x), "you return the gates themselves: multiply x by them (scale is the third step)."),
            (x * logits.softmax(1), "your gates come from a softmax, so channels compete for a sum of 1; SE's sigmoid "
             "lets each channel open or close by itself."),
            (x * logits.tanh(), "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1)."),
            (x * logits.relu(), "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1)."),
            (x * nn.functional.hardsigmoid(logits), "that is the hard sigmoid of MobileNetV3; the paper's SE has the "
             "smooth one."),
            (x * _gate(mean.mean(0, keepdim=True), w1, w2), "you averaged over the batch: each picture has gates of "
             "its own."),
            (x * gate * gate, "the gate is applied twice."),
            (x * (1 - gate), "open and closed are turned round: multiply by the gate, not by 1 − gate."),
            (x.mean((2, 3), keepdim=True) * gate, "you scaled the squeezed numbers: the gates weight x itself."),
        ],
    )  # fmt: skip


def _check_gate(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    gate = result / x
    if x[0, 0].numel() > 1:
        expect(
            torch.allclose(gate, gate.mean((2, 3), keepdim=True).expand_as(gate), atol=1e-4),
            "within one channel your gate differs from place to place: squeeze over both H and W, so that a channel "
            "gets one gate, and multiply x by it.",
        )
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )
    others = torch.cat([x[:1], x[1:].flip(1)])  # the same first picture among other pictures
    expect(
        torch.allclose(call(module, others)[:1], result[:1], atol=1e-4),
        "the result for a picture changes with the other pictures in its batch: compute over (H, W) only, no batch "
        "statistics.",
    )
    other = call(module, x.flip(1))
    expect(
        not torch.allclose(other / x.flip(1), gate, atol=1e-4),
        "your gates do not depend on the picture: the squeezed x must go through the two layers.",
    )


def _check_gradient(module: nn.Module, x: torch.Tensor) -> None:
    module.zero_grad()
    x = x.clone().requires_grad_()
    result = call(module, x)
    expect(result.requires_grad, "no gradient gets through your module: did you use no_grad, detach or .data?")
    result.square().sum().backward()
    reached = all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    expect(
        reached, "no gradient reaches your two layers, so the gates never learn: did you detach the squeezed numbers?"
    )


def _check_single_picture(module: nn.Module, x: torch.Tensor) -> None:
    try:
        kept = module(x).shape == x.shape
    except Exception:
        kept = False
    expect(
        kept,
        "with a batch of one picture your module fails: squeeze() takes every axis of size 1, the batch axis too; "
        "flatten(1) or mean((2, 3)) keep it.",
    )


def _check_hidden_width(attempt: Callable) -> None:
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
        "nearly there: with channels=4 and reduction=16, 4 // 16 leaves no hidden unit, and every gate is σ(0) = 0.5 "
        "whatever the picture. Keep at least one unit, or raise a ValueError.",
    )
