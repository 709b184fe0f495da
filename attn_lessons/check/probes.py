"""Probes that many exercises share: what a module, its gates and its gradients must do."""

from collections.abc import Callable
from itertools import permutations

import torch
from torch import nn

from .core import WrongIdea, call, expect, same, shape_of, shapes_inside


def away_from_zero(*shape: int) -> torch.Tensor:
    """Numbers of both signs, none near 0, so that result / x tells the gate; mean and maximum differ."""
    each = (*shape[:2], 1, 1)
    sign = torch.where(torch.rand(shape) < torch.rand(each), -1.0, 1.0)
    return (torch.rand(shape) + 0.5) * sign * (0.4 + torch.rand(each))


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Each channel's positions in another order, the same for all."""
    return x.flatten(2)[:, :, torch.randperm(x[0, 0].numel())].view_as(x)


def expect_shape(
    result: torch.Tensor, wanted: tuple[int, ...], given: str, ideas: dict[tuple[int, ...], str], otherwise: str
) -> None:
    """The result has the shape that is `wanted`; if not, say what its shape gives away, or `otherwise`."""
    if result.shape != wanted:
        if len(wanted) > 1 and result.shape == (1, *wanted[1:]):
            otherwise = "one image is left: does a return stand inside your loop, or did you reduce over the batch?"
        elif result.shape == tuple(size for size in wanted if size > 1):
            otherwise = "the axis of size 1 is gone: squeeze() takes every one of them. Name the axis that should go."
        idea = ideas.get(tuple(result.shape), otherwise)
        raise WrongIdea(f"for {given} your result has shape {shape_of(*result.shape)}: {idea}")


def by_letter(ideas: dict[str, str], **sizes: int) -> dict[tuple[int, ...], str]:
    """Shapes written in letters, several in a line, as "BC BC11" → those they are here; of equal ones, the first."""
    sizes |= {digit: int(digit) for digit in "12"}
    written = [(shape, idea) for shapes, idea in ideas.items() for shape in shapes.split()]
    return {tuple(sizes[letter] for letter in shape): idea for shape, idea in reversed(written)}


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


def meetings(sizes: dict[str, int]) -> dict[str, str]:
    """Hints for `call`: the names of two axes that do not fit, known by their sizes if these all differ."""
    pairs = permutations(sizes.items(), 2) if len(set(sizes.values())) == len(sizes) else ()
    return {
        f"tensor a ({a}) must match the size of tensor b ({b})": f"Here {one} meet {other}: does an axis of size 1 "
        "stand in the wrong position, or have two axes changed places?"
        for (one, a), (other, b) in pairs
    }


def expect_whole(right: torch.Tensor, *axes: str) -> None:
    """Where only a part of it is right, say so; `axes` are the names of its axes."""
    for axis, name in enumerate(axes):
        each = right.movedim(axis, 0).reshape(right.shape[axis], -1).all(1)
        expect(
            not 0 < each.sum() < len(each),
            f"what you compute is right for {each.sum()} of {len(each)} {name} only: does a loop, a slice or an index "
            "leave some out, or take the wrong ones?",
        )


def expect_no_multiple(result: torch.Tensor, right: torch.Tensor, what: str) -> None:
    """Where it is right up to a factor, say so."""
    factor = (result * right).sum() / right.square().sum()
    expect(same(result, right) or not same(result, factor * right), f"{what} right up to a factor of {factor:.3g}.")


def expect_same_again(attempt: Callable, result: torch.Tensor, *inputs: torch.Tensor) -> None:
    finite = (
        "your result is not finite: is something divided by 0, or is a root or a logarithm taken of negative numbers?"
    )
    expect(result.isfinite().all(), finite)
    expect(
        all(same(call(attempt, *inputs), result) for _ in range(2)),
        "two calls with the same input give two results: is there dropout or another source of chance in it?",
    )


def expect_no_chance(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    expect_same_again(module, result, x)
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
    """One gate per channel and image; `position` and `image` say what to do if it is not."""
    expect_no_chance(module, x, result)
    expect(not even(result, 2, 3), "all positions of a channel get the same value: multiply x itself by the gates.")
    gate, other, reordered = result / x, 1.5 * x.flip(1), shuffled(x)
    expect(even(gate, 2, 3), f"within one channel your gate differs from position to position: {position}")
    expect_alone(module, x, result, "compute over (H, W) only, no batch statistics.")
    expect(
        not torch.allclose(call(module, other) / other, gate, atol=1e-4),
        f"your gates do not depend on the image: {kept(module) or image}",
    )
    expect(
        torch.allclose(call(module, reordered) / reordered, gate, atol=1e-4),
        "your gates change when the positions are shuffled: every position should count, and count the same.",
    )


def kept(module: nn.Module) -> str:
    """What to say of a module that keeps a tensor from one call to the next, which is no parameter."""
    names = [name for part in module.modules() for name, value in vars(part).items() if isinstance(value, torch.Tensor)]
    return f"your module keeps {names[0]!r} from an earlier call. Compute it anew in every call." if names else ""


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


def expect_dtype(attempt: Callable, *inputs: torch.Tensor) -> torch.Tensor:
    """Double precision stays double; new tensors of torch's default type are fine. The result is returned."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        fixed = "Do you convert something (float(), half(), long(), dtype=…)?"
        result = call(attempt, *(x.double() for x in inputs), hints={"dtype": fixed}, prefix="with float64 inputs ")
    finally:
        torch.set_default_dtype(usual)
    name = str(result.dtype).removeprefix("torch.")
    expect(result.dtype == torch.float64, f"for float64 inputs your result is {name}. {fixed}")
    return result


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


def expect_faithful(module: nn.Module, reference: Callable, x: torch.Tensor, *weights: torch.Tensor, what: str) -> None:
    """The values are those of ``reference(x, *weights)``; so are gradients, a single image and float64."""
    expect_learning(module, x, what)
    expect_same_gradient(module, lambda x: reference(x, *weights), x)
    expect_one_image(module, x)
    precise, right = expect_dtype(module.double(), x), reference(x.double(), *(weight.double() for weight in weights))
    expect(
        torch.allclose(precise, right, rtol=1e-9, atol=1e-9),
        "in float64 your result has no more digits than in float32: do you convert something (float())?",
    )


def call_convolution(module: nn.Module, x: torch.Tensor, told: Callable, **words) -> torch.Tensor:
    """``module(x)``; where it stops or changes the shape, what its first convolution was given tells more.

    ``told(given, returned)`` is a sentence about the two shapes, or ""; a layer that stopped returned ().
    """
    with shapes_inside(module, nn.Conv1d, nn.Conv2d) as (given, returned):
        try:
            result, stopped = call(module, x, **words), None
        except WrongIdea as idea:
            result, stopped = None, idea
    if given and (stopped or result.shape != x.shape):
        shape = given[0][1]
        idea = told(shape, returned[0] if returned else ())
        expect(not idea, f"for x of shape {shape_of(*x.shape)} your convolution is given {shape_of(*shape)}{idea}")
    if stopped:
        raise stopped
    return result
