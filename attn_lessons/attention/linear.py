"""Linear attention: keys and values are multiplied first, so there is no N × N matrix.

Katharopoulos, Vyas, Pappas, Fleuret: Transformers are RNNs. ICML 2020. https://arxiv.org/abs/2006.16236
Built step by step in lesson 06.
"""

import torch

from .base import at_least_fp32, full_precision
from .self_attention import SelfAttention


class LinearSelfAttention(SelfAttention):
    r"""`SelfAttention` with the kernel :math:`\varphi(q)\cdot\varphi(k)`, where φ = elu + 1, in place of exp(q·k / √d).

    Parameters
    ----------
    channels, num_heads, key_channels, norm
        As in `SelfAttention`.

    Notes
    -----
    Parameters: 4·C² + 4·C. MACs: 4·N·C² + 2·N·C²/heads, so doubling H and W costs 4 times as much.

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
    """Positive features q, k (B, heads, N, m) and values (B, heads, N, d): q (kᵀ v) / (q Σk)."""
    with full_precision(q):
        kv = k.mT @ v.to(k.dtype)  # (B, heads, m, d): a sum over all positions, of a size that does not depend on N
        k_sum = k.sum(2, keepdim=True)  # (B, heads, 1, m)
        # The backward pass of a product is shorter than that of a quotient.
        return (q @ kv) * (q * k_sum).sum(3, keepdim=True).reciprocal()


def feature_map(x: torch.Tensor) -> torch.Tensor:
    """φ(x) = elu(x) + 1, in fp32 or better: in bf16, elu(−8) + 1 rounds to 0, and weights that are all 0 have no mean.

    Below −20, where it is smaller than 3e-9, it is constant, so that the sum of a row's weights is never 0.

    Examples
    --------
    >>> feature_map(torch.tensor([-8.0, 0.0, 2.0]))
    tensor([3.3546e-04, 1.0000e+00, 3.0000e+00])
    """
    x = x.to(at_least_fp32(x.dtype))
    return EluPlusOne.forward(x) if torch.compiler.is_compiling() else EluPlusOne.apply(x)


class EluPlusOne(torch.autograd.Function):
    """exp(x) below 0 and x + 1 above; the slope is min(φ, 1), so only φ is kept. A compiler writes a backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        positive = x.relu()
        return positive + (x - positive).clamp(min=-20).exp()  # slope 1 at 0, too; x.clamp(-20, 0) has slope 0 there

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
