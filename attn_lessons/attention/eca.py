"""ECA, Efficient Channel Attention: one gate per channel, computed from this channel and its neighbours.

Wang, Wu, Zhu, Li, Zuo, Hu: ECA-Net: Efficient Channel Attention for Deep CNNs. CVPR 2020.
https://arxiv.org/abs/1910.03151
Built step by step in lesson 04.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import odd_number, whole_number
from .base import Attention, mean


class EfficientChannelAttention(Attention):
    r"""One gate per channel: :math:`x \cdot \sigma(\mathrm{conv}_k(\mathrm{mean}_{HW}\,x))`, convolved over channels.

    Parameters
    ----------
    channels : int, optional
        C, required by the paper's formula for k. Without it, and with a `kernel_size`, the module accepts any C.
    kernel_size : int, optional
        k, odd: the number of neighbouring channels that a gate depends on. Default: `adaptive_kernel_size` of C.

    Raises
    ------
    ValueError
        If `kernel_size` is even, or neither argument is given.

    Notes
    -----
    Parameters: k, without a bias. MACs: k·C. The means are padded with zeros before the first and after the last
    channel.

    Examples
    --------
    >>> import torch
    >>> eca = EfficientChannelAttention(512)
    >>> eca(torch.rand(2, 512, 7, 7)).shape
    torch.Size([2, 512, 7, 7])
    >>> sum(p.numel() for p in eca.parameters())
    5
    """

    any_channels = True
    shown = ("channels",)

    def __init__(self, channels: int | None = None, kernel_size: int | None = None):
        super().__init__(channels)
        if kernel_size is None and channels is None:
            raise ValueError("kernel_size=None takes the paper's formula, which needs channels: give one of them.")
        kernel_size = adaptive_kernel_size(channels) if kernel_size is None else odd_number("kernel_size", kernel_size)
        self.conv = LineConv(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        squeezed = mean(x, 2, 3)  # (B, C)
        gate = self.conv(squeezed[:, None])[:, 0].sigmoid()  # (B, C)
        self.note(gate=gate)
        return x * gate[:, :, None, None]


class LineConv(nn.Conv1d):
    """A convolution of one line of numbers, (B, 1, C) → (B, 1, C), as a matrix product: faster for few numbers."""

    def forward(self, line: torch.Tensor) -> torch.Tensor:
        windows = F.pad(line, self.padding * 2).unfold(2, *self.kernel_size, 1)  # (B, 1, C, k)
        return (windows @ self.weight[0, 0, :, None])[..., 0]


def adaptive_kernel_size(channels: int) -> int:
    """The paper's k: log2(C) / 2 + 1/2, rounded down to a whole number, and up to the next odd one.

    Examples
    --------
    >>> {c: adaptive_kernel_size(c) for c in (16, 64, 128, 512, 2048)}
    {16: 3, 64: 3, 128: 5, 512: 5, 2048: 7}
    """
    k = int(math.log2(whole_number("channels", channels, least=1)) / 2 + 1 / 2)
    return k if k % 2 else k + 1
