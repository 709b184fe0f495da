"""The pictures of `report` and `sweep`. Imported where they are drawn, since seaborn takes long to import."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import style
from .findings import findings

matplotlib.use("Agg")  # no window, no display
MOST_NUMBERS = 20  # classes up to which the confusion matrix shows its counts


def curves(epochs: pd.DataFrame) -> Figure:
    """Loss and accuracy after each epoch."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.8))
    for ax, what in zip(axes, ("loss", "accuracy"), strict=True):
        for name, color in (("train", style.GREY), ("validation", style.BLUE), ("test", style.ORANGE)):
            if f"{name}_{what}" in epochs:
                ax.plot(epochs.epoch, epochs[f"{name}_{what}"], "o-", ms=3, color=color, label=name)
        ax.set(xlabel="epoch", ylabel=what)
        ax.xaxis.get_major_locator().set_params(integer=True)
    if "validation_accuracy" in epochs:
        best = epochs.epoch[epochs.validation_accuracy.idxmax()]
        axes[1].axvline(best, color=style.BLUE, ls=":", label=f"kept: epoch {best}")
    axes[1].legend(fontsize=10, frameon=False)
    return fig


def matrix(confused: pd.DataFrame, of: str) -> Figure:
    """Which classes are taken for which: a row per class, its parts as colours, counts as numbers."""
    n = len(confused)
    fig, ax = plt.subplots(figsize=(max(4.5, min(14, 1.5 + 0.6 * n)), max(3.8, min(13, 0.9 + 0.5 * n))))
    parts = confused.div(confused.sum(axis=1).clip(lower=1), axis=0)
    counts = confused if n <= MOST_NUMBERS else None
    sns.heatmap(parts, ax=ax, vmin=0, vmax=1, cmap="viridis", annot=counts, fmt="d" if n <= MOST_NUMBERS else "",
                cbar_kws={"label": "part of the class"}, square=True)  # fmt: skip
    ax.tick_params("x", rotation=90 if n > 3 else 0)
    ax.tick_params("y", rotation=0)
    ax.set(xlabel="predicted", ylabel="label", title=f"{confused.to_numpy().sum():,} {of} images")
    return fig


def bars(rates: pd.DataFrame, of: str) -> Figure:
    """The accuracy of each class, with its interval."""
    few = len(rates) <= 40
    fig, ax = plt.subplots(figsize=(7, 1.2 + (0.32 if few else 0.18) * len(rates)))
    whiskers(ax, rates.accuracy, rates.low, rates.high, range(len(rates)), style.BLUE)
    names = [f"{name} ({n})" for name, n in zip(rates.index, rates.images, strict=True)]
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(rates) - 0.4), xlabel=f"accuracy on {of} images, 95 % interval")
    ax.set_yticks(range(len(rates)), names, fontsize=11 if few else 8)
    return fig


def draw_findings(runs: pd.DataFrame, file: Path) -> None:
    """A row of pictures per set of images: all runs with their means, and the gains; whiskers are intervals."""
    style.use()
    table = findings(runs)
    names = list(dict.fromkeys(runs.data))
    height = 1.2 + 0.4 * runs.variant.nunique()
    fig, axes = plt.subplots(len(names), 2, figsize=(11, height * len(names)), squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        own, of = table[table.data == name], runs[runs.data == name]
        at = {variant: -i for i, variant in enumerate(own.variant)}
        left.plot(of.accuracy, of.variant.map(at) - 0.18, ".", color=style.GREY, ms=7, alpha=0.7)
        whiskers(left, own["mean"], own.low, own.high, own.variant.map(at), style.BLUE)
        gains = own[own.gain.notna()]
        whiskers(right, gains.gain, gains.gain_low, gains.gain_high, gains.variant.map(at), style.ORANGE)
        right.axvline(0, color=style.GREY, ls="--")
        left.set_yticks(list(at.values()), list(at))
        right.set_yticks(list(at.values()), [""] * len(at))
        left.set(xlabel="accuracy: mean, 95 % interval; dots are runs", title=name, ylim=(-len(at) + 0.5, 0.5))
        right.set(xlabel=f"gain over {own.variant.iloc[0]}, 95 % interval", ylim=(-len(at) + 0.5, 0.5))
    style.save(fig, file, Description="Mean accuracy of each variant and its gain over the first, with 95 % intervals.")


def whiskers(ax: Axes, middle: pd.Series, low: pd.Series, high: pd.Series, at: object, color: str) -> None:
    """A dot at each mean, and its interval, if it has an end."""
    ends = [(middle - low).clip(lower=0), (high - middle).clip(lower=0)]
    ax.errorbar(middle, at, xerr=[end.where(end < np.inf) for end in ends], fmt="o", color=color, capsize=4, lw=2)
