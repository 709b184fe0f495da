"""Softmax self-attention over the positions of a feature map: every position reads from all positions.

Vaswani et al.: Attention Is All You Need. NeurIPS 2017. https://arxiv.org/abs/1706.03762
Wang, Girshick, Gupta, He: Non-local Neural Networks. CVPR 2018. https://arxiv.org/abs/1711.07971
Built step by step in lesson 06.
"""

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
    num_heads : int, default 4
        Number of heads, each with d = C / num_heads channels. Divides C.
    key_channels : int, optional
        Number of channels of queries and keys, over all heads; a multiple of `num_heads`. Default: C.
    norm : bool, default False
        Standardise each image's features before queries, keys and values are computed, as Transformers do; the
        residual connection keeps x itself. Adds 2·C parameters.

    Raises
    ------
    ValueError
        If `num_heads` does not divide both `channels` and `key_channels`.

    Notes
    -----
    Parameters: 4·C² + 4·C. MACs: 4·N·C² + 2·N²·C with N = H·W, so doubling H and W costs about 16 times as much.

    The linear attentions of this package replace `weights` and `attend`, deformable attention replaces `forward`.
    `weights` is the definition, one row per query; `attend` computes ``weights(q, k) @ v`` faster.

    Examples
    --------
    >>> import torch
    >>> from attn_lessons.attention import watch
    >>> attention, x = SelfAttention(64), torch.rand(2, 64, 8, 6)
    >>> with watch(attention) as seen:
    ...     y = attention(x)
    >>> attention.row(seen[""], 3, 5).shape  # the weights of the query in row 3, column 5, per head
    torch.Size([2, 4, 8, 6])
    """

    shown = ("num_heads",)

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        tokens = self.norm(x).flatten(2).mT.contiguous()  # (B, N, C), one row per position
        q, k, v = (self.split(layer(tokens)) for layer in (self.query, self.key, self.value))  # (B, heads, N, d)
        self.note(query=q.unflatten(2, x.shape[2:]), key=k)
        mixed = self.attend(q, k, v).to(v.dtype)  # (B, heads, N, d)
        return x + self.out(mixed.transpose(1, 2).flatten(2)).mT.view(x.shape)

    def weights(self, q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """(B, heads, n, d) queries, (B, heads, N, d) keys → (B, heads, n, N): rows of weights; `bias` is per score."""
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return (scores if bias is None else scores + bias).softmax(-1)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``weights(q, k) @ v``, without storing the N × N matrix."""
        return F.scaled_dot_product_attention(q, k, v)

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) → (B, heads, N, C / heads)."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2).contiguous()

    @torch.no_grad()
    def row(self, seen: dict[str, torch.Tensor], row: int, column: int) -> torch.Tensor:
        """The weights of one query over all positions, or sampling points, from what `watch` saw: (B, heads, H, W)."""
        height, width = seen["query"].shape[2:4]
        whole_number("row", row, 0, height - 1)
        whole_number("column", column, 0, width - 1)
        bias = {"bias": seen["bias"][:, :, row * width + column, None]} if "bias" in seen else {}
        weights = self.weights(seen["query"][:, :, row, column, None], seen["key"], **bias).squeeze(2)
        return weights.unflatten(2, seen.get("points", seen["query"]).shape[2:4])
