"""Efficient attention: two softmaxes, one over the channels of a query, one over the positions of a key.

Shen, Zhang, Zhao, Yi, Li: Efficient Attention: Attention with Linear Complexities. WACV 2021.
https://arxiv.org/abs/1812.01243
Compared with its relatives in lesson 06.
"""

import torch

from .base import at_least_fp32, full_precision
from .self_attention import SelfAttention


class EfficientSelfAttention(SelfAttention):
    r"""`SelfAttention` with the weights :math:`\mathrm{softmax}_d(Q)\,\mathrm{softmax}_N(K)^\top`.

    Each channel of the keys is a map over the positions that sums to 1, and the weights of a query are a mixture of
    these maps. Rows therefore sum to 1 without normalisation.

    Parameters
    ----------
    channels, num_heads, key_channels, norm
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
    """In fp32 or better: over 50,000 positions, weights can be too small for half precision."""
    return x.softmax(dim, dtype=at_least_fp32(x.dtype))
