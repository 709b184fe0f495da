"""Several processes train what one would; lower precision, mixed labels and the best epoch."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from attn_lessons.datasets import ImageSet, cutmix, mixup
from attn_lessons.training import Recipe, evaluate, fit, prepare

RECIPE = Recipe(3, 8, "sgd", 0.05, mix=cutmix, label_smoothing=0.1)


def dataset(n: int = 40) -> ImageSet:
    images = torch.randint(256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    return ImageSet("noise", images, torch.arange(n) % 3, ("a", "b", "c"))


def network() -> nn.Module:
    """No batch norm and no dropout: each process would see only its part of a batch, or draw its own."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def train(folder: str | Path | None, recipe: Recipe = RECIPE) -> nn.Module:
    model = network()
    fit(model, dataset(), dataset(12), recipe, seed=1, folder=folder, progress=False)
    return model


# ------------------------------------------------------------------------------------------ several processes
def launch(code: str, processes: int) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    return subprocess.run(
        [sys.executable, *words, sys.executable, "-c", f"import test_processes as t\n{code}"],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_two_processes_train_what_one_does_and_refuse_a_batch_that_they_cannot_share(tmp_path):
    one = train(tmp_path / "one")
    code = "try: t.train(None, t.replace(t.RECIPE, batch_size=7))\nexcept ValueError as error: print(error)"
    done = launch(f"{code}\nt.train({str(tmp_path / 'two')!r})", processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("batch_size=7 cannot be shared evenly by 2 processes: choose a multiple of 2") == 2
    two = torch.load(tmp_path / "two" / "last.pt")["parts"]["model"]
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-6)
    for table in ("batches", "epochs"):
        rows = [
            pd.read_csv(tmp_path / run / f"{table}.csv").drop(columns="seconds", errors="ignore")
            for run in ("one", "two")
        ]
        pd.testing.assert_frame_equal(*rows, rtol=1e-4, check_exact=False)
    # … and a run of two processes is taken up by one, as if nothing had happened
    more = train(tmp_path / "two")
    torch.testing.assert_close(more.state_dict(), one.state_dict(), rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------ precision
def test_bf16_computes_in_bf16_and_keeps_fp32_weights():
    seen = []

    class Asks(nn.Sequential):
        def forward(self, x):
            logits = super().forward(x)
            seen.append((self.training, logits.dtype))
            return logits

    model = Asks(network())
    fit(model, dataset(), dataset(12), replace(RECIPE, precision="bf16"), progress=False)
    assert set(seen) == {(True, torch.bfloat16), (False, torch.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    close = train(None, replace(RECIPE, precision="bf16")), train(None)
    torch.testing.assert_close(close[0].state_dict(), close[1].state_dict(), rtol=0.1, atol=0.02)


def test_runs_of_different_precision_follow_each_other_and_leave_no_state():
    for precision in ("fp32", "bf16", "fp32"):
        train(None, replace(RECIPE, epochs=1, precision=precision))
        assert not AcceleratorState._shared_state  # or notebook_launcher would refuse to start


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(ValueError, match="precision='fp16' needs a GPU"):
        train(None, replace(RECIPE, precision="fp16"))


# ------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize("mix", [None, mixup, cutmix])
def test_the_first_loss_by_hand(mix):
    whole, model = dataset(8), network()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    images, targets = whole.images[order], F.one_hot(whole.labels[order], 3).float()
    if mix:
        images, targets = mix(images, whole.labels[order], 3, torch.Generator().manual_seed(0))
    targets = 0.8 * targets + 0.2 / 3
    by_hand = -(targets * model(prepare(images)).log_softmax(1)).sum(1).mean()
    recipe = Recipe(1, 8, "sgd", 0.05, mix=mix, label_smoothing=0.2)
    history = fit(model, whole, whole, recipe, progress=False)
    assert history.batches.loss[0] == pytest.approx(by_hand.item(), rel=1e-5)
    tested = evaluate(model, whole)
    assert tested["loss"] == pytest.approx(F.cross_entropy(model(prepare(whole.images)), whole.labels).item(), rel=1e-5)


# ------------------------------------------------------------------------------------------ the best epoch
def test_the_best_epoch_by_the_validation_set_is_kept_and_the_test_set_chooses_nothing(tmp_path):
    recipe = Recipe(
        8, 8, "sgd", 0.3, 0.0, augment=lambda images, generator: 255 - images
    )  # tested on what it never saw
    for name, test in (("one", dataset(12)), ("other", dataset(9))):
        model = network()
        epochs = fit(model, dataset(), test, recipe, 0, tmp_path / name, False, validation=dataset(12)).epochs
    with safe_open(tmp_path / "one" / "best.safetensors", "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert about["epoch"] == epochs.validation_accuracy.idxmax() + 1  # the first of equals
    files = [load_file(tmp_path / name / "best.safetensors") for name in ("one", "other")]
    best = network()
    best.load_state_dict(files[0])
    accuracy = evaluate(best, dataset(12))["accuracy"]
    assert accuracy == about["validation_accuracy"] == epochs.validation_accuracy.max()
    assert all(torch.equal(tensor, files[1][name]) for name, tensor in files[0].items())


def test_without_a_validation_set_no_epoch_is_chosen(tmp_path):
    fit(network(), dataset(), dataset(12), RECIPE, folder=tmp_path, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "batches.csv",
        "epochs.csv",
        "last.pt",
        "last.safetensors",
    ]


def test_the_best_epoch_of_a_stopped_run_stays_the_best(tmp_path):
    class Stops(Exception):
        pass

    def stopping(images, generator):
        if torch.is_tensor(stop) and stop.sub_(1) == 0:
            raise Stops
        return images

    def run(folder):
        fit(network(), dataset(), None, recipe, folder=tmp_path / folder, progress=False, validation=dataset(12))

    stop, recipe = None, Recipe(6, 8, "sgd", 0.3, 0.0, augment=stopping)
    run("whole")
    stop = torch.tensor(22)  # in the fifth epoch
    with pytest.raises(Stops):
        run("stopped")
    run("stopped")
    for name in ("best.safetensors", "last.safetensors"):
        whole, stopped = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "stopped"))
        assert whole == stopped
