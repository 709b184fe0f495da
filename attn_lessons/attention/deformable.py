"""DAttention: each query reads a few sampling points only, and their positions depend on the image.

Xia, Pan, Song, Li, Huang: Vision Transformer with Deformable Attention. CVPR 2022. https://arxiv.org/abs/2201.00520
Xia et al.: DAT++: Spatially Dynamic Vision Transformer with Deformable Attention. 2023. https://arxiv.org/abs/2309.01430
Built step by step in lesson 07.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import divisor, height_and_width, one_of, real_number, whole_number
from .base import at_least_fp32
from .self_attention import SelfAttention


class DeformableAttention(SelfAttention):
    r"""`SelfAttention` over a few sampling points: :math:`x + W_o\,\mathrm{softmax}(QK^\top/\sqrt d + b)\,V`.

    Keys and values are linear functions of bilinear samples of x. A small network computes an offset for each sampling
    point from the queries; b is a relative position bias, if there is a table.

    Parameters
    ----------
    channels : int
        C, the number of channels.
    num_heads : int, default 4
        As in `SelfAttention`.
    groups : int, default 2
        Number of groups of channels, each with its own sampling points. Divides `num_heads`.
    stride : int, default 1
        One point for every stride × stride positions. This is what saves work; `groups` does not.
    position : {"conv", "table", None}, default "conv"
        Positional information: a depth-wise 3×3 convolution of the queries, added to the output (dwc-pe); a table of
        relative position biases, one for each head and displacement between query and point; or none.
    size : (int, int), optional
        Height and width of the feature maps. The table requires it, and accepts no other size, in an exported graph
        either. `load_resized` interpolates a table of another size.
    offset_range : float, default 2.0
        Largest offset of a point from the centre of its stride × stride positions, in units of the stride. Offsets
        start at zero, as in Deformable DETR. With 0 there are none, and no network for them.
    norm : bool, default False
        As in `SelfAttention`.

    Raises
    ------
    ValueError
        If `groups` does not divide `num_heads`, `num_heads` does not divide `channels`, or the feature maps do not
        have the table's size.

    Notes
    -----
    With n = ⌈H / stride⌉·⌈W / stride⌉ points and kernel size k = 2·⌈log2(stride)⌉ + 3 (3, 5, 7, 9 for 1, 2, 4, 8):

    - parameters: 4·(C² + C), offsets (C / groups)·(k² + 5), position 10·C (conv) or heads·(2H−1)·(2W−1) (table);
    - MACs: 2·N·C² + 2·n·C² + 2·N·n·C, offsets n·C·(k² + 2), position 9·N·C (conv).

    In the authors' code since DAT++, the reference grid is off, and a grid of 1×1 points fails. Here each point starts
    at the centre of its positions: with stride 1 and no offsets, this is `SelfAttention`.

    Examples
    --------
    >>> import torch
    >>> DeformableAttention(64, num_heads=8, groups=4, stride=2)(torch.rand(1, 64, 32, 32)).shape
    torch.Size([1, 64, 32, 32])
    """

    shown = ("num_heads", "groups", "stride", "position", "size", "offset_range")

    def __init__(self, channels: int, num_heads: int = 4, groups: int = 2, stride: int = 1,
                 position: str | None = "conv", size: tuple[int, int] | None = None, offset_range: float = 2.0,
                 norm: bool = False):  # fmt: skip
        super().__init__(channels, num_heads, norm=norm)
        self.groups = divisor("groups", groups, "num_heads", num_heads)
        self.stride = whole_number("stride", stride, 1)
        one_of("position", position, ("conv", "table", None))
        if position == "table" and size is None:
            raise ValueError("position='table' needs size=(height, width) of the feature maps; size is None.")
        self.position, self.size = position, height_and_width("size", size) if position == "table" else None
        self.offset_range = real_number("offset_range", offset_range, least=0)
        width, kernel = channels // groups, 2 * math.ceil(math.log2(stride)) + 3
        self.offset = self.local = self.table = None
        if self.offset_range:
            if width == 1:
                raise ValueError(f"groups={groups} leaves one channel per group: take fewer, or offset_range=0.")
            depthwise = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width)
            pointwise = nn.Conv2d(width, 2, 1, bias=False)
            self.offset = nn.Sequential(depthwise, ChannelNorm(width), nn.GELU(), pointwise)
        if position == "conv":
            self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        elif position == "table":
            self.table = nn.Parameter(torch.empty(num_heads, *(2 * side - 1 for side in self.size)))
        self.reset_own()

    def reset_own(self) -> None:
        if self.offset is not None:
            nn.init.zeros_(self.offset[-1].weight)  # points that start elsewhere end at the edge of the map
        if self.table is not None:
            nn.init.trunc_normal_(self.table, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        self.check(x)
        normed = self.norm(x)
        queries = self.query(normed.flatten(2).mT)  # (B, N, C)
        q, query_map = self.split(queries), queries.mT.unflatten(2, x.shape[2:])
        points = self.points(query_map)  # (B, groups, h, w, 2): x and y, in positions
        sampled = sample(self.by_group(normed), points.flatten(0, 1))  # (B · groups, C / groups, h, w)
        sampled = sampled.flatten(2).unflatten(0, (x.shape[0], self.groups)).flatten(1, 2).mT  # (B, n, C)
        k, v = self.split(self.key(sampled)), self.split(self.value(sampled))  # (B, heads, n, d)
        self.note(query=q.unflatten(2, x.shape[2:]), key=k, points=points)

        if self.table is None:
            mixed = self.attend(q, k, v)  # (B, heads, N, d)
        else:
            bias = self.bias(centres(*x.shape[2:], points), points)  # (B, heads, N, n)
            self.note(bias=bias)
            mixed = self.weights(q, k, bias) @ v
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, N, C)
        if self.local is not None:
            mixed = mixed + self.local(query_map).flatten(2).mT
        return x + self.out(mixed).mT.view(x.shape)

    def points(self, query_map: torch.Tensor) -> torch.Tensor:
        """Sampling points of each group: queries (B, C, H, W) → (B, groups, h, w, 2), x before y, in positions."""
        batch, _, height, width = query_map.shape
        dtype = at_least_fp32(query_map.dtype)  # half precision cannot resolve positions in a large image
        rows, columns = ((side + self.stride - 1) // self.stride for side in (height, width))  # rounded up
        cells = centres(rows, columns, query_map.to(dtype)).expand(batch * self.groups, -1, -1, -1)
        if self.offset is not None:
            offsets = self.offset(self.by_group(query_map)).permute(0, 2, 3, 1).to(dtype)  # (B · groups, h, w, 2)
            cells = cells + offsets.tanh() * self.offset_range
        x, y = cells.unbind(-1)  # in cells of stride × stride positions, one per point
        points = torch.stack([from_cells(x, columns, width), from_cells(y, rows, height)], -1)
        return points.unflatten(0, (batch, self.groups))

    def bias(self, positions: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """The table at every displacement from points to positions: (…, 2), (B, groups, h, w, 2) → (B, heads, N, n)."""
        batch, positions = points.shape[0], positions.view(-1, 1, 2)  # (N, 1, 2)
        points = points.flatten(2, 3).flatten(0, 1)[:, None]  # (B · groups, 1, n, 2)
        middle = points.new_tensor([self.size[1] - 1, self.size[0] - 1])  # no displacement
        table = self.table.unflatten(0, (self.groups, -1)).repeat(batch, 1, 1, 1)
        return sample(table, positions - points + middle).unflatten(0, (batch, self.groups)).flatten(1, 2)

    def by_group(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B · groups, C / groups, H, W)."""
        return x.unflatten(1, (self.groups, -1)).flatten(0, 1)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def load_resized(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """``model.load_state_dict(weights)``, with tables of position biases interpolated, as Swin and timm do it.

    Parameters
    ----------
    model : nn.Module
        A network, or a single `DeformableAttention`, built with ``position="table"`` and the new ``size``.
    weights : dict
        The state dict of the same network, built with another ``size``. Interpolated biases are a start for further
        training, not its result.

    Raises
    ------
    RuntimeError
        If the other weights do not fit: `torch.nn.Module.load_state_dict` lists them.

    Examples
    --------
    >>> small = DeformableAttention(64, position="table", size=(12, 12))
    >>> large = DeformableAttention(64, position="table", size=(32, 32))
    >>> load_resized(large, small.state_dict())
    """
    weights = dict(weights)
    for name, module in model.named_modules():
        table = f"{name}.table".lstrip(".")
        if isinstance(module, DeformableAttention) and module.table is not None and table in weights:
            size = module.table.shape[1:]
            weights[table] = F.interpolate(weights[table][None], size, mode="bicubic", align_corners=True)[0]
    model.load_state_dict(weights)


def sample(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Bilinear samples: x (B, C, H, W), points (B, h, w, 2) with x before y → (B, C, h, w).

    Coordinates are in positions: (0, 0) is the centre of the first one, (W − 1, H − 1) that of the last. Points outside
    the image read its nearest border pixel.

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


def from_cells(cells: torch.Tensor, n: int, size: int) -> torch.Tensor:
    """Coordinates in units of n cells → in the `size` positions that the cells cover, clamped to these."""
    step = size / n
    return (cells * step + (step - 1) / 2).clamp(0, size - 1)


def centres(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(height, width, 2): x and y of every position, on the device and with the dtype of `like`."""
    y, x = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
