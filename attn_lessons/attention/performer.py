"""Performer: products of random features whose expected value is exp(q·k).

Choromanski et al.: Rethinking Attention with Performers. ICLR 2021. https://arxiv.org/abs/2009.14794
Compared with its relatives in lesson 06.
"""

import torch

from ..arguments import whole_number
from .base import at_least_fp32, full_precision
from .linear import linear_attention, normalised
from .self_attention import SelfAttention


class PerformerSelfAttention(SelfAttention):
    r"""`SelfAttention` with :math:`\exp(q\cdot k/\sqrt d)` estimated by positive random features (FAVOR+).

    Parameters
    ----------
    channels, num_heads
        As in `SelfAttention`.
    features : int, default 64
        m, the number of random features per head. More features have less noise.
    norm : bool, default False
        As in `SelfAttention`.

    Notes
    -----
    Parameters: 4·C² + 4·C; the m × d random directions are drawn once and are not learned.
    MACs: 4·N·C² + 4·N·m·C.

    Examples
    --------
    >>> import torch
    >>> PerformerSelfAttention(64)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 64, 56, 56])
    """

    shown = ("num_heads", "features")

    def __init__(self, channels: int, num_heads: int = 4, features: int = 64, norm: bool = False):
        super().__init__(channels, num_heads, norm=norm)
        self.features = whole_number("features", features, 1)
        self.register_buffer("directions", torch.empty(features, channels // num_heads))
        self.reset_own()

    def reset_own(self) -> None:
        self.directions.copy_(orthogonal_directions(*self.directions.shape))

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return normalised(self.positive_features(q, (3,)) @ self.positive_features(k, (2, 3)).mT)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return linear_attention(self.positive_features(q, (3,)), self.positive_features(k, (2, 3)), v)

    def positive_features(self, x: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
        """Features of x / ⁴√d, divided by their maximum over these axes: normalised rows stay the same."""
        log = log_features(x / x.shape[-1] ** 0.25, self.directions)  # (B, heads, N, m)
        return (log - log.amax(over, keepdim=True)).clamp(min=-20).exp()  # never all zero


def log_features(x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """w·x − ‖x‖²/2 for every direction w, in fp32 or better: (…, d), (m, d) → (…, m).

    With φ(x) = exp(w·x − ‖x‖²/2) / √m, the expected value of φ(q)·φ(k) is exp(q·k).

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> q, k = 0.25 * torch.randn(2, 16)
    >>> w = orthogonal_directions(100_000, 16)
    >>> estimate, truth = (log_features(q, w) + log_features(k, w)).exp().mean(), (q @ k).exp()
    >>> bool((estimate / truth - 1).abs() < 0.02)
    True
    """
    x = x.to(at_least_fp32(x.dtype))
    with full_precision(x):
        return x @ directions.to(x.dtype).mT - x.square().sum(-1, keepdim=True) / 2


def orthogonal_directions(m: int, d: int) -> torch.Tensor:
    """m directions in d dimensions, (m, d): Gaussian each, and at right angles within every block of d.

    The columns of Q from a QR decomposition are uniform only after each is multiplied by the sign of R's diagonal;
    without it the features are biased.
    """
    q, r = torch.linalg.qr(torch.randn(-(-m // d), d, d))  # enough blocks for m
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :]
    lengths = torch.randn(m, d).norm(dim=1, keepdim=True)  # as long as Gaussian vectors are
    return q.mT.flatten(0, 1)[:m] * lengths
