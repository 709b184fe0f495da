"""One readable loop, histories as CSV, and comparisons over several seeds."""

from ..progress import progress_bar
from .checkpoint import save_weights
from .comparison import compare, in_words, paired_difference, recorded, summary, train_once
from .loop import evaluate, fit, predict, prepare
from .recipe import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "compare", "evaluate", "fit", "in_words", "paired_difference", "predict", "prepare",
           "progress_bar", "recorded", "save_weights", "summary", "train_once"]  # fmt: skip
