"""How a check speaks: passed, not attempted yet, or which idea is wrong. Never a traceback, never the answer."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .source import left_over, one_sentence

PASSED, NOT_YET, WRONG = "passed", "not attempted yet", "not yet"
MARKS = {PASSED: "✓", NOT_YET: "○", WRONG: "✗"}
YOUR_TURN = "your turn"  # an exercise's empty cell raises NotImplementedError("your turn")


@dataclass(frozen=True)
class Verdict:
    outcome: str
    text: str

    def __str__(self) -> str:
        return f"{MARKS[self.outcome]} {self.outcome}: {self.text}"


class WrongIdea(Exception):
    """What a probe raises; its text is what the learner reads."""


class NotAttempted(Exception):
    """The exercise's empty cell is still empty."""


def exercise(success: str) -> Callable:
    """Turn a function of probes into a check.

    The probes take the learner's function or class, and raise `WrongIdea` at the first idea that is wrong. The check
    prints one line and returns nothing; its attribute ``verdict`` returns the `Verdict` instead, for tests and grading.

    Parameters
    ----------
    success : str
        What is now shown, printed after "passed".
    """

    def decorate(probes: Callable[[Callable], None]) -> Callable[[Callable], None]:
        def verdict(attempt: Callable) -> Verdict:
            dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
            torch.set_num_threads(1)  # on tensors as small as these, several only wait for each other
            with torch.random.fork_rng(devices=[]), torch.enable_grad():  # the lesson goes on as if nothing had run
                torch.manual_seed(0)
                try:
                    if not callable(attempt):
                        raise WrongIdea(f"this is {kind(attempt)}; hand over the function or class itself.")
                    probes(attempt)
                except NotAttempted:
                    if told := left_over(attempt):
                        return Verdict(WRONG, told)
                    return Verdict(NOT_YET, "write yours above and run both cells; the lesson goes on without it.")
                except WrongIdea as idea:
                    return Verdict(WRONG, str(idea))
                finally:
                    torch.set_default_dtype(dtype)
                    torch.set_num_threads(threads)
            return Verdict(PASSED, success)

        @functools.wraps(probes)
        def check(attempt: Callable) -> None:
            # JupyterLab would break a long line inside a word.
            print(textwrap.fill(str(verdict(attempt)), 100, subsequent_indent="  "))

        check.verdict = verdict
        return check

    return decorate


def expect(condition: bool | torch.Tensor, otherwise: str) -> None:
    """Go on if `condition` holds; if not, `otherwise` is the idea that is wrong."""
    if not bool(condition):
        raise WrongIdea(otherwise)


def expect_all(*expected: tuple[bool | torch.Tensor, str]) -> None:
    """Several of the same, in this order."""
    for condition, otherwise in expected:
        expect(condition, otherwise)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal up to rounding, in shape as well."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def named_mistake(result: torch.Tensor, right: torch.Tensor, mistakes: Iterable[tuple[torch.Tensor, str]]) -> None:
    """Say which of the known mistakes gives exactly this result, if it is not `right` and one does."""
    if not same(result, right):
        for mistaken, idea in mistakes:
            expect(not same(result, mistaken), idea)


