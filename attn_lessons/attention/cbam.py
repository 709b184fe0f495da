"""CBAM, the Convolutional Block Attention Module: weight the channels first, and then the positions.

Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module. ECCV 2018. https://arxiv.org/abs/1807.06521
Built step by step in lesson 03.
"""

from __future__ import annotations

import torch
from torch import fx, nn

from ..arguments import odd_number, reduction_or
from .base import Attention, at_least_fp32, mean
from .se import start_in_pairs_


class ChannelAttention(Attention):
    r"""One gate per channel: :math:`x \cdot \sigma(\mathrm{MLP}(\mathrm{mean}_{HW} x) + \mathrm{MLP}(\max_{HW} x))`.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, optional
        r: the hidden layer of the MLP, which mean and maximum share, has C // r units. From 1 to C; left out, it is
        the paper's 16, and C where C is smaller: min(16, C).
    bias : bool, default False
        Whether the two linear layers have biases.

    Raises
    ------
    ValueError
        If `reduction` leaves no hidden unit (r > C).

    Notes
    -----
    Parameters: 2·C·(C // r), and with biases C + C // r more. MACs: 4·C·(C // r). Hidden units start
    in pairs, as those of `SqueezeExcitation` do.

    Examples
    --------
    >>> import torch
    >>> ChannelAttention(64, reduction=8)(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])
    """

    def __init__(self, channels: int, reduction: int | None = None, bias: bool = False):
        super().__init__(channels)
        self.reduction = reduction_or(
            16, reduction, self.channels, f" (channels={channels} would have no hidden unit left)"
        )
        self.reduce = nn.Linear(channels, channels // self.reduction, bias=bias)
        self.expand = nn.Linear(channels // self.reduction, channels, bias=bias)
        self.reset_own()

    def reset_own(self) -> None:
        start_in_pairs_(self.reduce.weight)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        average = mean(x, 2, 3)  # (B, C)
        most = largest(x, 2, 3)  # (B, C)
        gate = (self.mlp(average) + self.mlp(most)).sigmoid()  # (B, C)
        self.note(gate=gate)
        return x * gate[:, :, None, None]

    def mlp(self, squeezed: torch.Tensor) -> torch.Tensor:  # (B, C) → (B, C)
        return self.expand(self.reduce(squeezed).relu())


class SpatialAttention(Attention):
    r"""One gate per position: :math:`x \cdot \sigma(\mathrm{conv}_{k \times k}[\mathrm{mean}_C x, \max_C x])`.

    Parameters
    ----------
    channels : int, optional
        C, if only this number of channels is to be accepted; the module works with any.
    kernel_size : int, default 7
        k, the side of the window in places. Odd, so that it has a middle and the map keeps its size.

    Raises
    ------
    ValueError
        If `kernel_size` is even.

    Notes
    -----
    Parameters: 2·k² + 1, whatever C is. MACs: 2·k²·H·W. The paper's code has
    batch normalisation in place of the bias, and the maximum first, which only swaps two slices of the kernel.

    Examples
    --------
    >>> import torch
    >>> attention = SpatialAttention(kernel_size=3)
    >>> attention(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])
    >>> sum(p.numel() for p in attention.parameters())
    19
    """

    any_channels = True

    def __init__(self, channels: int | None = None, kernel_size: int = 7):
        super().__init__(channels)
        odd_number("kernel_size", kernel_size)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def extra_repr(self) -> str:
        return f"channels={self.channels}" if self.channels else ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        # oneDNN finds the gradient of two maps faster where their numbers take turns in memory.
        summary = torch.stack([mean(x, 1), largest(x, 1)], -1).movedim(-1, 1)  # (B, 2, H, W)
        gate = self.conv(summary).sigmoid()  # (B, 1, H, W)
        self.note(map=gate[:, 0])
        return x * gate


class CBAM(nn.Sequential):
    """`ChannelAttention`, then `SpatialAttention`: *what* first, and then *where*.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, optional
        r of the channel attention, from 1 to C; left out, min(16, C).
    kernel_size : int, default 7
        k of the spatial attention, odd.

    Notes
    -----
    Parameters: 2·C·(C // r) + 2·k² + 1. MACs: 4·C·(C // r) + 2·k²·H·W.

    Examples
    --------
    >>> import torch
    >>> cbam = CBAM(512)
    >>> cbam(torch.rand(2, 512, 7, 7)).shape
    torch.Size([2, 512, 7, 7])
    >>> sum(p.numel() for p in cbam.parameters())
    32867
    """

    def __init__(self, channels: int, reduction: int | None = None, kernel_size: int = 7):
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(channels, kernel_size)

    def reset_parameters(self) -> None:
        """Draw all weights again as construction does."""
        for part in self:
            part.reset_parameters()


@fx.wrap
def largest(x: torch.Tensor, *dims: int) -> torch.Tensor:
    """``x.amax(dims)``, with a faster backward pass unless a compiler writes one."""
    most = x.amax(dims, keepdim=True) if torch.compiler.is_compiling() else Largest.apply(x, dims)
    return most.squeeze(dims)


class Largest(torch.autograd.Function):
    """``x.amax(dims, keepdim=True)``; the gradient is divided by the number of equals before it is as large as x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
        return x.amax(dims, keepdim=True)

    @staticmethod
    def setup_context(ctx, inputs: tuple[torch.Tensor, tuple[int, ...]], most: torch.Tensor) -> None:
        x, ctx.dims = inputs
        ctx.save_for_backward(x, most)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, most = ctx.saved_tensors
        # What is written over in place needs one copy for each gradient, where vmap hands over several: 0 · gradient.
        below = x - (most + 0 * gradient)  # 0 for the largest, negative for all others
        fractions = below.sign_().add_(1)  # 1 for the largest, 0 for all others
        number = fractions.sum(ctx.dims, keepdim=True, dtype=at_least_fp32(x.dtype))
        return fractions.mul_(gradient / number), None


def CBAMAttention(channel: int = 512, reduction: int | None = None, kernel_size: int = 7) -> CBAM:
    """`CBAM` under the name and arguments that popular tutorials use."""
    return CBAM(channel, reduction, kernel_size)
