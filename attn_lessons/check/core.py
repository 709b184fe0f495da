"""How a check speaks: passed, not attempted yet, or which idea is wrong. Never a traceback, never the answer."""

from __future__ import annotations

import functools
import linecache
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

PASSED, NOT_YET, WRONG = "passed", "not attempted yet", "not yet"
MARKS = {PASSED: "✓", NOT_YET: "○", WRONG: "✗"}
HINTS = {  # what torch says → what it means for whoever writes such a module
    "must match the size": "Broadcasting lines shapes up from the right: give the smaller tensor an axis of size 1 "
    "wherever it has none, as (B, C) → (B, C, 1, 1).",
    "mat1 and mat2": "A linear layer acts on the last axis: is it the one you mean, and is the rest squeezed away?",
}
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
    prints one line and returns nothing; its attribute ``verdict`` returns the `Verdict` instead, for tests.

    Parameters
    ----------
    success : str
        What is now shown, printed behind "passed".
    """

    def decorate(probes: Callable[[Callable], None]) -> Callable[[Callable], None]:
        def verdict(attempt: Callable) -> Verdict:
            with torch.random.fork_rng(devices=[]):  # checking changes nothing about the lesson that follows
                torch.manual_seed(0)
                try:
                    if not callable(attempt):
                        raise WrongIdea(f"this is {_kind(attempt)}; hand over the function or class itself.")
                    probes(attempt)
                except NotAttempted:
                    return Verdict(NOT_YET, "write yours above and run both cells; the lesson goes on without it.")
                except WrongIdea as idea:
                    return Verdict(WRONG, str(idea))
            return Verdict(PASSED, success)

        @functools.wraps(probes)
        def check(attempt: Callable) -> None:
            print(verdict(attempt))

        check.verdict = verdict
        return check

    return decorate


def expect(condition: bool | torch.Tensor, otherwise: str) -> None:
    """Go on if `condition` holds; if not, `otherwise` is the idea that is wrong."""
    if not bool(condition):
        raise WrongIdea(otherwise)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal up to rounding, in shape as well."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def call(attempt: Callable, *inputs: torch.Tensor) -> torch.Tensor:
    """The learner's result on `inputs`; whatever goes wrong becomes one sentence."""
    given = "an input" if len(inputs) == 1 else "inputs"
    given += " of shape " + " and ".join(str(tuple(x.shape)) for x in inputs)
    copies = [x.detach().clone() for x in inputs]
    result = guarded(attempt, *inputs, given=given)
    expect(
        all(torch.equal(x, copy) for x, copy in zip(inputs, copies, strict=True)),
        "your code changed its input in place (with *=, mul_ or an assignment): make a new tensor instead.",
    )
    expect(result is not None, "your code returned None: does its last line say return?")
    expect(isinstance(result, torch.Tensor), f"your code returned {_kind(result)}; a single tensor is wanted.")
    return result


def guarded(attempt: Callable, *arguments, given: str, **options):
    """``attempt(*arguments)``; an error in it is told in one sentence, with the line it comes from."""
    try:
        return attempt(*arguments, **options)
    except NotImplementedError as error:
        if str(error) == YOUR_TURN:
            raise NotAttempted from None
        raise WrongIdea(_stopped(error, given)) from None
    except Exception as error:
        raise WrongIdea(_stopped(error, given)) from None


def named_mistake(result: torch.Tensor, right: torch.Tensor, mistakes: Iterable[tuple[torch.Tensor, str]]) -> None:
    """Say which of the known mistakes gives exactly this result, if it is not `right` and one does."""
    for mistaken, idea in mistakes:
        if same(result, mistaken) and not same(result, right):
            raise WrongIdea(idea)


def shape_of(*sizes: int) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _stopped(error: Exception, given: str) -> str:
    """One sentence for an exception, with the last line of the learner's own code that it passed through."""
    message = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    libraries = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(libraries)]
    where = ""
    if frames and (line := linecache.getline(frames[-1].filename, frames[-1].lineno).strip()):
        where = f" at `{line}`"
    hint = next((f" {hint}" for words, hint in HINTS.items() if words in message), "")
    return f"your code stopped{where} when given {given}: {type(error).__name__}: {message}.{hint}"
