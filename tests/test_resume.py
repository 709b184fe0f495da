"""Nothing is lost: a run that was stopped goes on, and ends as if it had never been stopped."""

import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from attn_lessons.datasets import ImageSet
from attn_lessons.models import VGG, GlyphNet
from attn_lessons.models.weights import weights_and_about
from attn_lessons.training import Recipe, fit, loop
from attn_lessons.training.checkpoint import network_fingerprint
from attn_lessons.training.log import alone_in

FILES = ["batches.csv", "epochs.csv", "last.pt", "last.safetensors"]
RECIPES = {
    "adamw, cosine": Recipe(4, 8, "adamw", 0.02),
    "adam, plateau": Recipe(4, 8, "adam", 0.5, schedule="plateau"),
    "sgd, step": Recipe(4, 8, "sgd", 0.05, schedule="step"),
}


def noise(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(256, images.shape, generator=generator, dtype=torch.uint8)


def dataset(n: int = 32) -> ImageSet:
    images = torch.randint(256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    return ImageSet("noise", images, torch.arange(n) % 2, ("a", "b"))


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 2)
    )


def tiny_vgg(slot: str) -> VGG:
    return VGG(11, 2, head="cifar", attention="eca", slot=slot, width=1 / 16)


class Stops(nn.Sequential):
    """Raises `error` in training batch number `at`."""

    def __init__(self, layers: nn.Module, at: int, error: BaseException):
        super().__init__(*layers)
        self.left, self.error = at, error

    def forward(self, x):
        self.left -= self.training
        if self.training and self.left == 0:
            raise self.error
        return super().forward(x)


def train(
    folder: Path | None, recipe: Recipe = RECIPES["adamw, cosine"], model: nn.Module | None = None, seed: int = 1
):
    model = network() if model is None else model
    return model, fit(model, dataset(), dataset(10), recipe, seed, folder, progress=False)


def same_run(a: tuple, b: tuple) -> None:
    for (name, one), other in zip(a[0].state_dict().items(), b[0].state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    pd.testing.assert_frame_equal(a[1].batches, b[1].batches, check_exact=True)
    columns = [name for name in a[1].epochs if name != "seconds"]
    pd.testing.assert_frame_equal(a[1].epochs[columns], b[1].epochs[columns], check_exact=True)


# ------------------------------------------------------------------------------------------ in another process
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


def in_another_process(what: Callable, *arguments) -> tuple[ForkServerProcess, Connection]:
    """A process that calls ``what(*arguments, connection)``, and the other end of the connection.

    It is forked from a server that has imported what takes seconds. This process must not be forked: on a machine with
    a GPU its automatic differentiation has threads, which no fork has.
    """
    server = get_context("forkserver")
    server.set_forkserver_preload(["pytest", "pandas", "accelerate", "attn_lessons.models", "attn_lessons.training"])
    here, there = server.Pipe()
    process = server.Process(target=what, args=(*arguments, there), daemon=True)
    process.start()
    return process, here


def killed(where: str, write: int, folder: Path, connection: Connection) -> None:
    """A run that is killed right before it writes a row, or saves or replaces a file, for the `write`-th time."""
    writes = itertools.count(1)

    def kill_at(original):
        def call(*arguments, **options):
            if next(writes) == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    torch.set_num_threads(1)
    slot, name = {"row": (loop.Log, "append"), "save": (torch, "save"), "replace": (os, "replace")}[where]
    setattr(slot, name, kill_at(getattr(slot, name)))
    train(folder)


# ------------------------------------------------------------------------------------------ goes on
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("at", [1, 4, 5, 9, 16])  # in the first epoch, at the end of one, at the start of one, …
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(recipe, at, tmp_path):
    whole = train(None, recipe)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe, Stops(network(), at, KeyboardInterrupt()))
    torch.rand(7)  # what else the process drew meanwhile does not matter
    same_run(train(tmp_path, recipe), whole)
    for name, table in (("batches", whole[1].batches), ("epochs", whole[1].epochs)):
        columns = [column for column in table if column != "seconds"]
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{name}.csv")[columns], table[columns], rtol=1e-12)


def test_augmentation_goes_on_with_its_own_generator(tmp_path):
    recipe = Recipe(3, 8, "sgd", 0.05, augment=noise)
    whole = train(None, recipe)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe, Stops(network(), 7, KeyboardInterrupt()))
    same_run(train(tmp_path, recipe), whole)


def test_stopped_again_and_again(tmp_path):
    whole = train(None)
    for at in (6, 3, 6):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, model=Stops(network(), at, KeyboardInterrupt()))
    same_run(train(tmp_path), whole)


def test_stopped_in_its_first_epoch_the_same_model_starts_from_its_first_weights_again(tmp_path):
    whole = train(None)
    model = Stops(network(), 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="the same call begins again with the first weights, kept in"):
        train(tmp_path, model=model)  # two steps away from where it began
    same_run(train(tmp_path, model=model), whole)


