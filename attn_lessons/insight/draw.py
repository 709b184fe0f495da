"""Images of what `attn_lessons.attention.watch` hands out: gates, rows, sampling points. For maps, see `style.heat`.

Introduced in lesson 10. Each function imports `style` itself: matplotlib and seaborn take as long to import as torch,
and who only scores maps draws nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_gates(gates: torch.Tensor, ax: Axes, title: str = "") -> Axes:
    """Channel gates (n, C), one row an image: a column that is bright in some rows only is a gate that decides."""
    from .. import style

    style.heat(gates, ax, title, low=0, high=1)
    ax.set(xlabel="channel", ylabel="image")
    ax.set_aspect("auto")
    return ax


def show_row(row: torch.Tensor, position: tuple[int, int], ax: Axes, title: str = "") -> Axes:
    """One head of ``attention.row``, (H, W): the weights of the query at `position` (row, column), the cross."""
    from .. import style

    style.heat(row, ax, title)
    ax.plot(position[1], position[0], "x", color=style.RED, ms=13, mew=3.5)
    return ax


def show_points(
    image: torch.Tensor, points: torch.Tensor, grid: tuple[int, int], ax: Axes, weights: torch.Tensor | None = None
) -> Axes:
    """Where deformable attention sampled, over the image, uint8 (3, H, W).

    Parameters
    ----------
    image : torch.Tensor
    points : torch.Tensor
        (..., 2), x before y, in places of the feature map: ``seen[name]["points"][i]``.
    grid : (int, int)
        Height and width of that feature map.
    ax : matplotlib.axes.Axes
    weights : torch.Tensor, optional
        (...), how much each point counts; a dot is as large as that.
    """
    from .. import style

    style.show_image(image, ax)
    step = torch.tensor([image.shape[2] / grid[1], image.shape[1] / grid[0]])  # pixels to a position
    pixels = (points.detach().cpu().flatten(0, -2) + 0.5) * step - 0.5
    area = 25 if weights is None else 5 + 300 * weights.detach().cpu().flatten() / weights.max().item()
    ax.scatter(*pixels.T, s=area, color="white", edgecolors="black", linewidths=0.8)
    return ax
