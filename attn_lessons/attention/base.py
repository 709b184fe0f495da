"""What all mechanisms share: they refuse what they cannot weight, and show what they weighted with.

Introduced in lesson 02.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


class Attention(nn.Module):
    """Base of every mechanism: (B, C, H, W) in, (B, C, H, W) out.

    Parameters
    ----------
    channels : int or None
        C, the number of channels of the feature maps it will see; None for a mechanism that takes any number.

    Notes
    -----
    A subclass calls ``self.check(x)`` first and ``self.note(gate=gate)`` once it has its weights. Noting costs nothing
    until somebody looks with `watch`.
    """

    any_channels = False  # True where a mechanism has no weight of any channel's own, and takes channels=None

    def __init__(self, channels: int | None):
        super().__init__()
        unbound = channels is None and self.any_channels
        self.channels = None if unbound else whole_number("channels", channels, least=1)
        self._record: dict[str, torch.Tensor] | None = None

    def check(self, x: torch.Tensor) -> None:
        """Refuse, in one sentence, anything but a floating-point (B, C, H, W) with this module's C."""
        name = type(self).__name__
        if x.dim() != 4 or self.channels not in (None, x.shape[1]):
            built = f", since it was built with channels={self.channels}" if self.channels else ""
            raise ValueError(
                f"{name} takes x of shape (B, {self.channels or 'C'}, H, W){built}; this x has shape {tuple(x.shape)}."
            )
        if 0 in x.shape[1:]:
            raise ValueError(f"{name} takes x with C, H and W of at least 1; this x has shape {tuple(x.shape)}.")
        if not x.is_floating_point():
            raise TypeError(f"{name} takes a floating-point x; this one is {x.dtype}: try x.float() / 255.")

    def note(self, **weights: torch.Tensor) -> None:
        """Hand the weights of this forward pass to whoever is watching."""
        if self._record is not None:
            self._record.update({name: weight.detach() for name, weight in weights.items()})


@contextmanager
def watch(model: nn.Module) -> Iterator[dict[str, dict[str, torch.Tensor]]]:
    """Keep the weights that every attention module in `model` uses, for pictures.

    Parameters
    ----------
    model : nn.Module
        Any network, or a single mechanism.

    Yields
    ------
    dict
        Module name → name of the weights → tensor, filled by the last forward pass inside the block. A mechanism on
        its own has the name ``""``.

    Examples
    --------
    >>> import torch
    >>> from attn_lessons.attention import SqueezeExcitation, watch
    >>> se = SqueezeExcitation(32)
    >>> with watch(se) as seen:
    ...     _ = se(torch.rand(4, 32, 8, 8))
    >>> seen[""]["gate"].shape
    torch.Size([4, 32])
    """
    watched = {name: module for name, module in model.named_modules() if isinstance(module, Attention)}
    for module in watched.values():
        module._record = {}
    try:
        yield {name: module._record for name, module in watched.items()}
    finally:
        for module in watched.values():
            module._record = None


def full_precision(x: torch.Tensor) -> AbstractContextManager:
    """Autocast off: what is summed over thousands of places is too small, or too large, for half precision."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def whole_number(argument: str, value: object, least: int, most: int | None = None, why: str = "") -> int:
    """`value` as an int, or one sentence that says which argument it was and what is allowed."""
    allowed = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument}={value!r} is not {allowed}{why}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{argument}={value} is not {allowed}{why}.")
    return value


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


def height_and_width(argument: str, value: object) -> tuple[int, int]:
    """`value` as two ints of at least 1, or one sentence."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{argument}={value!r} is not two whole numbers, height and width: try {argument}=(16, 16).")
    return tuple(whole_number(f"{argument}[{i}]", n, least=1) for i, n in enumerate(value))
