"""CBAM, the Convolutional Block Attention Module: weight the channels first, and then the positions.

Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module. ECCV 2018. https://arxiv.org/abs/1807.06521
Built step by step in lesson 03.
"""

import torch
from torch import fx, nn

from ..arguments import odd_number
from .base import Attention, at_least_fp32, mean
from .se import SqueezeExcitation


class ChannelAttention(SqueezeExcitation):
    r"""One gate per channel: :math:`x \cdot \sigma(\mathrm{MLP}(\mathrm{mean}_{HW}\,x) + \mathrm{MLP}(\max_{HW} x))`.

    Parameters
    ----------
    channels, reduction
        As in `SqueezeExcitation`; mean and maximum share the two layers.

    Notes
    -----
    Parameters: 2·C·(C // r). MACs: 4·C·(C // r). Weights start as those of `SqueezeExcitation`.

    Examples
    --------
    >>> import torch
    >>> ChannelAttention(64, reduction=8)(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        average = mean(x, 2, 3)  # (B, C)
        maximum = largest(x, 2, 3)  # (B, C)
        gate = (self.mlp(average) + self.mlp(maximum)).sigmoid()  # (B, C)
        self.note(gate=gate)
        return x * gate[:, :, None, None]

    def mlp(self, pooled: torch.Tensor) -> torch.Tensor:  # (B, C) → (B, C)
        return self.expand(self.reduce(pooled).relu())


class SpatialAttention(Attention):
    r"""One gate per position: :math:`x \cdot \sigma(\mathrm{conv}_{k \times k}[\mathrm{mean}_C\,x, \max_C x])`.

    Parameters
    ----------
    channels : int, optional
        C, to accept only this number of channels; without it the module accepts any.
    kernel_size : int, default 7
        k, the height and width of the kernel in positions. Odd, so that the map keeps its size.

    Raises
    ------
    ValueError
        If `kernel_size` is even.

    Notes
    -----
    Parameters: 2·k² + 1, for any C. MACs: 2·k²·H·W. The paper's code has batch normalisation in place of the bias, and
    the maximum first, which only swaps the two slices of the kernel.

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
    shown = ("channels",)

    def __init__(self, channels: int | None = None, kernel_size: int = 7):
        super().__init__(channels)
        odd_number("kernel_size", kernel_size)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        # With the two maps interleaved in memory, oneDNN computes the gradient of the convolution faster.
        pooled = torch.stack([mean(x, 1), largest(x, 1)], -1).movedim(-1, 1)  # (B, 2, H, W)
        gate = self.conv(pooled).sigmoid()  # (B, 1, H, W)
        self.note(map=gate[:, 0])
        return x * gate


class CBAM(nn.Sequential):
    """`ChannelAttention`, then `SpatialAttention`: *what* first, and then *where*.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, optional
        r of the channel attention, from 1 to C. Default: 16, or C if C is smaller.
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
        """Re-initialise all weights as construction does."""
        for part in self:
            part.reset_parameters()


@fx.wrap
def largest(x: torch.Tensor, *dims: int) -> torch.Tensor:
    """``x.amax(dims)``, with a faster backward pass unless a compiler writes one."""
    maximum = x.amax(dims, keepdim=True) if torch.compiler.is_compiling() else Largest.apply(x, dims)
    return maximum.squeeze(dims)


class Largest(torch.autograd.Function):
    """``x.amax(dims, keepdim=True)``; the gradient is divided by the number of ties before it is expanded over x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
        return x.amax(dims, keepdim=True)

    @staticmethod
    def setup_context(ctx, inputs: tuple[torch.Tensor, tuple[int, ...]], maximum: torch.Tensor) -> None:
        x, ctx.dims = inputs
        ctx.save_for_backward(x, maximum)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, maximum = ctx.saved_tensors
        # vmap may pass a batch of gradients: adding 0 · gradient makes a copy for each, to be overwritten in place.
        below = x - (maximum + 0 * gradient)  # 0 for the maximum, negative elsewhere
        is_maximum = below.sign_().add_(1)  # 1 for the maximum, 0 elsewhere
        ties = is_maximum.sum(ctx.dims, keepdim=True, dtype=at_least_fp32(x.dtype))
        return is_maximum.mul_(gradient / ties), None
