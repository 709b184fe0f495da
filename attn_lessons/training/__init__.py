"""One readable loop, histories as CSV, and comparisons over several seeds."""

from .comparison import Comparison, compare, paired_difference, recorded, summary, train_once
from .loop import History, Recipe, evaluate, fit, predict, prepare, progress_bar

__all__ = [
    "Comparison",
    "History",
    "Recipe",
    "compare",
    "evaluate",
    "fit",
    "paired_difference",
    "predict",
    "prepare",
    "progress_bar",
    "recorded",
    "summary",
    "train_once",
]
