"""Networks with and without attention over several seeds, and the confidence interval of their difference.

Introduced in lesson 01; lesson 09 shows why one seed each is not enough.
"""

import json
import time
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from ..arguments import one_of
from ..datasets import ImageSet
from ..measure import parameters
from ..progress import progress_bar
from ..results import find
from .loop import evaluate, fit
from .recipe import Recipe


class Comparison(NamedTuple):
    """Runs of several variants over the same seeds.

    Attributes
    ----------
    runs : pandas.DataFrame
        One row per run: ``variant``, ``seed``, ``accuracy`` and ``train_accuracy`` (last epoch, 0 to 1),
        ``parameters``, ``seconds``.
    models : dict
        (variant, seed) → the trained network.
    """

    runs: pd.DataFrame
    models: dict[tuple[str, int], nn.Module]


def compare(variants: dict, data: Callable, recipe: Recipe | None = None, seeds: int = 3) -> Comparison:
    """Train every variant with every seed, and measure each network once, at the end.

    Parameters
    ----------
    variants : dict of str to callable
        Name → a function without arguments that builds a fresh network.
    data : callable
        Seed → (train, test). All variants of one seed get the same images in the same order, and, with the networks of
        this course, start from the same backbone: the runs come in pairs.
    recipe : Recipe, optional
    seeds : int, default 3
        Seeds 0, 1, …, seeds − 1.

    Returns
    -------
    Comparison
    """
    rows, models = [], {}
    with progress_bar(len(variants) * seeds, "runs") as bar:
        for seed in range(seeds):
            train, test = data(seed)
            for variant, build in variants.items():
                models[variant, seed], row = train_once(build, train, test, recipe, seed)
                rows.append({"variant": variant, "seed": seed, **row})
                bar.update()
    return Comparison(pd.DataFrame(rows), models)


def train_once(build: Callable, train: ImageSet, test: ImageSet, recipe: Recipe | None, seed: int) -> tuple:
    """One run: the trained network, and its row."""
    torch.manual_seed(seed)
    model, start = build(), time.perf_counter()
    trained = fit(model, train, None, recipe, seed, progress=False).epochs.train_accuracy.iloc[-1]
    accuracy = evaluate(model, test)["accuracy"]
    row = {"accuracy": accuracy, "train_accuracy": trained, "parameters": parameters(model)}
    return model, row | {"seconds": time.perf_counter() - start}


def must_be_one_data_set(runs: pd.DataFrame) -> None:
    """Refuse runs on several data sets: runs on other images are no further seeds."""
    if "data" in runs and runs.data.nunique() > 1:
        some = ", ".join(map(repr, runs.data.unique()))
        raise ValueError(f"these runs are of several sets of images ({some}): choose one, as in runs[runs.data == …].")


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per variant: mean and standard deviation of the accuracy over the seeds, minimum, maximum, seeds.

    Raises
    ------
    ValueError
        If the runs are of several sets of images.
    """
    must_be_one_data_set(runs)
    accuracies = runs.groupby("variant", sort=False).accuracy
    return accuracies.agg(mean="mean", sd="std", min="min", max="max", seeds="count")


def paired_difference(runs: pd.DataFrame, variant: str, baseline: str) -> dict[str, float]:
    """Accuracy of `variant` minus accuracy of `baseline`, seed by seed.

    Returns
    -------
    dict
        ``mean`` of the differences; ``low`` and ``high``, its 95 % confidence interval (Student's t); ``seeds``.

    Raises
    ------
    ValueError
        If a variant is not among the runs, the two have no seed in common, or the runs are of several sets of images.

    Examples
    --------
    >>> runs = pd.DataFrame({"variant": ["a", "b"] * 3, "seed": [0, 0, 1, 1, 2, 2],
    ...                      "accuracy": [0.50, 0.60, 0.52, 0.61, 0.51, 0.62]})
    >>> {name: round(value, 3) for name, value in paired_difference(runs, "b", "a").items()}
    {'mean': 0.1, 'low': 0.075, 'high': 0.125, 'seeds': 3}
    """
    from scipy import stats  # its import takes half as long as torch's

    must_be_one_data_set(runs)
    table = runs.pivot(index="seed", columns="variant", values="accuracy")
    one_of("variant", variant, table.columns)
    one_of("baseline", baseline, table.columns)
    difference = (table[variant] - table[baseline]).dropna()
    n, mean = len(difference), float(difference.mean())
    if n == 0:
        raise ValueError(f"{variant!r} and {baseline!r} have no seed in common: there is nothing to subtract.")
    half = float(stats.t.ppf(0.975, n - 1) * difference.sem()) if n > 1 else float("inf")
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": n}


def in_words(difference: dict[str, float]) -> str:
    """A `paired_difference` as a lesson prints it.

    Examples
    --------
    >>> in_words({"mean": 0.127, "low": 0.053, "high": 0.2, "seeds": 3})
    '+0.127 (95 % confidence interval +0.053 to +0.200, 3 seeds)'
    """
    mean, low, high, n = (difference[name] for name in ("mean", "low", "high", "seeds"))
    return f"{mean:+.3f} (95 % confidence interval {low:+.3f} to {high:+.3f}, {n} seeds)"


def recorded(name: str) -> tuple[pd.DataFrame, dict]:
    """Runs that were recorded with `attn_lessons.train`: the rows of ``results/name.csv`` and how they were made.

    Parameters
    ----------
    name : str
        "glyphworld_gates", for example.

    Returns
    -------
    (pandas.DataFrame, dict)
        One row per run, with the columns of `Comparison.runs` and ``data``, on GlyphWorld also ``cam_on_target``,
        ``gates_on_target`` and their ``chance``; the benchmarks have their own columns. And the header: command,
        hardware, versions, date, for runs the recipe.

    Raises
    ------
    FileNotFoundError
        If there is no such recording; those that exist are named.
    """
    path = find("recording", "*.csv", name)
    return pd.read_csv(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
