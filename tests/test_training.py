"""Training: it learns, repeats itself, writes down what it does, and never learns from the test set."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from attn_lessons.datasets import ImageSet, random_crop
from attn_lessons.measure import parameters
from attn_lessons.training import Recipe, compare, evaluate, fit, paired_difference, predict, prepare, recorded, summary

QUICK = Recipe(epochs=2, batch_size=8)


def red_or_blue(n: int = 32, seed: int = 0) -> ImageSet:
    """Noise with more red in it, or more blue."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 120, (n, 3, 8, 8), generator=generator)
    labels = torch.arange(n) % 2
    images[torch.arange(n), 2 * labels] += 100
    return ImageSet("red or blue", images.to(torch.uint8), labels, ("red", "blue"))


def tiny(seed: int = 0, dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(6, 2),
    )  # fmt: skip


class Constant(nn.Module):
    """The same logits for every input, before and after training: its gradient is zero."""

    def __init__(self, *logits: float):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x):
        return (self.logits.detach() + 0 * self.logits).expand(len(x), -1)


def trained(recipe: Recipe = QUICK, seed: int = 0, train: ImageSet | None = None, test: ImageSet | None = None):
    model = tiny()
    history = fit(model, train or red_or_blue(), test or red_or_blue(16, 1), recipe, seed, progress=False)
    return model, history


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# ------------------------------------------------------------------------------------------ fit
def test_learns_red_from_blue():
    _, history = trained(Recipe(epochs=6, batch_size=8))
    assert history.epochs.test_accuracy.iloc[-1] > 0.95 and history.epochs.train_accuracy.iloc[-1] > 0.95
    assert history.epochs.train_loss.iloc[-1] < history.epochs.train_loss.iloc[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    (a, one), (b, two), (c, _) = trained(seed=1), trained(seed=1), trained(seed=2)
    assert same_weights(a, b) and not same_weights(a, c)
    pd.testing.assert_frame_equal(one.batches, two.batches)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_the_test_set_decides_nothing(schedule):
    recipe, test = Recipe(epochs=5, batch_size=8, schedule=schedule), red_or_blue(16, 1)
    wrong = ImageSet("wrong", test.images, 1 - test.labels, test.classes)
    (a, right), (b, flipped) = trained(recipe, test=test), trained(recipe, test=wrong)
    assert same_weights(a, b)
    assert (right.epochs.test_accuracy + flipped.epochs.test_accuracy).tolist() == pytest.approx([1] * 5)


def test_without_a_test_set_everything_else_is_the_same(tmp_path):
    (a, measured), b = trained(), tiny()
    history = fit(b, red_or_blue(), None, QUICK, progress=False)
    assert same_weights(a, b)
    left = measured.epochs.drop(columns=["test_loss", "test_accuracy", "seconds"])
    pd.testing.assert_frame_equal(history.epochs.drop(columns="seconds"), left)
    fit(again := tiny(), red_or_blue(), None, QUICK, folder=tmp_path / "run", progress=False)
    assert same_weights(again, b)


def test_history_has_a_row_per_batch_and_a_row_per_epoch():
    _, history = trained(Recipe(epochs=3, batch_size=8), train=red_or_blue(35))  # 3 images are left out of each epoch
    assert history.batches.columns.tolist() == ["epoch", "batch", "learning_rate", "loss", "accuracy"]
    assert history.batches.batch.tolist() == list(range(1, 13))
    assert history.batches.epoch.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert history.epochs.columns.tolist() == [
        "epoch", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
    ]  # fmt: skip
    assert history.epochs.epoch.tolist() == [1, 2, 3]
    means = history.batches.groupby("epoch")[["loss", "accuracy"]].mean()
    assert history.epochs.train_loss.tolist() == pytest.approx(means.loss.tolist())
    assert history.epochs.train_accuracy.tolist() == pytest.approx(means.accuracy.tolist())
    assert history.epochs.learning_rate.tolist() == history.batches.learning_rate[::4].tolist()


def test_the_last_row_is_what_evaluate_returns():
    model, history = trained()
    measured = evaluate(model, red_or_blue(16, 1))
    assert measured == {"loss": history.epochs.test_loss.iloc[-1], "accuracy": history.epochs.test_accuracy.iloc[-1]}


def test_the_files_hold_the_history(tmp_path):
    history = fit(tiny(), red_or_blue(), red_or_blue(8), QUICK, folder=tmp_path / "new" / "run", progress=False)
    for name, table in (("batches", history.batches), ("epochs", history.epochs)):
        read = pd.read_csv(tmp_path / "new" / "run" / f"{name}.csv")
        pd.testing.assert_frame_equal(read, table, rtol=1e-12, atol=0)


def test_a_run_that_dies_leaves_its_rows(tmp_path):
    class Dies(nn.Sequential):
        calls = 0

        def forward(self, x):
            self.calls += self.training
            if self.calls > 6:  # in the second epoch
                self.rows = {name: len(pd.read_csv(tmp_path / f"{name}.csv")) for name in ("batches", "epochs")}
                raise KeyboardInterrupt
            return super().forward(x)

    model = Dies(*tiny())
    with pytest.raises(KeyboardInterrupt):
        fit(model, red_or_blue(), red_or_blue(8), QUICK, folder=tmp_path, progress=False)
    assert model.rows == {"batches": 6, "epochs": 1}  # on the disk while it still ran
    assert pd.read_csv(tmp_path / "batches.csv").batch.tolist() == [1, 2, 3, 4, 5, 6]


def test_every_image_comes_once_an_epoch_in_another_order():
    seen = []
    spy = Recipe(epochs=2, batch_size=8, augment=lambda images, generator: seen.append(images) or images)
    train = red_or_blue()
    trained(spy, train=train)
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert torch.equal(epoch.flatten(1).unique(dim=0), train.images.flatten(1).unique(dim=0))


def test_a_train_set_smaller_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="5 images, fewer than batch_size=8"):
        trained(train=red_or_blue(5))


