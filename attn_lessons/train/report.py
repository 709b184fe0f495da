"""Draw how a run went and what its network mixes up: curves, confusion matrix, each class, mistakes; PNG and CSV."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .options import Command, argument, option


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
    print(f"{100 * (answers.label == answers.predicted).mean():.2f} % of {len(answers):,} {of} images right.")
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
    """Images, right ones, accuracy, its 95 % confidence interval (Wilson's), and what it is most often taken for."""
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
    from .drawings import bars, curves, matrix, style

    style.use()
    style.save(curves(epochs), out / "curves.png", Description="Loss and accuracy after each epoch.")
    style.save(matrix(confused, of), out / "confusion.png", Description="Which classes are taken for which.")
    style.save(bars(rates, of), out / "classes.png", Description="The accuracy of each class, with its interval.")