# --------------------------------------------------------------------------------------------------- run their code
def guarded(attempt: Callable, *arguments, given: str, hints: dict[str, str] | None = None, prefix="", **options):
    """``attempt(*arguments, **options)``; an error in it becomes one sentence, with the line it comes from.

    `hints` say what torch's words mean in this lesson; `prefix` is said first.
    """
    try:
        return attempt(*arguments, **options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit and GeneratorExit
        if isinstance(error, NotImplementedError) and str(error) == YOUR_TURN:
            raise NotAttempted from None
        raise WrongIdea(prefix + one_sentence(error, given, hints or {})) from None


def call(attempt: Callable, *inputs: torch.Tensor, **words) -> torch.Tensor:
    """The learner's result on `inputs`; whatever goes wrong becomes one sentence (`words`: see `guarded`)."""
    given = "an input" if len(inputs) == 1 else "inputs"
    given += " of shape " + " and ".join(str(tuple(x.shape)) for x in inputs)
    copies = [x.detach().clone() for x in inputs]
    asked = [x.requires_grad for x in inputs]
    result = guarded(attempt, *inputs, given=given, **words)
    torch.set_grad_enabled(True)  # whatever their code has done
    expect(
        all(torch.equal(x, copy) for x, copy in zip(inputs, copies, strict=True)),
        "your code changed its input in place (with *=, mul_ or an assignment): make a new tensor instead.",
    )
    expect(asked == [x.requires_grad for x in inputs], "your code changed requires_grad of its input: leave it alone.")
    return one_tensor(result)


def one_tensor(result: object) -> torch.Tensor:
    expect(result is not None, "your code returned None: does its last line say return?")
    expect(isinstance(result, torch.Tensor), f"your code returned {kind(result)}; a single tensor is wanted.")
    return result


def build_module(attempt: Callable, *arguments, given: str) -> nn.Module:
    """``attempt(*arguments)``, which must be a module with a forward method of its own."""
    expect(
        not isinstance(attempt, nn.Module), "this is a module already built; hand over the class itself, without (…)."
    )
    module = guarded(attempt, *arguments, given=given)
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module) and "_parameters" in vars(module),
        "your class must inherit from nn.Module (and call super().__init__() first), or its weights are not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    return module


@contextmanager
def shapes_inside(module: nn.Module, *kinds: type[nn.Module]) -> Iterator[tuple[list, list]]:
    """What layers of these kinds are given, as (layer, shape), and the shapes they return, while this is open."""
    given, returned = [], []

    def before(layer, inputs):
        if inputs and isinstance(inputs[0], torch.Tensor):
            given.append((layer, tuple(inputs[0].shape)))

    def after(layer, inputs, output):
        if isinstance(output, torch.Tensor):
            returned.append(tuple(output.shape))

    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers]
    try:
        yield given, returned
    finally:
        for hook in hooks:
            hook.remove()


def learned(module: nn.Module, example: str = "layers must be attributes (self.reduce = nn.Linear(…))") -> list[tuple]:
    """The shapes of all that the module learns; there must be something."""
    lazy = any(isinstance(p, nn.UninitializedParameter) for p in module.parameters())
    expect(not lazy, "a lazy layer has no shape before its first call: write down how many numbers go in.")
    shapes = [tuple(p.shape) for p in module.parameters() if p.requires_grad]
    expect(shapes, f"your module has no parameters to learn: {example}, made in __init__; a plain list hides them.")
    return shapes


# --------------------------------------------------------------------------------------------------- common probes
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


def gate_mistakes(x: torch.Tensor, scores: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    """What may go wrong with gates σ(scores), whatever the scores come from."""
    gate = scores.sigmoid()
    return [
        (x * scores, "there is no sigmoid at the end: your gates can be negative or larger than 1."),
        (x * scores.relu(), "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1)."),
        (x * scores.tanh(), "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1)."),
        (x * scores.softmax(1), "your gates come from a softmax, so channels compete for a sum of 1; a sigmoid lets "
         "each open or close by itself."),
        (x * F.hardsigmoid(scores), "that is the hard sigmoid; the smooth one is meant."),
        (x * scores.relu().sigmoid(), "a ReLU in front of the sigmoid keeps every gate above 1/2, and none can fall "
         "below one half: leave it out."),
        (x * gate.sigmoid(), "two sigmoids in a row, the sigmoid is applied twice: one is enough."),
        (x * gate * gate, "the gate is applied twice."),
        (x * gate[:1], "every image got the gates of the first one: each has its own."),
        (x * (1 - gate), "open and closed are turned round: multiply by the gate, not by 1 − gate."),
        (x + x * gate, "you added x once more (a residual): x is only scaled, so a gate near 0 silences it."),
        (x + gate, "you added the gate to x: scaling multiplies."),
        (gate.expand_as(x), "you return the gates themselves: multiply x by them."),
    ]  # fmt: skip


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


# --------------------------------------------------------------------------------------------------- words
def shape_of(*sizes: int) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
