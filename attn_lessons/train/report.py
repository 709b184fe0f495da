"""Draw how a run went and what its network mixes up: curves, confusion matrix, each class, mistakes; PNG and CSV."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .options import Command, argument, option

MOST_NUMBERS = 20  # classes up to which the confusion matrix shows its counts


@dataclass(kw_only=True)
class Settings(Command):
    run: Path = argument("folder of a run", type=Path)
    out: Path | None = option(
        "folder for the report, which is written anew (default: report, in that of the run)", type=Path
    )


def main(settings: Settings) -> None:
    epochs = table(settings.run / "epochs.csv", ["epoch", "train_loss", "train_accuracy"])
    if list(epochs.epoch) != list(range(1, len(epochs) + 1)):
        raise damaged(settings.run / "epochs.csv", f"its epochs are {', '.join(map(str, epochs.epoch[:9]))} …")
    answers = table(settings.run / "predictions.csv", ["label", "predicted", "probability", "set"])
    of = "test" if "test" in set(answers.set) else "validation"  # the test set has chosen nothing
    answers = answers[answers.set == of]
    classes = sorted({*answers.label, *answers.predicted})
    confused = pd.crosstab(answers.label, answers.predicted).reindex(index=classes, columns=classes, fill_value=0)
    rates = per_class(confused)
    out = settings.out or settings.run / "report"
    out.mkdir(parents=True, exist_ok=True)
    confused.to_csv(out / "confusion.csv")
    rates.to_csv(out / "classes.csv", float_format="%.4f")
    wrong = answers[answers.label != answers.predicted].sort_values("probability", ascending=False)
    wrong.to_csv(out / "mistakes.csv", index=False)  # the surest first
    draw(out, epochs, confused, rates, of)
    worst = rates.iloc[0]
    mixed = f", most often taken for {worst.taken_for}" if worst.taken_for else ""
    print(f"{(answers.label == answers.predicted).mean():.1%} of {len(answers):,} {of} images right.")
    print(f"Hardest class: {rates.index[0]}, {worst.right} of {worst.images} right{mixed}.")
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def table(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table that a run has written, whole, or one sentence."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: a run has one when it has ended, so call it again.")
    try:
        rows = pd.read_csv(path, dtype={"label": str, "predicted": str}, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None
    if missing := [name for name in columns if name not in rows]:
        raise damaged(path, f"it has no column {missing[0]!r}")
    whole = rows.drop(columns="file", errors="ignore")  # images of a data set have none
    if rows.empty or (whole.isna() | (whole == "")).to_numpy().any():
        raise damaged(path, "a row is not whole")
    return rows


def damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"{path} is damaged ({why}): call the run again, which writes it anew from its state.")


def per_class(confused: pd.DataFrame) -> pd.DataFrame:
    """Images, right ones, accuracy its 95 % confidence interval (Wilson's), and what it is most often taken for."""
    from scipy.stats import binomtest

    rows = {}
    for name, counts in confused[confused.sum(axis=1) > 0].iterrows():
        n, right, wrong = int(counts.sum()), int(counts[name]), counts.drop(name)
        interval = binomtest(right, n).proportion_ci(method="wilson")
        taken_for = wrong.idxmax() if wrong.sum() else ""
        rows[name] = n, right, right / n, interval.low, interval.high, taken_for
    columns = ["images", "right", "accuracy", "low", "high", "taken_for"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("class").sort_values("accuracy")


def draw(out: Path, epochs: pd.DataFrame, confused: pd.DataFrame, rates: pd.DataFrame, of: str) -> None:
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    from .. import style

    style.use()
    style.save(curves(epochs), out / "curves.png", Description="Loss and accuracy of each epoch.")
    style.save(matrix(confused, of), out / "confusion.png", Description="Which classes are taken for which.")
    style.save(bars(rates, of), out / "classes.png", Description="Accuracy of each class with its interval.")


def curves(epochs: pd.DataFrame):
    import matplotlib.pyplot as plt

    from .. import style

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


def matrix(confused: pd.DataFrame, of: str):
    import matplotlib.pyplot as plt
    import seaborn as sns

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


def bars(rates: pd.DataFrame, of: str):
    import matplotlib.pyplot as plt

    from .. import style

    few = len(rates) <= 40
    fig, ax = plt.subplots(figsize=(7, 1.2 + (0.32 if few else 0.18) * len(rates)))
    low, high = rates.accuracy - rates.low, rates.high - rates.accuracy
    ax.errorbar(
        rates.accuracy,
        range(len(rates)),
        xerr=[low.clip(lower=0), high.clip(lower=0)],
        fmt="o",
        color=style.BLUE,
        capsize=3,
    )
    names = [f"{name} ({n})" for name, n in zip(rates.index, rates.images, strict=True)]
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.6, len(rates) - 0.4),
        xlabel=f"accuracy on {of} images, with its 95 % confidence interval",
    )
    ax.set_yticks(range(len(rates)), names, fontsize=11 if few else 8)
    return fig
