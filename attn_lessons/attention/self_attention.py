"""Softmax self-attention over the positions of a feature map: every position asks all others what they hold.

Vaswani et al.: Attention Is All You Need. NeurIPS 2017. https://arxiv.org/abs/1706.03762
Wang, Girshick, Gupta, He: Non-local Neural Networks. CVPR 2018. https://arxiv.org/abs/1711.07971
Built step by step in lesson 06.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import divisor, whole_number
from .base import Attention


class SelfAttention(Attention):
    r"""Add to each position a weighted mean over all positions: :math:`x + W_o\,\mathrm{softmax}(QK^\top/\sqrt d)\,V`.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    heads : int, default 4
        So many queries look from each position at once, each with C / heads of the channels. Divides C.
    key_channels : int, optional
        Width of queries and keys over all heads; C if left out. `num_heads` divides it.
    norm : bool, default False
        Standardise each image's features before queries, keys and values are made of them, as Transformers do. Only
        the sum keeps x as it is. 2·C parameters more.

    Raises
    ------
    ValueError
        If `num_heads` does not divide `channels` and `key_channels`.

    Notes
    -----
    Parameters: 4·C² + 4·C. MACs: 4·N·C² + 2·N²·C with N = H·W: twice the side, sixteen times the work.

    The linear attentions of this package are this class with another `attend`, deformable attention with another
    `forward`. `weights` is the definition, row by row; `attend` computes ``weights(q, k) @ v``, as fast as it can.

    Examples
    --------
    >>> import torch
    >>> from attn_lessons.attention import watch
    >>> attention, x = SelfAttention(64), torch.rand(2, 64, 8, 6)
    >>> with watch(attention) as seen:
    ...     y = attention(x)
    >>> attention.row(seen[""], 3, 5).shape  # what the place in row 3, column 5 looked at, head by head
    torch.Size([2, 4, 8, 6])
    """

    def __init__(self, channels: int, num_heads: int = 4, key_channels: int | None = None, norm: bool = False):
        super().__init__(channels)
        self.norm = nn.GroupNorm(1, channels) if norm else nn.Identity()
        self.num_heads = divisor("num_heads", num_heads, "channels", channels)
        key_channels = channels if key_channels is None else whole_number("key_channels", key_channels, least=1)
        divisor("num_heads", num_heads, "key_channels", key_channels)
        self.query = nn.Linear(channels, key_channels)
        self.key = nn.Linear(channels, key_channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        tokens = self.norm(x).flatten(2).mT.contiguous()  # (B, N, C), one row a position
        q, k, v = (self.split(layer(tokens)) for layer in (self.query, self.key, self.value))  # (B, heads, N, d)
        self.note(query=q.unflatten(2, x.shape[2:]), key=k)
        mixed = self.attend(q, k, v).to(v.dtype)  # (B, heads, N, d)
        return x + self.out(mixed.transpose(1, 2).flatten(2)).mT.view(x.shape)

    def weights(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """(B, heads, n, d) queries, (B, heads, N, d) keys → (B, heads, n, N): rows of weights."""
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``weights(q, k) @ v``, without ever holding the N × N matrix."""
        return F.scaled_dot_product_attention(q, k, v)

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) → (B, heads, N, C / heads)."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2).contiguous()

    @torch.no_grad()
    def row(self, seen: dict[str, torch.Tensor], row: int, column: int) -> torch.Tensor:
        """What one query weighted each position with, from what `watch` saw: (B, heads, H, W)."""
        query = query_at(seen, row, column)
        return self.weights(query, seen["key"]).squeeze(2).unflatten(2, seen["query"].shape[2:4])


def query_at(seen: dict[str, torch.Tensor], row: int, column: int) -> torch.Tensor:
    """The recorded query of one position, (B, heads, 1, d)."""
    height, width = seen["query"].shape[2:4]
    whole_number("row", row, 0, height - 1)
    whole_number("column", column, 0, width - 1)
    return seen["query"][:, :, row, column, None]
