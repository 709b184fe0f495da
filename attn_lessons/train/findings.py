"""What a recording found: means with their 95 % confidence intervals, and the gain over the first variant."""

from pathlib import Path

import pandas as pd

from ..training import paired_difference


def findings(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per set of images and variant: mean accuracy, and its gain over the first variant, seed by seed.

    Examples
    --------
    >>> runs = pd.DataFrame({"data": "x", "variant": ["none", "se"] * 2, "seed": [0, 0, 1, 1],
    ...                      "accuracy": [0.50, 0.60, 0.52, 0.61]})
    >>> findings(runs).loc[1, ["mean", "gain", "gain_low", "gain_high"]].astype(float).tolist()
    [0.605, 0.095, 0.031, 0.159]
    """
    rows = []
    for data, some in runs.groupby("data", sort=False):
        first = some.variant.iloc[0]
        for variant, own in some.groupby("variant", sort=False):
            low, high = interval(own.accuracy)
            row = {
                "data": data,
                "variant": variant,
                "seeds": len(own),
                "mean": own.accuracy.mean(),
                "low": low,
                "high": high,
            }
            gain = paired_difference(some, variant, first) if variant != first else {}
            rows.append(
                row | {f"gain{end}": gain.get(name) for end, name in (("", "mean"), ("_low", "low"), ("_high", "high"))}
            )
    return pd.DataFrame(rows).round(3)


def interval(values: pd.Series) -> tuple[float, float]:
    """The 95 % confidence interval of the mean, by Student's t; unbounded for a single value."""
    from scipy import stats  # its import takes half as long as torch's

    half = float(stats.t.ppf(0.975, len(values) - 1) * values.sem()) if len(values) > 1 else float("inf")
    return values.mean() - half, values.mean() + half


def draw_findings(runs: pd.DataFrame, file: Path) -> None:
    """A row of pictures per set of images: all runs with their means, and the gains; whiskers are intervals."""
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    import matplotlib.pyplot as plt

    from .. import style

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


def whiskers(ax, middle: pd.Series, low: pd.Series, high: pd.Series, at: pd.Series, color: str) -> None:
    ax.errorbar(middle, at, xerr=[middle - low, high - middle], fmt="o", color=color, capsize=4, lw=2)