def test_augment_gets_uint8_and_a_generator_that_repeats_itself():
    calls = []

    def shake(images, generator):
        calls.append((images.dtype, images.shape))
        return torch.randint(256, images.shape, generator=generator, dtype=torch.uint8)

    recipe = Recipe(epochs=1, batch_size=8, augment=shake)
    (a, _), (b, _), (c, _) = trained(recipe), trained(recipe), trained(Recipe(epochs=1, batch_size=8))
    assert calls == [(torch.uint8, (8, 3, 8, 8))] * 8
    assert same_weights(a, b) and not same_weights(a, c)


def test_one_step_of_sgd_by_hand():
    train, model = red_or_blue(8), nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()
    model.register_forward_pre_hook(lambda _, given: given[0].double())
    linear = model[1]
    before, x = linear.weight.detach().clone(), prepare(train.images).double().flatten(1)
    error = linear(x).softmax(1) - nn.functional.one_hot(train.labels)
    slope = error.T @ x / 8 + 0.01 * before  # cross-entropy and weight decay
    recipe = Recipe(1, 8, "sgd", learning_rate=1e-3, weight_decay=0.01)
    fit(model, train, train, recipe, progress=False)
    torch.testing.assert_close(linear.weight, before - 1e-3 * 1.9 * slope)  # Nesterov: the slope, and 0.9 of it again


# ------------------------------------------------------------------------------------------ recipes
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "constant"])
def test_every_optimizer_with_every_schedule(optimizer, schedule):
    model, history = trained(Recipe(1, 2, optimizer, 0.01, schedule=schedule))  # 16 batches
    rates = history.batches.learning_rate.tolist()
    if schedule == "cosine":
        assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
        assert all(a > b for a, b in pairwise(rates[4:])) and rates[-1] < 0.0002
    else:
        assert rates == [0.01] * 16
    assert not same_weights(model, tiny())


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 7])
def test_cosine_fits_into_short_runs(batches):
    _, history = trained(Recipe(1, 4, learning_rate=0.5), train=red_or_blue(4 * batches))
    assert history.batches.learning_rate.max() == 0.5 and history.batches.learning_rate.min() > 0


def test_step_divides_by_10_after_each_third():
    _, history = trained(Recipe(epochs=6, batch_size=16, learning_rate=0.1, schedule="step"))
    assert history.epochs.learning_rate.tolist() == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert history.batches.learning_rate.tolist() == pytest.approx(history.epochs.learning_rate.repeat(2).tolist())


@pytest.mark.parametrize("epochs", [4, 5, 7, 8, 10])
def test_step_divides_twice_whatever_the_number_of_epochs(epochs):
    _, history = trained(Recipe(epochs=epochs, batch_size=32, learning_rate=0.1, schedule="step"))
    assert history.epochs.learning_rate.nunique() == 3


