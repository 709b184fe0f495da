"""Checks of arguments. A wrong one is refused in one sentence: which argument, what was given, what is allowed."""

import math
import operator
from collections.abc import Callable, Iterable
from functools import partial


def one_of(argument: str, value: object, allowed: Iterable) -> None:
    """One sentence that lists what is allowed, if `value` is not among it."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{argument}={value!r} is not known: choose one of {', '.join(map(repr, allowed))}.")


def whole_number(argument: str, value: object, least: int, most: int | None = None, why: str = "") -> int:
    """`value` as an int, or one sentence that says which argument it was and what is allowed."""
    allowed = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # numpy's and torch's integers, too
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{argument}={value!r} is not {allowed}{why}.")
    if number < least or (most is not None and number > most):
        raise ValueError(f"{argument}={value} is not {allowed}{why}.")
    return number


def real_number(argument: str, value: object, least: float, below: float = math.inf) -> float:
    """`value` as a float from `least` to below `below`, or one sentence."""
    allowed = f"a number of at least {least:g}" + (f" and below {below:g}" if below < math.inf else "")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument}={value!r} is not {allowed}.")
    if not least <= value < below:
        raise ValueError(f"{argument}={value!r} is not {allowed}.")
    return float(value)


def odd_number(argument: str, value: object) -> int:
    """`value` as an odd int of at least 1, or one sentence; an even window has no middle."""
    if whole_number(argument, value, least=1) % 2 == 0:
        raise ValueError(f"{argument}={value} is even: a window with a middle has an odd size; try {value + 1}.")
    return value


def divisor(argument: str, value: object, total_name: str, total: int) -> int:
    """`value` as an int that divides `total`, or one sentence that lists those that do."""
    if total % whole_number(argument, value, least=1):
        allowed = ", ".join(str(n) for n in range(1, total + 1) if total % n == 0)
        raise ValueError(f"{argument}={value} does not divide {total_name}={total}: choose one of {allowed}.")
    return value


def reduction_or(usual: int, reduction: object, channels: int, why: str) -> int:
    """r as given, from 1 to C, or one sentence. Where it is left out: the usual one, and C where C is smaller."""
    if reduction is None:
        return min(usual, channels)
    return whole_number("reduction", reduction, 1, channels, why)


def height_and_width(argument: str, value: object) -> tuple[int, int]:
    """`value` as two ints of at least 1, or one sentence."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{argument}={value!r} is not two whole numbers, height and width: try {argument}=(16, 16).")
    return tuple(whole_number(f"{argument}[{i}]", n, least=1) for i, n in enumerate(value))


def name_of(function: Callable) -> str:
    """Its own name; of a `partial`, with what is filled in; of another object that can be called, its kind's."""
    if isinstance(function, partial):
        filled = [*map(repr, function.args), *(f"{name}={value!r}" for name, value in function.keywords.items())]
        return f"{name_of(function.func)}({', '.join(filled)})"
    return getattr(function, "__name__", type(function).__name__)
