"""Probes that many exercises share: what a module, its gates and its gradients must do."""

from collections.abc import Callable

import torch
from torch import nn

from .core import WrongIdea, call, expect, same, shape_of


def away_from_zero(*shape: int) -> torch.Tensor:
    """Numbers of both signs, none near 0, so that result / x tells the gate; mean and maximum differ."""
    each = (*shape[:2], 1, 1)
    sign = torch.where(torch.rand(shape) < torch.rand(each), -1.0, 1.0)
    return (torch.rand(shape) + 0.5) * sign * (0.4 + torch.rand(each))


def expect_shape(
    result: torch.Tensor, wanted: tuple[int, ...], given: str, ideas: dict[tuple[int, ...], str], otherwise: str
) -> None:
    """The result has the shape that is `wanted`; if not, say what its shape gives away, or `otherwise`."""
    if result.shape != wanted:
        idea = ideas.get(tuple(result.shape), otherwise)
        raise WrongIdea(f"for {given} your result has shape {shape_of(*result.shape)}: {idea}")


def expect_scaled(
    result: torch.Tensor, x: torch.Tensor, otherwise: str, ideas: dict[tuple[int, ...], str] | None = None
) -> None:
    """The result has the shape of x; it may be that only the gates are there."""
    b, c, h, w = x.shape
    channels = "one number per channel is left: multiply x by the gates (multiply x itself, not what you squeezed)."
    gates = dict.fromkeys(((b, c), (b, c, 1, 1)), channels)
    gates |= dict.fromkeys(((b, h, w), (b, 1, h, w)), "one number per position is left: multiply x by the gates.")
    expect_shape(result, x.shape, f"x of shape {shape_of(*x.shape)}", gates | (ideas or {}), otherwise)


def even(gate: torch.Tensor, *dims: int, tolerance: float = 1e-4) -> bool:
    """Is it the same all along `dims`?"""
    return torch.allclose(gate, gate.mean(dims, keepdim=True).expand_as(gate), atol=tolerance)


def expect_no_chance(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    expect(
        same(call(module, x), result),
        "two calls with the same x give two results: is there dropout or another source of chance in it?",
    )
    modes = [(part, part.training) for part in module.modules()]  # no copy: what keeps a result cannot be copied
    try:
        evaluated = call(module.eval(), x)
    finally:
        for part, mode in modes:
            part.training = mode
    expect(
        same(evaluated, result),
        "in evaluation mode your module gives something else: nothing in it should depend on the mode.",
    )


def expect_alone(module: nn.Module, x: torch.Tensor, result: torch.Tensor, why: str) -> None:
    """The first image's result is the same among other images."""
    others = torch.cat([x[:1], 1.5 * x[1:].flip(1)])
    expect(
        torch.allclose(call(module, others)[:1], result[:1], atol=1e-4),
        f"the result for an image changes with the other images in its batch: {why}",
    )


def expect_gates(gate: torch.Tensor) -> None:
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )


def expect_channel_gates(module: nn.Module, x: torch.Tensor, result: torch.Tensor, position: str, image: str) -> None:
    """One gate in (0, 1) per channel and image; `position` and `image` say what to do if it is not."""
    expect_no_chance(module, x, result)
    gate, other = result / x, 1.5 * x.flip(1)
    expect(even(gate, 2, 3), f"within one channel your gate differs from position to position: {position}")
    expect_alone(module, x, result, "compute over (H, W) only, no batch statistics.")
    expect_gates(gate)
    expect(
        not torch.allclose(call(module, other) / other, gate, atol=1e-4),
        f"your gates do not depend on the image: {image}",
    )


def expect_learning(module: nn.Module, x: torch.Tensor, what: str) -> None:
    """A gradient reaches all that the module learns; `what` names it."""
    weights = list(module.parameters())
    expect(all(p.requires_grad for p in weights), "some weights do not learn: leave requires_grad on.")
    result = call(module, x.clone().requires_grad_())
    expect(result.requires_grad, "no gradient gets through your module: did you use no_grad, detach or .data?")
    grads = torch.autograd.grad(result.square().sum(), weights, allow_unused=True)
    reached = all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    expect(reached, f"no gradient reaches {what}, so nothing there can learn: did you detach something on the way?")


def expect_gradient(attempt: Callable, *inputs: torch.Tensor, names: tuple[str, ...], **words) -> list[torch.Tensor]:
    """A gradient reaches each of the inputs; it is returned."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    result = call(attempt, *inputs, **words)
    grads = [None] * len(inputs)
    if result.requires_grad:
        grads = torch.autograd.grad(result.square().sum(), inputs, allow_unused=True)
    for name, grad in zip(names, grads, strict=True):
        expect(
            grad is not None and grad.abs().sum() > 0,
            f"no gradient gets back to {name}, so nothing before could learn: did you use detach, no_grad, .data, "
            ".item, argmax or numpy?",
        )
    return grads


def expect_same_gradient(attempt: Callable, reference: Callable, *inputs: torch.Tensor) -> None:
    """Where the values are right, the gradients are, too."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    both = (call(attempt, *inputs), reference(*inputs))
    lost = "no gradient gets back to the input, so nothing before could learn: did you use detach, no_grad or numpy?"
    expect(both[0].requires_grad, lost)
    ours = [torch.autograd.grad(result.square().sum(), inputs, allow_unused=True) for result in both]
    for grad, right in zip(*ours, strict=True):
        expect(
            grad is not None and torch.allclose(grad, right, rtol=1e-3, atol=1e-4),
            "your values are right, but part of the gradient is missing: did you use detach, no_grad, .data or .item?",
        )


def expect_dtype(attempt: Callable, *inputs: torch.Tensor) -> None:
    """Double precision stays double; new tensors of torch's default type are fine."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        fixed = "Do you convert something (float(), half(), long(), dtype=…)?"
        result = call(attempt, *(x.double() for x in inputs), hints={"dtype": fixed}, prefix="with float64 inputs ")
    finally:
        torch.set_default_dtype(usual)
    name = str(result.dtype).removeprefix("torch.")
    expect(result.dtype == torch.float64, f"for float64 inputs your result is {name}. {fixed}")


def expect_one_image(module: nn.Module, x: torch.Tensor) -> None:
    try:
        kept = module(x[:1]).shape == x[:1].shape
    except Exception:
        kept = False
    expect(
        kept,
        "with a batch of one image your module fails: squeeze() takes every axis of size 1, the batch axis too; "
        "name the axes that should go.",
    )
