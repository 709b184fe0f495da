"""Coordinate attention: pooling along one axis keeps the position along the other.

Hou, Zhou, Feng: Coordinate Attention for Efficient Mobile Network Design. CVPR 2021. https://arxiv.org/abs/2103.02907
Built step by step in lesson 05.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import reduction_or
from .base import Attention, mean


class CoordinateAttention(Attention):
    r"""One gate per channel and row, and one per channel and column: :math:`x \cdot g_{row} \cdot g_{column}`.

    Row gates are :math:`\sigma(W_r z)`, column gates :math:`\sigma(W_c z)`, with z = h-swish(BN(W x̄)) of the means x̄
    of each row and each column.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, optional
        r, from 1 to C: rows and columns share a hidden layer of m = max(8, C // r) units. Default: the paper's 32, or
        C if C is smaller.

    Raises
    ------
    ValueError
        If `reduction` is larger than C.

    Notes
    -----
    Parameters: 3·C·m + 3·m + 2·C. MACs: 2·C·m·(H + W). Popular tutorials leave out the biases and have a ReLU in place
    of h-swish.

    In training, batch normalisation needs more than one value per unit; each image has H + W of them.

    Examples
    --------
    >>> import torch
    >>> ca = CoordinateAttention(512)
    >>> ca(torch.rand(2, 512, 7, 5)).shape
    torch.Size([2, 512, 7, 5])
    >>> sum(p.numel() for p in ca.parameters())
    25648
    """

    shown = ("reduction",)

    def __init__(self, channels: int, reduction: int | None = None):
        super().__init__(channels)
        self.reduction = reduction_or(32, reduction, self.channels, f" (channels={channels})")
        hidden = max(8, channels // self.reduction)
        self.reduce = PointwiseConv(channels, hidden, 1)
        self.norm = nn.BatchNorm1d(hidden)
        self.expand_rows = PointwiseConv(hidden, channels, 1)
        self.expand_columns = PointwiseConv(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        both = torch.cat([mean(x, 3), mean(x, 2)], 2)  # (B, C, H + W): each row's mean, then each column's
        hidden = F.hardswish(self.norm(self.reduce(both)))  # (B, m, H + W)
        rows, columns = hidden.split([x.shape[2], x.shape[3]], 2)
        row_gate = self.expand_rows(rows).sigmoid()  # (B, C, H)
        column_gate = self.expand_columns(columns).sigmoid()  # (B, C, W)
        self.note(row_gate=row_gate, column_gate=column_gate)
        return x * row_gate[:, :, :, None] * column_gate[:, :, None, :]


class PointwiseConv(nn.Conv1d):
    """A convolution with a kernel of 1, (B, C, n) → (B, m, n), as a matrix product: faster for few numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias[:, None], self.weight[:, :, 0].expand(x.shape[0], -1, -1), x)
