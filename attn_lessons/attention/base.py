"""What all mechanisms share: they refuse what they cannot weight, and show what they weighted with.

Introduced in lesson 02.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import fx, nn

from ..arguments import whole_number


class Attention(nn.Module):
    """Base of every mechanism: (B, C, H, W) in, (B, C, H, W) out.

    Parameters
    ----------
    channels : int or None
        C, the number of channels of the feature maps it will see; None for a mechanism that takes any number.

    Notes
    -----
    A subclass calls ``self.check(x)`` first and ``self.note(gate=gate)`` once it has its weights. Noting costs nothing
    until somebody looks with `watch`. One that does more to its weights than its layers do by themselves has
    `reset_own`, and calls it at the end of ``__init__``.
    """

    any_channels = False  # True where a mechanism has no weight of any channel's own, and takes channels=None

    def __init__(self, channels: int | None):
        super().__init__()
        unbound = channels is None and self.any_channels
        self.channels = None if unbound else whole_number("channels", channels, least=1)
        self._record: dict[str, torch.Tensor] | None = None

    def reset_parameters(self) -> None:
        """Draw all weights again as construction does: one seed gives the same weights either way."""
        for layer in self.children():
            reset(layer)
        self.reset_own()

    def reset_own(self) -> None:
        """What construction does to the weights after the layers have drawn theirs."""
        if list(self.parameters(recurse=False)):
            name = type(self).__name__
            raise NotImplementedError(f"{name} has weights of its own: give it a reset_own that draws them.")

    def check(self, x: torch.Tensor) -> None:
        """Refuse, in one sentence, anything but a floating-point (B, C, H, W) with this module's C."""
        if isinstance(x, fx.Proxy):  # a symbolic trace: there is no shape to look at yet
            return
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

    def check_size(self, x: torch.Tensor, size: tuple[int, int], why: str) -> None:
        """Refuse feature maps of another height or width than this module was built for."""
        if tuple(x.shape[2:]) != size:
            raise ValueError(
                f"This {type(self).__name__} was built with size={size}, and {why}; this x has shape {tuple(x.shape)}."
            )

    def resized(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight of this module's own from feature maps of another size, as it fits here: for `load_resized`."""
        return weight

    def note(self, **weights: torch.Tensor) -> None:
        """Hand the weights of this forward pass to whoever is watching."""
        if self._record is not None:
            self._record.update({name: weight.detach() for name, weight in weights.items()})


def reset(module: nn.Module) -> None:
    """Draw all weights of `module` again: by its own ``reset_parameters``, or, where it has none, part by part."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
    else:
        for part in module.children():
            reset(part)


@contextmanager
def watch(model: nn.Module) -> Iterator[dict[str, dict[str, torch.Tensor]]]:
    """Keep the weights that every attention module in `model` uses, for images.

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
    before = {name: module._record for name, module in watched.items()}  # of a `watch` around this one
    for module in watched.values():
        module._record = {}
    try:
        yield {name: module._record for name, module in watched.items()}
    finally:
        for name, module in watched.items():
            module._record = before[name]


def mean(x: torch.Tensor, *dims: int) -> torch.Tensor:
    """``x.mean(dims)``, with a backward pass that writes nothing as large as x.

    `torch.Tensor.mean` hands every number of x its share of the gradient, number by number. The sum hands out one view
    of what all of them share, scaled before, when there are only as many numbers as means. A compiler that fuses this
    scaling into a loop over x multiplies faster than it divides. Half precision is summed in fp32: 12,544 positions of
    6 each are more than fp16 can hold.
    """
    total = x.sum(dims, dtype=at_least_fp32(x.dtype))
    return (total * (1 / math.prod([x.shape[dim] for dim in dims]))).to(x.dtype)


def full_precision(x: torch.Tensor) -> AbstractContextManager:
    """Autocast off: what is summed over thousands of positions is too small, or too large, for half precision."""
    if x.device.type == "meta":  # has none to switch off
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


@fx.wrap  # a symbolic trace calls it when the graph runs: before, there is no dtype
def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """fp32 for half precision, otherwise `dtype`."""
    return torch.promote_types(dtype, torch.float32)
