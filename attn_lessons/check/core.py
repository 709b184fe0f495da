"""How a check speaks: passed, not attempted yet, or which idea is wrong. Never a traceback, never the answer."""

import functools
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from .source import left_over, one_sentence, reading

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
                    told = reading(attempt)  # data of the notebook instead of an argument explains whatever follows
                    return Verdict(WRONG, told if "in place of your argument" in told else str(idea))
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
    return (
        a.shape == b.shape
        and all(  # a few numbers first: `explain` has thousands of results that differ
            torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5)
            for one, other in ((a.flatten()[:9], b.flatten()[:9]), (a, b))
        )
    )


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


def call(attempt: Callable, *arguments: torch.Tensor | float, **words) -> torch.Tensor:
    """The learner's result on `arguments`; whatever goes wrong becomes one sentence (`words`: see `guarded`)."""
    return one_tensor(run(attempt, *arguments, **words))


def run(attempt: Callable, *arguments: torch.Tensor | float, **words) -> object:
    """As `call`, where the result need not be a tensor."""
    inputs = [x for x in arguments if isinstance(x, torch.Tensor)]
    given = "an input" if len(inputs) == 1 else "inputs"
    given += " of shape " + " and ".join(str(tuple(x.shape)) for x in inputs)
    copies = [x.detach().clone() for x in inputs]
    asked = [x.requires_grad for x in inputs]
    result = guarded(attempt, *arguments, given=given, **words)
    torch.set_grad_enabled(True)  # whatever their code has done
    expect(
        all(torch.equal(x, copy) for x, copy in zip(inputs, copies, strict=True)),
        "your code changed its input in place (with *=, mul_ or an assignment): make a new tensor instead.",
    )
    expect(asked == [x.requires_grad for x in inputs], "your code changed requires_grad of its input: leave it alone.")
    return result


def one_tensor(result: object) -> torch.Tensor:
    expect(result is not None, "your code returned None: does its last line say return?")
    lost = ", since no gradient gets through a plain number" if isinstance(result, float) else ""
    expect(isinstance(result, torch.Tensor), f"your code returned {kind(result)}; a single tensor is wanted{lost}.")
    expect(result.device.type == "cpu", f"your result is on {result.device}: leave it where your inputs are.")
    plain = result.layout == torch.strided and not result.is_complex()
    expect(plain, "your result is a sparse or complex tensor; a plain one is wanted, of real numbers.")
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


# --------------------------------------------------------------------------------------------------- words
def shape_of(*sizes: int) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
