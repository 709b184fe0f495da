"""What all mechanisms share: they check their input, and show the weights that they used.

Introduced in lesson 02.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import fx, nn

from ..arguments import whole_number


class Attention(nn.Module):
    """Base of every mechanism: (B, C, H, W) in, (B, C, H, W) out.

    Parameters
    ----------
    channels : int or None
        C, the number of channels of the feature maps; None for a mechanism that accepts any number.

    Notes
    -----
    A subclass calls ``self.check(x)`` first and ``self.note(gate=gate)`` once it has its weights. Noting costs nothing
    until `watch` asks for it. A subclass that initialises more than its layers do has `reset_own`, and calls it at the
    end of ``__init__``.
    """

    any_channels = False  # True for a mechanism without weights per channel, which accepts channels=None
    size: tuple[int, int] | None = None  # height and width of x, where weights belong to positions
    shown: tuple[str, ...] = ()  # attributes that ``repr`` shows, unless they are None

    def __init__(self, channels: int | None):
        super().__init__()
        self.channels = None if channels is None and self.any_channels else whole_number("channels", channels, least=1)
        self._record: dict[str, torch.Tensor] | None = None

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self.shown}
        return ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)

    def reset_parameters(self) -> None:
        """Re-initialise all weights as construction does: the same seed gives the same weights."""
        for layer in self.children():
            reset(layer)
        self.reset_own()

    def reset_own(self) -> None:
        """Initialise what the layers have not, after them."""
        if list(self.parameters(recurse=False)):
            raise NotImplementedError(f"{type(self).__name__} has weights of its own: give it a reset_own.")

    def check(self, x: torch.Tensor) -> None:
        """Raise an error of one sentence unless x is a floating-point (B, C, H, W) with this module's C and size."""
        if isinstance(x, fx.Proxy):  # symbolic tracing: the shape is not known yet
            return
        name, shape = type(self).__name__, tuple(x.shape)
        if x.dim() != 4 or 0 in shape[1:] or self.channels not in (None, shape[1]):
            takes = f"with channels={self.channels} takes x of shape (B, {self.channels or 'C'}, H, W)"
            raise ValueError(f"{name} {takes}, with C, H and W of at least 1; this x has shape {shape}.")
        if self.size not in (None, shape[2:]):
            raise ValueError(f"{name} has weights for positions of size={self.size} only; this x has shape {shape}.")
        if not x.is_floating_point():
            raise TypeError(f"{name} takes a floating-point x; this one is {x.dtype}: try x.float() / 255.")

    def note(self, **weights: torch.Tensor) -> None:
        """Keep the weights of this forward pass, if `watch` asks for them."""
        if self._record is not None:
            self._record.update({name: weight.detach() for name, weight in weights.items()})


def reset(module: nn.Module) -> None:
    """Re-initialise `module` by its ``reset_parameters``; if it has none, or is torch's own layer, its children."""
    known = hasattr(module, "reset_parameters")
    if known:
        module.reset_parameters()
    if not known or type(module).__module__.startswith("torch.nn"):  # whose children are attached, unknown to it
        for child in module.children():
            reset(child)


@contextmanager
def watch(model: nn.Module) -> Iterator[dict[str, dict[str, torch.Tensor]]]:
    """Keep the weights that every attention module in `model` uses, to draw them.

    Parameters
    ----------
    model : nn.Module
        Any network, or a single mechanism.

    Yields
    ------
    dict
        Module name → name of the weights → tensor, from the last forward pass inside the block. A mechanism on its own
        has the name ``""``.

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
    outer = {name: module._record for name, module in watched.items()}  # of a `watch` around this one
    for module in watched.values():
        module._record = {}
    try:
        yield {name: module._record for name, module in watched.items()}
    finally:
        for name, module in watched.items():
            module._record = outer[name]


def mean(x: torch.Tensor, *dims: int) -> torch.Tensor:
    """``x.mean(dims)``, with a backward pass that writes nothing as large as x.

    The backward pass of `torch.Tensor.mean` writes a gradient of the size of x. That of a sum returns a view in which
    all entries of x share the same memory, so the mean is a sum scaled afterwards. Multiplying by the reciprocal is
    faster than dividing once a compiler has fused it into a loop over x. Half precision is summed in fp32: 12,544
    positions of value 6 have a sum beyond the range of fp16.
    """
    total = x.sum(dims, dtype=at_least_fp32(x.dtype))
    return (total * (1 / math.prod([x.shape[dim] for dim in dims]))).to(x.dtype)


def full_precision(x: torch.Tensor) -> AbstractContextManager:
    """Autocast off: sums over thousands of positions exceed the range or the resolution of half precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)  # "meta" has no autocast


@fx.wrap  # called when a traced graph runs: during tracing the dtype is not known
def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """fp32 for half precision, otherwise `dtype`."""
    return torch.promote_types(dtype, torch.float32)
