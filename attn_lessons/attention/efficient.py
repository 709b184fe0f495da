"""Efficient attention: two softmaxes, one over the channels of a query, one over the positions of a key.

Shen, Zhang, Zhao, Yi, Li: Efficient Attention: Attention with Linear Complexities. WACV 2021.
https://arxiv.org/abs/1812.01243
Compared with its relatives in lesson 06.
"""

from __future__ import annotations

import torch

from .base import at_least_fp32, full_precision
from .self_attention import SelfAttention


class EfficientSelfAttention(SelfAttention):
    r"""`SelfAttention` with the weights :math:`\mathrm{softmax}_d(Q)\,\mathrm{softmax}_N(K)^\top`.

    Each channel of the keys is a map over the image that sums to 1; a query is a mixture of such maps. Its rows
    therefore sum to 1 without being normalised.

    Parameters
    ----------
    channels, heads, key_channels, norm
        As in `SelfAttention`.

    Notes
    -----
    Parameters: 4·C² + 4·C. MACs: 4·N·C² + 2·N·C²/heads.

    Examples
    --------
    >>> import torch
    >>> EfficientSelfAttention(64)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 64, 56, 56])
    """

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return softmax(q, 3) @ softmax(k, 2).mT

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k = softmax(q, 3), softmax(k, 2)
        with full_precision(q):
            return q @ (k.mT @ v.to(k.dtype))


def softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """In fp32 or better: over 50,000 positions a weight is smaller than half precision can tell from 0."""
    return x.softmax(dim, dtype=at_least_fp32(x.dtype))
