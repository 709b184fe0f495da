"""Linformer: squeeze N keys and values into a few landmarks, and take an ordinary softmax over those.

Wang, Li, Khabsa, Fang, Ma: Linformer: Self-Attention with Linear Complexity. 2020. https://arxiv.org/abs/2006.04768
Compared with its relatives in lesson 06.
"""

from __future__ import annotations

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
        Height and width of the feature maps. E and F have one column per position: no other size fits them, in an
        exported graph either. `load_resized` interpolates the weights of another size.
    heads : int, default 4
        As in `SelfAttention`.
    landmarks : int, default 64
        The number of rows of E and F.
    norm : bool, default False
        As in `SelfAttention`.

    Raises
    ------
    ValueError
        If feature maps of another size come in.

    Notes
    -----
    Parameters: 4·C² + 4·C + 2·landmarks·N. MACs: 4·N·C² + 4·N·landmarks·C.

    A landmark is a mixture of positions, with weights of either sign. Rows of `weights` need not sum to 1.

    Examples
    --------
    >>> import torch
    >>> LinformerSelfAttention(64, size=(8, 6))(torch.rand(2, 64, 8, 6)).shape
    torch.Size([2, 64, 8, 6])
    """

    def __init__(
        self, channels: int, size: tuple[int, int], num_heads: int = 4, landmarks: int = 64, norm: bool = False
    ):
        super().__init__(channels, num_heads, norm=norm)
        self.size = height_and_width("size", size)
        positions = self.size[0] * self.size[1]
        whole_number("landmarks", landmarks, 1)
        self.mix_keys = nn.Parameter(torch.empty(landmarks, positions))  # E
        self.mix_values = nn.Parameter(torch.empty(landmarks, positions))  # F
        self.reset_own()

    @torch.no_grad()
    def reset_own(self) -> None:
        for mix in (self.mix_keys, self.mix_values):
            mix.normal_().div_(mix.shape[1] ** 0.5)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, size={self.size}, landmarks={len(self.mix_keys)}"

    def check(self, x: torch.Tensor) -> None:
        super().check(x)
        self.check_size(x, self.size, "its landmarks have a weight for each of those positions")

    def resized(self, weight: torch.Tensor) -> torch.Tensor:
        (height, width), positions = self.size, weight.shape[1]
        scale = (positions / (height * width)) ** 0.5
        old = round(height * scale), round(width * scale)
        if old[0] * old[1] != positions:
            raise ValueError(f"Landmarks of {positions} positions do not have the proportions of size={self.size}.")
        maps = F.interpolate(weight.unflatten(1, old)[None], self.size, mode="bicubic")[0]
        return maps.flatten(1) * scale**2  # a landmark is a sum: more positions, smaller weights

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return super().weights(q, self.mix_keys @ k) @ self.mix_values

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, self.mix_keys @ k, self.mix_values @ v)
