"""DAttention: each query looks at a few points only, and the image decides where they lie.

Xia, Pan, Song, Li, Huang: Vision Transformer with Deformable Attention. CVPR 2022. https://arxiv.org/abs/2201.00520
Xia et al.: DAT++: Spatially Dynamic Vision Transformer with Deformable Attention. 2023. https://arxiv.org/abs/2309.01430
Built step by step in lesson 07.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import divisor, height_and_width, one_of, real_number, whole_number
from .base import at_least_fp32
from .self_attention import SelfAttention, query_at


class DeformableAttention(SelfAttention):
    r"""`SelfAttention` whose keys and values are bilinear samples of x at points that a small network shifts.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    heads : int, default 4
        As in `SelfAttention`.
    groups : int, default 2
        The channels are split into so many groups, each with points of its own. Divides `num_heads`.
    stride : int, default 1
        One point for every stride × stride positions. This is what saves work; `groups` does not.
    position : {"conv", "table", None}, default "conv"
        How queries know where they are: a depth-wise 3×3 convolution of the queries, added to the output (dwc-pe); a
        table of biases, one for each head and displacement between query and point; or not at all.
    size : (int, int), optional
        Height and width of the feature maps; the table needs it, and takes no other, in an exported graph either.
        `load_resized` interpolates the table of another size.
    offset_range : float, default 2.0
        How far a point can move from the middle of its stride × stride positions, in units of the stride. 0: not at
        all, and no network for it.
    dropout : float, default 0.0
        The share of the weights that is dropped in training, below 1.
    norm : bool, default False
        As in `SelfAttention`.

    Raises
    ------
    ValueError
        If `groups` does not divide `num_heads`, `num_heads` not `channels`, or feature maps do not have the table's
        size.

    Notes
    -----
    With n = ⌈H / stride⌉·⌈W / stride⌉ points and kernel size k = 2·⌈log2(stride)⌉ + 3 (3, 5, 7, 9 for 1, 2, 4, 8):

    - parameters: 4·(C² + C), offsets (C / groups)·(k² + 5), position 10·C (conv) or heads·(2H−1)·(2W−1) (table);
    - MACs: 2·N·C² + 2·n·C² + 2·N·n·C, offsets n·C·(k² + 2), position 9·N·C (conv).

    The paper's released code has a reference grid that is half a step off, fails on a grid of 1×1 points, and drops
    weights in place, so that it cannot be trained with dropout. Here points start in the middle of the positions that
    they stand for: with stride 1 and no offsets, every point is a position, and this is `SelfAttention`.

    Examples
    --------
    >>> import torch
    >>> DeformableAttention(64, num_heads=8, groups=4, stride=2)(torch.rand(1, 64, 32, 32)).shape
    torch.Size([1, 64, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 4,
        groups: int = 2,
        stride: int = 1,
        position: str | None = "conv",
        size: tuple[int, int] | None = None,
        offset_range: float = 2.0,
        dropout: float = 0.0,
        norm: bool = False,
    ):
        super().__init__(channels, num_heads, norm=norm)
        self.groups = divisor("groups", groups, "num_heads", num_heads)
        self.stride = whole_number("stride", stride, 1)
        one_of("position", position, ("conv", "table", None))
        if position == "table" and size is None:
            raise ValueError("position='table' needs size=(height, width) of the feature maps; size is None.")
        self.offset_range = real_number("offset_range", offset_range, least=0)
        self.dropout = real_number("dropout", dropout, least=0, below=1)
        self.size = None if size is None else height_and_width("size", size)
        width, kernel = channels // groups, 2 * math.ceil(math.log2(stride)) + 3
        self.offset = None
        if self.offset_range:
            if width == 1:
                raise ValueError(
                    f"groups={groups} leaves one channel to a group of channels={channels}, too few to find offsets "
                    f"with: take fewer groups, or offset_range=0."
                )
            self.offset = nn.Sequential(
                nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width),
                ChannelNorm(width),
                nn.GELU(),
                nn.Conv2d(width, 2, 1, bias=False),
            )
        self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels) if position == "conv" else None
        self.table = None
        if position == "table":
            height, width = self.size
            self.table = nn.Parameter(torch.empty(num_heads, 2 * height - 1, 2 * width - 1))
        self.reset_own()

    def reset_own(self) -> None:
        if self.table is not None:
            nn.init.trunc_normal_(self.table, std=0.01)

    def extra_repr(self) -> str:
        table = "" if self.table is None else f", position='table', size={self.size}"
        return (
            f"{super().extra_repr()}, groups={self.groups}, stride={self.stride}{table}, "
            f"offset_range={self.offset_range}, dropout={self.dropout}"
        )

    def resized(self, weight: torch.Tensor) -> torch.Tensor:
        return F.interpolate(weight[None], self.table.shape[1:], mode="bicubic", align_corners=True)[0]

    def check(self, x: torch.Tensor) -> None:
        super().check(x)
        if self.table is not None:
            self.check_size(x, self.size, "its table has a bias for each displacement in that size")

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        normed = self.norm(x)
        queries = self.query(normed.flatten(2).mT)  # (B, N, C)
        q, query_map = self.split(queries), queries.mT.unflatten(2, x.shape[2:])
        points = self.points(query_map)  # (B, groups, h, w, 2), x and y in places
        sampled = sample(self.by_group(normed), points.flatten(0, 1))  # (B · groups, C / groups, h, w)
        sampled = sampled.flatten(2).unflatten(0, (x.shape[0], self.groups)).flatten(1, 2).mT  # (B, n, C)
        k, v = self.split(self.key(sampled)), self.split(self.value(sampled))  # (B, heads, n, d)
        self.note(query=q.unflatten(2, x.shape[2:]), key=k, points=points)

        bias = None if self.table is None else self.bias(centres(*x.shape[2:], points), points).to(q.dtype)
        mixed = self.attend(q, k, v, bias).transpose(1, 2).flatten(2)  # (B, N, C)
        if self.local is not None:
            mixed = mixed + self.local(query_map).flatten(2).mT
        return x + self.out(mixed).mT.view(x.shape)

    def points(self, query_map: torch.Tensor) -> torch.Tensor:
        """Where each group samples: (B, C, H, W) queries → (B, groups, h, w, 2), x before y, in places."""
        batch, _, height, width = query_map.shape
        dtype = at_least_fp32(query_map.dtype)  # half precision gives neighbours in a large image the same coordinate
        if self.offset is None:
            rows, columns = ((side + self.stride - 1) // self.stride for side in (height, width))  # rounded up
            cells = centres(rows, columns, query_map.new_empty(0, dtype=dtype)).expand(batch * self.groups, -1, -1, -1)
        else:
            shift = self.offset(self.by_group(query_map)).permute(0, 2, 3, 1).to(dtype)  # (B · groups, h, w, 2)
            rows, columns = shift.shape[1:3]
            cells = centres(rows, columns, shift) + shift.tanh() * self.offset_range
        x, y = cells.unbind(-1)  # counted in cells of stride × stride positions, one point each
        points = torch.stack([spread(x, columns, width), spread(y, rows, height)], -1)
        return points.unflatten(0, (batch, self.groups))

    def bias(self, positions: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """The table at every displacement from points to positions: (…, 2), (B, groups, h, w, 2) → (B, heads, N, n)."""
        batch, positions = points.shape[0], positions.view(-1, 1, 2)  # (N, 1, 2)
        points = points.flatten(2, 3).flatten(0, 1)[:, None]  # (B · groups, 1, n, 2)
        middle = points.new_tensor([self.size[1] - 1, self.size[0] - 1])  # no displacement
        table = self.table.unflatten(0, (self.groups, -1)).repeat(batch, 1, 1, 1)
        return sample(table, positions - points + middle).unflatten(0, (batch, self.groups)).flatten(1, 2)

    def weights(self, q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """As in `SelfAttention`, with a bias (B, heads, n, N) for each score."""
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return (scores if bias is None else scores + bias).softmax(-1)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        dropout = self.dropout if self.training else 0.0
        if bias is None or not torch.is_grad_enabled():  # no fused kernel finds the gradient of a bias
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        return F.dropout(self.weights(q, k, bias), dropout) @ v

    def by_group(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B · groups, C / groups, H, W)."""
        return x.unflatten(1, (self.groups, -1)).flatten(0, 1)

    @torch.no_grad()
    def row(self, seen: dict[str, torch.Tensor], row: int, column: int) -> torch.Tensor:
        """What one query weighted each of the points with, from what `watch` saw: (B, heads, h, w)."""
        query, points = query_at(seen, row, column), seen["points"]
        bias = None if self.table is None else self.bias(points.new_tensor([[column, row]]), points)
        return self.weights(query, seen["key"], bias).squeeze(2).unflatten(2, points.shape[2:4])


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def sample(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Bilinear samples: x (B, C, H, W), points (B, h, w, 2) with x before y → (B, C, h, w).

    Coordinates count positions: (0, 0) is the middle of the first one, (W − 1, H − 1) that of the last. Beyond the
    edge, the edge goes on.

    Examples
    --------
    >>> x = torch.tensor([[[[0.0, 10.0], [20.0, 30.0]]]])
    >>> sample(x, torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]]))
    tensor([[[[10., 15.]]]])
    """
    height, width = x.shape[2:]
    across, down = points.unbind(-1)
    # grid_sample's own coordinates: −1 and 1 are the outer edges of the image.
    grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], -1)
    return F.grid_sample(x.to(grid.dtype), grid, padding_mode="border", align_corners=False).to(x.dtype)


def spread(cells: torch.Tensor, n: int, size: int) -> torch.Tensor:
    """Coordinates that count n cells, as coordinates that count the `size` positions they cover, and no further."""
    step = size / n
    return (cells * step + (step - 1) / 2).clamp(0, size - 1)


def centres(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(height, width, 2): x and y of every position, on the device and with the dtype of `like`."""
    y, x = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def DAttention(
    channel: int, q_size: tuple[int, int] | None = None, n_heads: int = 8, n_groups: int = 4, stride: int = 1
) -> DeformableAttention:
    """`DeformableAttention` under the name and arguments that a popular tutorial uses, with dwc-pe as there."""
    return DeformableAttention(channel, n_heads, n_groups, stride, size=q_size)
