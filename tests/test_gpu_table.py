"""`make gpu-table`, rehearsed on a CPU with a few made-up images."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import gpu_table
import packed
from attn_lessons.train import networks

WORDS = {"device": "cpu", "epochs": 1, "batches": 2, "batch_size": 8, "seeds": 1}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The folder of 3 classes of noise, packed: 30 images in files of 16, and 18 to test with."""
    folder = tmp_path_factory.mktemp("images")
    for part, n in (("train", 10), ("val", 6)):
        for name in "abc":
            (folder / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = np.random.default_rng([n, ord(name), i]).integers(0, 256, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PART", 16)
        packed.pack(folder / "train", folder / "val", "noise", folder / "packed")
    return folder / "packed"


def test_packed_images_are_those_of_the_folder(images, tmp_path):
    train, test = packed.unpack(images)
    assert (train.name, train.classes, len(train), len(test)) == ("noise", ("a", "b", "c"), 30, 18)
    read = packed.image_folder(images.parent / "train", 32)
    assert torch.equal(train.images, read.images) and torch.equal(train.labels, read.labels)
    assert len(list(images.glob("train-*"))) == 2

    with pytest.raises(ValueError, match=r"no images in .*packed\.py.*cifar100"):
        packed.unpack(tmp_path)
    for file in images.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train-1.safetensors").write_bytes((images / "train-0.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"train-1\.safetensors is missing or damaged"):
        packed.unpack(tmp_path)


def test_a_table_that_was_stopped_goes_on(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_table, "VGG", partial(gpu_table.VGG, width=1 / 16))
    monkeypatch.setattr(gpu_table, "TABLES", [["vgg11_bn none", "vgg11_bn se"]])
    monkeypatch.setattr(gpu_table, "matrix_rate", lambda device: 1e11)
    out = tmp_path / "table.csv"
    epochs = out.with_name("table_epochs.csv")
    settings = gpu_table.Settings(images=str(images), out=out, minutes=1, **WORDS)
    second = iter([0, 0, 59.99])  # at the start, before the first run, before the second
    monkeypatch.setattr(gpu_table, "time", SimpleNamespace(monotonic=lambda: next(second)))
    gpu_table.main(settings, ["--minutes", "1"])
    first = out.read_text()
    assert len(pd.read_csv(out)) == 1 and "the same command goes on" in capsys.readouterr().out

    monkeypatch.setattr(gpu_table, "time", SimpleNamespace(monotonic=lambda: 0))
    gpu_table.main(settings, ["--minutes", "1"])
    rows, log = pd.read_csv(out), pd.read_csv(epochs)
    assert out.read_text().startswith(first)
    assert rows.variant.tolist() == log.variant.tolist() == ["vgg11_bn none", "vgg11_bn se"]
    assert rows.accuracy.tolist() == pytest.approx(log.test_accuracy.tolist(), abs=1e-4)
    assert rows.drop(columns=["images_per_second", "share_of_matrix_rate"]).notna().all(axis=None)  # too short to tell
    for file in out, epochs:
        about = json.loads(file.with_suffix(".json").read_text())
        assert about["command"] == "python tools/gpu_table.py --minutes 1" and about["recipe"]["batch_size"] == 8
    with pytest.raises(ValueError, match=r"epochs 1, and this one has 2: name another file with --out"):
        gpu_table.main(gpu_table.replace(settings, epochs=2), [])


def test_without_a_gpu_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"there is no GPU, and .* hours: .*--device cpu --epochs 1 .*rehearses it\.$"):
        gpu_table.main(gpu_table.Settings(), [])


def test_an_operation_without_a_deterministic_version_is_named(images):
    class Unpooled(torch.nn.Module):  # which has none on a CPU either
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 3)

        def forward(self, x):
            pooled, where = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
            return self.linear(torch.nn.functional.max_unpool2d(pooled, where, 2).mean((2, 3)))

    recipe = gpu_table.Recipe(1, 8, "sgd")
    found = gpu_table.without_deterministic_version(Unpooled(), packed.unpack(images)[0], recipe)
    assert (
        len(found) == 1 and found[0].startswith("max_unpooling2d") and not torch.are_deterministic_algorithms_enabled()
    )


def test_all_networks_of_the_table_are_built():
    for name in [name for names in gpu_table.TABLES for name in names]:
        with torch.device("meta"):
            model = gpu_table.build(name, 100, "meta")
            assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
        assert ("none" in name) != any("attention" in key for key in model.state_dict())


def test_more_networks_than_usual_are_compiled():
    from torch._dynamo.utils import counters

    x = torch.zeros(2, 3, 8, 8)
    for width in range(3, 12):
        counters.clear()
        model = torch.nn.Sequential(torch.nn.Conv2d(3, width, 1), torch.nn.ReLU())
        networks.compile_in_place(model, "aot_eager")
        model(x)
        assert counters["stats"]["unique_graphs"] == 1
