"""The house style of every figure: white ground, Okabe–Ito colours, large type, and a text for who cannot see it."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"  # Okabe and Ito's
SKY, RED, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
GREY = "#777777"
HEAT = "viridis"  # for everything from low to high
SIGNED = "RdBu_r"  # for everything that has a middle: red is more, blue is less


def use() -> None:
    """Apply the house style to every figure drawn from now on."""
    rc = {"figure.constrained_layout.use": True, "image.cmap": HEAT, "image.interpolation": "nearest"}
    rc |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 14}
    sns.set_theme(style="ticks", palette=[BLUE, ORANGE, GREEN, PINK, SKY, RED], font_scale=1.1, rc=rc)


def save(fig: Figure, file: object, **metadata: str) -> None:
    """`fig` as a PNG; ``Description=…`` says in words, inside the file, what it shows."""
    fig.savefig(file, format="png", dpi=100, bbox_inches="tight", facecolor="white", metadata=metadata)
    plt.close(fig)


def png(fig: Figure, alt: str) -> tuple[dict, dict]:
    """`fig` as a notebook output: (data, metadata). `alt` says in words what the image shows."""
    buffer = io.BytesIO()
    save(fig, buffer)
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": f"[figure] {alt}"}
    return data, {"image/png": {"alt": alt}}


def show(fig: Figure, alt: str) -> None:
    """Display `fig` once, with `alt` for screen readers, search and pages without images."""
    data, metadata = png(fig, alt)
    display(data, metadata=metadata, raw=True)


def show_image(image: torch.Tensor, ax: Axes, title: str = "") -> Axes:
    """One image: uint8 (3, H, W)."""
    ax.imshow(image.permute(1, 2, 0).cpu().numpy())
    ax.set(title=title, xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)
    return ax


def outline(mask: torch.Tensor, ax: Axes, color: str = "white") -> Axes:
    """The border of a mask, bool (H, W), over an image that is already drawn."""
    ax.contour(mask.float().cpu().numpy(), levels=[0.5], colors=[color], linewidths=2.5)
    return ax


def heat(weights: torch.Tensor, ax: Axes, title: str = "", low: float = 0.0, high: float | None = None) -> Axes:
    """A map of weights (H, W), one colour per cell, with its colour bar."""
    values = weights.detach().cpu().numpy()
    shown = ax.imshow(values, cmap=HEAT, vmin=low, vmax=values.max() if high is None else high)
    ax.set(title=title, xticks=[], yticks=[])
    ax.figure.colorbar(shown, ax=ax, shrink=0.8)
    return ax


def numbers(
    values: torch.Tensor,
    ax: Axes,
    title: str = "",
    low: float | None = None,
    high: float | None = None,
    form: str = ".4g",
) -> Axes:
    """A small matrix with every number written in its cell, as `form` says: ".2f" for two decimals."""
    # seaborn's heatmap draws the whole figure once for each of its axes: seconds, where a figure has ten of them.
    values = np.atleast_2d(values.detach().cpu().numpy())
    cells = ax.pcolormesh(values, cmap="Blues", vmin=low, vmax=high, edgecolor="white", linewidth=1)
    for (row, column), value in np.ndenumerate(values):
        color = "white" if cells.norm(value) > 0.6 else BLACK
        ax.text(column + 0.5, row + 0.5, f"{value:{form}}", ha="center", va="center", color=color, fontsize=14)
    ax.set(title=title, xticks=[], yticks=[], aspect="equal", ylim=(len(values), 0))
    sns.despine(ax=ax, left=True, bottom=True)
    return ax


def seeds(runs: pd.DataFrame, ax: Axes, x: str = "variant", y: str = "accuracy", hue: str | None = None) -> Axes:
    """One dot a run; the bar is the mean, the whisker one standard deviation over the seeds."""
    shared = {"data": runs, "x": x, "y": y, "hue": hue, "ax": ax, "dodge": hue is not None}
    sns.stripplot(**shared, size=8, alpha=0.6, jitter=0.12, legend=False)
    dodge = 0.8 - 0.8 / runs[hue].nunique() if hue else False
    sns.pointplot(
        **{**shared, "dodge": dodge}, errorbar="sd", linestyle="none", marker="_", markersize=26,
        markeredgewidth=3, capsize=0.08, err_kws={"linewidth": 1.5}, **({} if hue else {"color": BLACK}),
    )  # fmt: skip
    ax.set_xlabel("bar: mean · whisker: one standard deviation", color=GREY, fontsize=11)
    return ax


def compared(runs: pd.DataFrame, baseline: str, ceiling: float | None = None, title: str = "") -> Figure:
    """`seeds`, with the mean of the baseline as a line, and at each variant its gain over it.

    Parameters
    ----------
    runs : pandas.DataFrame
        With ``variant`` and ``accuracy``, one row per run.
    baseline : str
        The variant whose mean becomes the line.
    ceiling : float, optional
        Drawn as a dashed line.
    title : str
    """
    means = runs.groupby("variant", sort=False).accuracy.mean()
    fig, ax = plt.subplots(figsize=(2.5 + 1.7 * len(means), 3.8))
    seeds(runs, ax)
    ax.axhline(means[baseline], color=ORANGE, lw=1.5, zorder=0, label=f"mean of {baseline}")
    if ceiling is not None:
        ax.axhline(ceiling, color=GREY, ls="--", zorder=0, label="ceiling without the cue")
    top = runs.accuracy.max()
    for i, (variant, mean) in enumerate(means.items()):
        if variant != baseline:
            ax.text(i, top + 0.03, f"{mean - means[baseline]:+.2f}", ha="center", fontsize=15, weight="bold")
    ax.set(ylim=(min(runs.accuracy.min(), ceiling or 1) - 0.08, top + 0.13), ylabel="test accuracy", title=title)
    ax.legend(fontsize=11, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return fig