def test_plateau_divides_by_10_when_the_training_loss_stays():
    recipe = Recipe(epochs=6, batch_size=16, learning_rate=0.1, weight_decay=0, schedule="plateau")
    history = fit(Constant(1.0, 0.0), red_or_blue(), red_or_blue(8), recipe, progress=False)
    assert history.epochs.learning_rate.tolist() == pytest.approx([0.1] * 4 + [0.01] * 2)


def test_plateau_leaves_the_rate_while_the_training_loss_falls():
    recipe = Recipe(epochs=6, batch_size=8, learning_rate=0.02, schedule="plateau")
    history = fit(tiny(dropout=0), red_or_blue(), red_or_blue(8), recipe, progress=False)
    assert history.epochs.train_loss.is_monotonic_decreasing
    assert history.epochs.learning_rate.tolist() == [0.02] * 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "lion"},
        {"schedule": "linear"},
        {"epochs": 0},
        {"batch_size": 0},
        {"epochs": 1.5},
        {"batch_size": "8"},
        {"learning_rate": -1},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"learning_rate": 1000.0},
        {"learning_rate": "0.1"},
        {"weight_decay": -0.1},
        {"weight_decay": math.nan},
    ],
)
def test_a_bad_recipe_is_refused_and_the_argument_named(wrong):
    ((argument, value),) = wrong.items()
    with pytest.raises((ValueError, TypeError), match=f"{argument}={value!r}"):
        Recipe(**wrong)


def test_whatever_can_be_called_augments(tmp_path):
    recipe = Recipe(1, 8, augment=partial(random_crop, 2))
    assert recipe.in_words()["augment"] == "random_crop(2)"
    recipe = replace(recipe, augment=lambda images, generator: images)
    fit(tiny(), red_or_blue(), red_or_blue(8), recipe, folder=tmp_path, progress=False)


# ------------------------------------------------------------------------------------------ measuring
@pytest.mark.parametrize("training", [True, False])
def test_predict_keeps_the_order_and_the_mode(training):
    dataset = red_or_blue(17)
    model = tiny(dropout=0.9).train(training)
    once, in_parts = predict(model, dataset), predict(model, dataset, batch_size=3)
    assert model.training == model[5].training == training
    torch.testing.assert_close(once, in_parts)
    assert not once.requires_grad
    torch.testing.assert_close(once, model.eval()(prepare(dataset.images)).detach())


def test_evaluate_by_hand():
    dataset = red_or_blue(4)
    dataset.labels = torch.tensor([0, 0, 1, 0])
    measured = evaluate(Constant(math.log(3), 0.0), dataset)  # red with probability 3/4
    assert measured["accuracy"] == 0.75
    assert measured["loss"] == pytest.approx(-(3 * math.log(3 / 4) + math.log(1 / 4)) / 4)


def test_prepare_brings_levels_to_about_minus_2_to_2():
    ready = prepare(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 4, 4))
    torch.testing.assert_close(ready[0, :, 0, 0], torch.tensor([-2.0, -1.2, 2.0]))
    assert ready.is_contiguous(memory_format=torch.channels_last)


def test_halved_images_are_means_of_four_and_masks_whatever_is_in_one_of_four():
    images = torch.tensor([[10, 20, 0, 0], [30, 41, 0, 2]], dtype=torch.uint8).expand(1, 3, 2, 4)
    mask = torch.tensor([[[False, False, False, False], [True, False, False, False]]])
    half = ImageSet("small", images, torch.tensor([0]), ("a",), {"target": mask}).halved()
    assert half.images.dtype == torch.uint8 and half.images[0, 0].tolist() == [[25, 0]]
    assert half.masks["target"].tolist() == [[[True, False]]] and half.labels.tolist() == [0]


# ------------------------------------------------------------------------------------------ comparisons
@pytest.fixture(scope="module")
def twins():
    """The same variant under two names."""
    variants = {name: lambda: tiny(seed=int(torch.initial_seed())) for name in ("one", "other")}
    return compare(variants, lambda seed: (red_or_blue(seed=seed), red_or_blue(15, 99)), QUICK, seeds=2)


