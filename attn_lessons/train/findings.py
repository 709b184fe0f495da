"""What a recording found: means with their 95 % confidence intervals, and the gain over the first variant."""

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
            gain = paired_difference(some, variant, first) if variant != first else {}
            gains = gain.get("mean"), gain.get("low"), gain.get("high")
            rows.append([data, variant, len(own), own.accuracy.mean(), *interval(own.accuracy), *gains])
    columns = ["data", "variant", "seeds", "mean", "low", "high", "gain", "gain_low", "gain_high"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:], float)).round(3)


def interval(values: pd.Series) -> tuple[float, float]:
    """The 95 % confidence interval of the mean, by Student's t; unbounded for a single value."""
    from scipy import stats  # its import takes half as long as torch's

    half = float(stats.t.ppf(0.975, len(values) - 1) * values.sem()) if len(values) > 1 else float("inf")
    return values.mean() - half, values.mean() + half
