"""Squeeze-and-Excitation: one gate per channel, computed from the whole image.

Hu, Shen, Sun: Squeeze-and-Excitation Networks. CVPR 2018. https://arxiv.org/abs/1709.01507
Built step by step in lesson 02.
"""

import torch
from torch import nn

from ..arguments import reduction_or
from .base import Attention, mean


class SqueezeExcitation(Attention):
    r"""One gate per channel: :math:`x \cdot \sigma(W_2\,\mathrm{ReLU}(W_1\,\mathrm{mean}_{HW}\,x))`.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, optional
        r, from 1 to C: the hidden layer has C // r units. Default: the paper's 16, or C if C is smaller.

    Raises
    ------
    ValueError
        If `reduction` leaves no hidden unit (r > C). Without this check every gate would be σ(0) = 0.5.

    Notes
    -----
    Parameters: 2·C·(C // r). MACs: 2·C·(C // r). Gates lie in (0, 1) and start near 0.5.

    The hidden units start in pairs with weights w and −w, so that for every image ReLU passes one of each pair.
    Initialised independently, all of them can be zero for every image; such a module never learns. Lesson 02 counts
    how often this happens.

    Examples
    --------
    >>> import torch
    >>> se = SqueezeExcitation(512, reduction=16)
    >>> se(torch.rand(2, 512, 7, 7)).shape
    torch.Size([2, 512, 7, 7])
    >>> sum(p.numel() for p in se.parameters())
    32768
    """

    shown = ("reduction",)

    def __init__(self, channels: int, reduction: int | None = None):
        super().__init__(channels)
        self.reduction = reduction_or(16, reduction, self.channels, f" (channels={channels})")
        self.reduce = nn.Linear(channels, channels // self.reduction, bias=False)
        self.expand = nn.Linear(channels // self.reduction, channels, bias=False)
        self.reset_own()

    def reset_own(self) -> None:
        start_in_pairs_(self.reduce.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        squeezed = mean(x, 2, 3)  # (B, C)
        hidden = self.reduce(squeezed).relu()  # (B, C // r)
        gate = self.expand(hidden).sigmoid()  # (B, C)
        self.note(gate=gate)
        return x * gate[:, :, None, None]


@torch.no_grad()
def start_in_pairs_(weight: torch.Tensor) -> None:
    """Set rows 1, 3, 5, … to the negatives of rows 0, 2, 4, …; an odd last row gets no negative entry.

    For any s, ReLU(w·s) and ReLU(−w·s) are not both zero. The odd last row is active for features after a ReLU, which
    are never negative.
    """
    paired = len(weight) // 2 * 2
    weight[1:paired:2] = -weight[0:paired:2]
    weight[paired:] = weight[paired:].abs()
