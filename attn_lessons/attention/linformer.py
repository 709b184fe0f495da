"""Linformer: keys and values of N positions are projected to a few landmarks; softmax attention reads those.

Wang, Li, Khabsa, Fang, Ma: Linformer: Self-Attention with Linear Complexity. 2020. https://arxiv.org/abs/2006.04768
Compared with its relatives in lesson 06.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import height_and_width, whole_number
from .self_attention import SelfAttention


class LinformerSelfAttention(SelfAttention):
    r"""`SelfAttention` over landmarks: :math:`\mathrm{softmax}(Q(EK)^\top/\sqrt d)\,FV`.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    size : (int, int)
        Height and width of the feature maps. E and F have one column per position, so no other size fits them, in an
        exported graph either.
    num_heads : int, default 4
        As in `SelfAttention`.
    landmarks : int, default 64
        Number of rows of E and F.
    norm : bool, default False
        As in `SelfAttention`.

    Raises
    ------
    ValueError
        If feature maps have another size.

    Notes
    -----
    Parameters: 4·C² + 4·C + 2·landmarks·N. MACs: 4·N·C² + 4·N·landmarks·C.

    A landmark is a mixture of positions with weights of either sign, so rows of `weights` need not sum to 1.

    Examples
    --------
    >>> import torch
    >>> LinformerSelfAttention(64, size=(8, 6))(torch.rand(2, 64, 8, 6)).shape
    torch.Size([2, 64, 8, 6])
    """

    shown = ("num_heads", "size", "landmarks")

    def __init__(self, channels: int, size: tuple[int, int], num_heads: int = 4, landmarks: int = 64,
                 norm: bool = False):  # fmt: skip
        super().__init__(channels, num_heads, norm=norm)
        self.size = height_and_width("size", size)
        positions = self.size[0] * self.size[1]
        self.landmarks = whole_number("landmarks", landmarks, 1)
        self.mix_keys = nn.Parameter(torch.empty(landmarks, positions))  # E
        self.mix_values = nn.Parameter(torch.empty(landmarks, positions))  # F
        self.reset_own()

    @torch.no_grad()
    def reset_own(self) -> None:
        for mix in (self.mix_keys, self.mix_values):
            mix.normal_().div_(mix.shape[1] ** 0.5)

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return super().weights(q, self.mix_keys @ k) @ self.mix_values

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, self.mix_keys @ k, self.mix_values @ v)
