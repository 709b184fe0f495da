"""The small networks that the course ships are what their files say."""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from attn_lessons.datasets import ImageSet, glyphworld
from attn_lessons.models import trained
from attn_lessons.results import FOLDERS
from attn_lessons.train.sets import GLYPHWORLD_TEST, TEST_SEED
from attn_lessons.training import evaluate

FILES = sorted((FOLDERS[0] / "networks").glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_network_is_small_and_says_how_it_was_made(path: Path):
    network, about = trained(path.stem)
    assert path.stat().st_size < 3e6 and not network.training
    assert about["command"].startswith("python -m attn_lessons.train run ")
    assert about["command"].endswith(f"--weights results/networks/{path.name}")
    assert {"recipe", "seed", "dataset", "classes", "hardware", "versions", "date"} <= set(about)
    epochs = pd.read_csv(path.with_suffix(".csv"))
    assert len(epochs) == about["recipe"]["epochs"] and epochs.test_accuracy.iloc[-1] == about["test_accuracy"]


@cache
def images_of(puzzle: str) -> ImageSet:
    return glyphworld(puzzle, GLYPHWORLD_TEST, TEST_SEED)


@pytest.mark.parametrize("name", [path.stem for path in FILES if path.stem.startswith("glyphworld_")])
def test_a_network_still_solves_what_it_solved(name):
    network, about = trained(name)
    puzzle = about["dataset"].removeprefix("GlyphWorld ")
    accuracy = evaluate(network, images_of(puzzle))["accuracy"]
    assert accuracy == pytest.approx(about["test_accuracy"], abs=0.002)  # other machines round otherwise