@forks
@pytest.mark.parametrize(("where", "write"), [("row", 2), ("row", 10), ("save", 2), ("replace", 3)])
def test_a_killed_process_goes_on(where, write, tmp_path):
    whole = train(None)
    process, _ = in_another_process(killed, where, write, tmp_path)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    same_run(train(tmp_path), whole)


def test_half_a_line_in_a_log_is_cut_off(tmp_path):
    whole = train(None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, model=Stops(network(), 7, KeyboardInterrupt()))
    with open(tmp_path / "batches.csv", "a", newline="") as file:
        file.write("1")  # of an epoch 10, say
    same_run(train(tmp_path), whole)


def test_a_finished_run_is_read_back_and_not_trained_again(tmp_path):
    whole = train(tmp_path)
    same_run(train(tmp_path, model=Stops(network(), 1, AssertionError())), whole)


def test_a_log_that_is_gone_is_written_again(tmp_path):
    _, history = train(tmp_path)
    (tmp_path / "batches.csv").unlink()
    train(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "batches.csv"), history.batches, rtol=1e-12)


# ------------------------------------------------------------------------------------------ refused
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": Recipe(5, 8)}, "epochs 4, and this one has 5"),
        ({"recipe": Recipe(4, 8, "adamw", 0.01)}, "learning_rate 0.02, and this one has 0.01"),
        ({"seed": 2}, "seed 1, and this one has 2"),
        (
            {"model": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))},
            "network '6 layers .* '3 layers",
        ),
        ({"model": nn.Sequential(*network()[:2], nn.GELU(), *network()[3:])}, "network '6 layers .* '6 layers"),
    ],
)
def test_another_run_in_the_folder_is_not_continued(change, words, tmp_path):
    train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words) as raised:
        train(tmp_path, **change)
    assert "another folder" in str(raised.value) and "\n" not in str(raised.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_without_a_whole_epoch_stands_in_nobodys_way(tmp_path):
    recipe = Recipe(4, 8, "sgd", 0.01)
    whole = train(None, recipe)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, model=Stops(network(), 2, KeyboardInterrupt()))
    same_run(train(tmp_path, recipe), whole)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: GlyphNet(attention="self", num_heads=1), lambda: GlyphNet(attention="self", num_heads=4)),
        (lambda: GlyphNet(attention="deformable"), lambda: GlyphNet(attention="deformable", offset_range=1)),
        (lambda: tiny_vgg("before_relu"), lambda: tiny_vgg("after_pool")),
        (lambda: nn.Sequential(nn.Dropout(0.1)), lambda: nn.Sequential(nn.Dropout(0.2))),
    ],
)
def test_networks_of_other_options_are_others(one, other):
    first, again, second = (network_fingerprint(build()) for build in (one, one, other))
    assert first == again != second


def test_a_run_of_another_device_is_another_one(tmp_path):
    train(tmp_path)
    state = torch.load(tmp_path / "last.pt")
    assert state["run"]["device"] == "cpu"
    state["run"]["device"] = "cuda"
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="device 'cuda', and this one has 'cpu'"):
        train(tmp_path)


def test_other_images_of_the_same_name_and_number_are_another_run(tmp_path):
    fit(network(), dataset(), dataset(8), RECIPES["sgd, step"], folder=tmp_path, progress=False)
    some = dataset()
    some.images[3, 0, 0, 0] += 1
    for train_set, test_set, words in ((some, dataset(8), "training images"), (dataset(), dataset(10), "test imag")):
        with pytest.raises(ValueError, match=words):
            fit(network(), train_set, test_set, RECIPES["sgd, step"], folder=tmp_path, progress=False)


def test_tied_layers_are_saved_and_go_on(tmp_path):
    def tied():
        torch.manual_seed(0)
        layer = nn.Linear(192, 192)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(192, 2))

    def run(folder, model):
        fit(model, dataset(), dataset(8), RECIPES["sgd, step"], folder=folder, progress=False)
        return model.state_dict()

    whole = run(None, tied())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Stops(tied(), 9, KeyboardInterrupt()))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in run(tmp_path, tied()).items())


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: b"x" * 50])
def test_a_damaged_checkpoint_is_named(damage, tmp_path):
    train(tmp_path)
    path = tmp_path / "last.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"last\.pt is damaged, or not a checkpoint"):
        train(tmp_path)


def test_flipped_bytes_are_damage_and_no_weights(tmp_path):
    """`torch.load` alone takes a third of them without a word."""
    model, _ = train(tmp_path)
    path, weight = tmp_path / "last.pt", model[0].weight.detach().numpy().tobytes()
    data = bytearray(path.read_bytes())
    data[data.index(weight)] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"last\.pt is damaged.*checksum of .*: delete it to start again"):
        train(tmp_path)


