"""One readable loop, histories as CSV, and comparisons over several seeds."""

from .comparison import Comparison, compare, paired_difference, summary, train_once
from .loop import History, Recipe, evaluate, fit, predict, progress_bar

__all__ = [
    "Comparison",
    "History",
    "Recipe",
    "compare",
    "evaluate",
    "fit",
    "paired_difference",
    "predict",
    "progress_bar",
    "summary",
    "train_once",
]