def test_compare_has_one_row_per_variant_and_seed(twins):
    columns = ["variant", "seed", "accuracy", "train_accuracy", "parameters", "seconds"]
    assert twins.runs.columns.tolist() == columns
    assert twins.runs[["variant", "seed"]].values.tolist() == [["one", 0], ["other", 0], ["one", 1], ["other", 1]]
    assert (twins.runs.parameters == parameters(tiny())).all()


def test_compare_runs_in_pairs(twins):
    for seed in range(2):
        one, other = twins.runs[twins.runs.seed == seed].itertuples()
        assert (one.accuracy, one.train_accuracy) == (other.accuracy, other.train_accuracy)
        assert same_weights(twins.models["one", seed], twins.models["other", seed])
    assert not same_weights(twins.models["one", 0], twins.models["one", 1])


def test_compare_keeps_the_networks_that_the_rows_are_about(twins):
    for row in twins.runs.itertuples():
        assert evaluate(twins.models[row.variant, row.seed], red_or_blue(15, 99))["accuracy"] == row.accuracy


RUNS = pd.DataFrame({
    "variant": ["se", "none", "none", "se", "se", "none", "none", "se"],
    "seed": [0, 0, 1, 1, 2, 2, 3, 3],
    "accuracy": [0.52, 0.50, 0.60, 0.64, 0.61, 0.55, 0.55, 0.55],
})  # fmt: skip


def test_summary_by_hand():
    table = summary(RUNS)
    assert table.index.tolist() == ["se", "none"]
    assert table.loc["none"].to_dict() == pytest.approx(
        {"mean": 0.55, "sd": math.sqrt((0.05**2 + 0.05**2) / 3), "min": 0.50, "max": 0.60, "seeds": 4}
    )


def test_paired_difference_by_hand_and_by_scipy():
    found = paired_difference(RUNS, "se", "none")
    interval = stats.ttest_1samp([0.02, 0.04, 0.06, 0.0], 0).confidence_interval(0.95)
    assert found == pytest.approx({"mean": 0.03, "low": interval.low, "high": interval.high, "seeds": 4})
    assert found["high"] - 0.03 == pytest.approx(3.182446 * math.sqrt(0.002 / 3 / 4), rel=1e-6)


def test_paired_difference_leaves_out_a_seed_that_one_variant_lacks():
    assert paired_difference(RUNS[:-1], "se", "none")["seeds"] == 3


def test_one_pair_tells_nothing():
    found = paired_difference(RUNS[:2], "se", "none")
    assert found["mean"] == pytest.approx(0.02) and (found["low"], found["high"]) == (-math.inf, math.inf)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="variant='sse' is not known: choose one of 'none', 'se'"):
        paired_difference(RUNS, "sse", "none")
    apart = RUNS[((RUNS.variant == "se") & (RUNS.seed < 2)) | ((RUNS.variant == "none") & (RUNS.seed > 1))]
    with pytest.raises(ValueError, match="no seed in common"):
        paired_difference(apart, "se", "none")
    puzzles, _ = recorded("glyphworld_gates")
    for compares in (summary, lambda runs: paired_difference(runs, "se", "none")):
        with pytest.raises(ValueError, match=r"several sets of images .'key', 'frames', 'board', 'lookup'"):
            compares(puzzles)
    assert (summary(puzzles[puzzles.data == "key"]).seeds == 5).all()


# ------------------------------------------------------------------------------------------ recordings
RECORDINGS = sorted(path.stem for path in (Path(__file__).parents[1] / "results").glob("*.csv"))


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_says_how_it_was_made(name):
    runs, header = recorded(name)
    assert len(runs) and not runs.duplicated().any()
    assert {"command", "hardware", "versions", "date"} <= set(header)
    assert header["command"].startswith(("python -m attn_lessons.", "python tools/", "make "))


@pytest.mark.parametrize("name", [name for name in RECORDINGS if "attn_lessons.train" in recorded(name)[1]["command"]])
def test_a_training_recording_has_one_row_per_run(name):
    runs, header = recorded(name)
    assert {"data", "variant", "seed", "accuracy", "train_accuracy", "parameters"} <= set(runs.columns)
    assert runs.accuracy.between(0, 1).all() and not runs.duplicated(["data", "variant", "seed"]).any()
    assert "recipe" in header


def test_an_unknown_recording_names_those_that_exist():
    assert RECORDINGS
    with pytest.raises(FileNotFoundError, match="'nothing'") as raised:
        recorded("nothing")
    assert all(name in str(raised.value) for name in RECORDINGS)