def test_another_file_of_tensors_is_named(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt is damaged, or not a checkpoint"):
        train(tmp_path)


# ------------------------------------------------------------------------------------------ one run at a time
def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def try_to_train(folder: Path, connection: Connection) -> None:
    model = network()
    try:
        train(folder, RECIPES["sgd, step"], model)
    except ValueError as error:
        as_it_was = all(map(torch.equal, model.state_dict().values(), network().state_dict().values()))
        connection.send((str(error), as_it_was))


def hold(folder: Path, connection: Connection) -> None:
    with alone_in(folder):
        connection.send("held")
        time.sleep(60)


@forks
def test_a_folder_that_a_run_is_writing_is_refused_and_nothing_is_written(tmp_path):
    calls = []

    def meanwhile(images, generator):
        """The same call in another process, in the first epoch and in the third."""
        calls.append(len(calls))
        if len(calls) in (2, 10):
            before = contents(tmp_path)
            process, connection = in_another_process(try_to_train, tmp_path)
            assert connection.poll(60)
            said, as_it_was = connection.recv()
            process.join()
            assert said.startswith(f"folder='{tmp_path}' is in use, another process is training") and "\n" not in said
            assert as_it_was and contents(tmp_path) == before
        return images

    recipe = replace(RECIPES["sgd, step"], augment=meanwhile)
    done = train(tmp_path, recipe)
    assert len(calls) == 16 and sorted(contents(tmp_path)) == FILES
    same_run(train(tmp_path, recipe), done)


@forks
def test_a_lock_goes_with_its_process_even_when_it_is_killed(tmp_path):
    process, connection = in_another_process(hold, tmp_path)
    assert connection.recv() == "held"
    with pytest.raises(ValueError, match="is in use"):
        train(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    same_run(train(tmp_path), train(None))
    assert sorted(contents(tmp_path)) == FILES


# ------------------------------------------------------------------------------------------ stopped, in one sentence
def test_ctrl_c_leaves_a_usable_model_and_says_what_to_do(tmp_path):
    model = Stops(network(), 7, KeyboardInterrupt())
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt, match=r"after batch 6 \(epoch 2\).*goes on after the last whole epoch"):
        train(tmp_path, model=model)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.isfinite(model.eval()(torch.zeros(2, 3, 8, 8))).all()
    with pytest.raises(KeyboardInterrupt, match=r"in its first batch.*starts again"):
        train(None, model=Stops(network(), 1, KeyboardInterrupt()))


def test_a_loss_that_is_no_number_stops_before_it_ruins_the_weights(tmp_path):
    class Explodes(nn.Sequential):
        calls = 0

        def forward(self, x):
            self.calls += self.training
            return super().forward(x) * (float("inf") if self.calls == 6 else 1)

    model = Explodes(*network())
    with pytest.raises(FloatingPointError, match=r"after batch 5 .*nan.*lower than 0\.02, 0\.005 say"):
        train(tmp_path, model=model)
    assert all(p.isfinite().all() for p in model.parameters())
    assert len(pd.read_csv(tmp_path / "batches.csv")) == 5


@pytest.mark.parametrize("test", [dataset(10), None])
def test_a_last_step_that_ruins_the_weights_is_reported(test):
    """No further batch would find it."""
    recipe = Recipe(1, 8, "sgd")
    object.__setattr__(recipe, "learning_rate", 1e39)  # which a recipe refuses
    with pytest.raises(FloatingPointError, match=r"after batch 1 .*(nan|no longer finite).*lower than 1e\+39"):
        fit(network(), dataset(8), test, recipe, progress=False)


def test_an_epoch_that_cannot_be_tested_is_not_kept(tmp_path):
    class Explodes(nn.Sequential):
        tests = 0

        def forward(self, x):
            self.tests += not self.training
            return super().forward(x) * (float("nan") if self.tests == 3 else 1)

    with pytest.raises(FloatingPointError, match=r"after batch 12 \(epoch 3\), since the test loss is nan: try"):
        train(tmp_path, model=Explodes(*network()))
    assert len(pd.read_csv(tmp_path / "epochs.csv")) == 2
    state = torch.load(tmp_path / "last.pt")
    assert state["epoch"] == 2 and all(tensor.isfinite().all() for tensor in state["parts"]["model"].values())
    assert not (tmp_path / "last.safetensors").exists()
    same_run(train(tmp_path), train(None))
    with pytest.raises(FloatingPointError, match="since the validation loss is nan: try"):
        recipe = RECIPES["adamw, cosine"]
        fit(Explodes(*network()), dataset(), None, recipe, 1, tmp_path / "chosen", False, validation=dataset(10))
    weights, about = weights_and_about(tmp_path / "chosen")
    assert about["epoch"] <= 2 and all(tensor.isfinite().all() for tensor in weights.values())


def test_a_full_gpu_is_reported_in_one_sentence():
    model = Stops(network(), 3, torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate …"))
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"full after batch 2 .*batch_size lower than 8"):
        train(None, model=model)


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ZeroDivisionError, match="mine"):
        train(None, model=Stops(network(), 3, ZeroDivisionError("mine")))


# ------------------------------------------------------------------------------------------ the file
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_file_holds_nothing_but_tensors_and_plain_python(recipe, tmp_path):
    recipe = replace(recipe, learning_rate=np.float64(recipe.learning_rate))  # NumPy's numbers would be code to import
    model, _ = train(tmp_path, recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(state["parts"]["model"][name], value)
    assert state["epoch"] == 4 and state["run"]["seed"] == 1 and state["run"]["optimizer"] == recipe.optimizer
