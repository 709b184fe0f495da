"""Truly linear attention: multiply keys and values first, and no N × N matrix ever exists.

Katharopoulos, Vyas, Pappas, Fleuret: Transformers are RNNs. ICML 2020. https://arxiv.org/abs/2006.16236
Built step by step in lesson 06.
"""

from __future__ import annotations

import torch

from ..arguments import reduction_or, whole_number
from .base import at_least_fp32, full_precision
from .self_attention import SelfAttention


class LinearSelfAttention(SelfAttention):
    r"""`SelfAttention` with the kernel :math:`\varphi(q)\cdot\varphi(k)`, where φ = elu + 1, in place of exp(q·k / √d).

    Parameters
    ----------
    channels, heads, key_channels, norm
        As in `SelfAttention`.

    Notes
    -----
    Parameters: 4·C² + 4·C. MACs: 4·N·C² + 2·N·C²/heads: twice the side, four times the work.

    Examples
    --------
    >>> import torch
    >>> LinearSelfAttention(64)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 64, 56, 56])
    """

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return normalised(feature_map(q) @ feature_map(k).mT)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return linear_attention(feature_map(q), feature_map(k), v)


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Positive features q, k (B, heads, N, m) and values (B, heads, N, d): (q·kᵀ) v / Σ(q·kᵀ), from right to left."""
    with full_precision(q):
        summary = k.mT @ v.to(k.dtype)  # (B, heads, m, d): all positions, whatever their number
        total = k.sum(2, keepdim=True)  # (B, heads, 1, m)
        # A product's way back is shorter than a quotient's.
        return (q @ summary) * (q * total).sum(3, keepdim=True).reciprocal()


def feature_map(x: torch.Tensor) -> torch.Tensor:
    """elu(x) + 1, in fp32 or better: in bf16, elu(−8) + 1 would round to 0, and a row of zeros has no mean.

    Below −20, where it is smaller than 3e-9, it stays what it is at −20, so that no row is ever empty.

    Examples
    --------
    >>> feature_map(torch.tensor([-8.0, 0.0, 2.0]))
    tensor([3.3546e-04, 1.0000e+00, 3.0000e+00])
    """
    x = x.to(at_least_fp32(x.dtype))
    return elu_plus_one(x) if torch.compiler.is_compiling() else EluPlusOne.apply(x)


def elu_plus_one(x: torch.Tensor) -> torch.Tensor:
    """exp(x) up to 0 and x + 1 from there on, with slope 1 at 0 too: ``x.clamp(-20, 0)`` would have none there."""
    positive = x.relu()
    return positive + (x - positive).clamp(min=-20).exp()


class EluPlusOne(torch.autograd.Function):
    """`elu_plus_one` with its slope by hand: min(φ, 1), whatever x was. A compiler writes its own backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return elu_plus_one(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple[torch.Tensor], features: torch.Tensor) -> None:
        ctx.save_for_backward(features)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (features,) = ctx.saved_tensors
        return gradient * features.clamp(max=1)


def normalised(scores: torch.Tensor) -> torch.Tensor:
    """Rows that sum to 1."""
    return scores / scores.sum(-1, keepdim=True)


def LinearAttention(in_dim: int, reduction: int | None = None) -> LinearSelfAttention:
    """`LinearSelfAttention` under the name and arguments that a popular tutorial uses: one head, C // r wide.

    r left out is the tutorial's 8, and C where C is smaller.

    The tutorial's own code has the same parameters, but takes a softmax over an N × N matrix. Lesson 06 takes it apart.
    """
    whole_number("in_dim", in_dim, 1)
    reduction = reduction_or(8, reduction, in_dim, f" (in_dim={in_dim} would have no key left)")
    return LinearSelfAttention(in_dim, num_heads=1, key_channels=in_dim // reduction)
