"""Coordinate attention: pool along one axis only, so that the other one still says where.

Hou, Zhou, Feng: Coordinate Attention for Efficient Mobile Network Design. CVPR 2021. https://arxiv.org/abs/2103.02907
Built step by step in lesson 05.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import whole_number
from .base import Attention, mean


class CoordinateAttention(Attention):
    r"""Two gates a channel and place, its row's and its column's: :math:`x \cdot g_{row} \cdot g_{column}`.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    reduction : int, default 32
        r: rows and columns share a hidden layer of m = max(8, C // r) units. From 1 to C.

    Raises
    ------
    ValueError
        If `reduction` is larger than C.

    Notes
    -----
    Parameters: 3·C·m + 3·m + 2·C. Multiply-accumulates: 2·C·m·(H + W). Popular tutorials leave out
    the biases and have a ReLU where the paper has h-swish.

    Batch normalisation of the hidden layer needs more than one value per unit when it trains: H + W of them in each
    picture are always enough.

    Examples
    --------
    >>> import torch
    >>> ca = CoordinateAttention(512)
    >>> ca(torch.rand(2, 512, 7, 5)).shape
    torch.Size([2, 512, 7, 5])
    >>> sum(p.numel() for p in ca.parameters())
    25648
    """

    def __init__(self, channels: int, reduction: int = 32):
        super().__init__(channels)
        whole_number("reduction", reduction, 1, channels, why=f" (channels={channels})")
        hidden = max(8, channels // reduction)
        self.reduce = nn.Conv1d(channels, hidden, 1)
        self.norm = nn.BatchNorm1d(hidden)
        self.expand_rows = nn.Conv1d(hidden, channels, 1)
        self.expand_columns = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        height, width = x.shape[2:]
        both = torch.cat([mean(x, 3), mean(x, 2)], 2)  # (B, C, H + W): each row's mean, then each column's
        hidden = F.hardswish(self.norm(applied(self.reduce, both)))  # (B, m, H + W)
        rows, columns = hidden.split([height, width], 2)
        row_gate = applied(self.expand_rows, rows).sigmoid()  # (B, C, H)
        column_gate = applied(self.expand_columns, columns).sigmoid()  # (B, C, W)
        self.note(row_gate=row_gate, column_gate=column_gate)
        return x * row_gate[:, :, :, None] * column_gate[:, :, None, :]


def applied(layer: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """``layer(x)`` for a window of 1: a matrix times (B, C, n). For so few numbers a convolution takes longer."""
    return torch.baddbmm(layer.bias[:, None], layer.weight[:, :, 0].expand(x.shape[0], -1, -1), x)


def CAAttention(channel: int = 512, reduction: int = 16) -> CoordinateAttention:
    """`CoordinateAttention` under the name and arguments that popular tutorials use."""
    return CoordinateAttention(channel, reduction)
