"""CIFAR as torchvision reads it, from its folder, its archive or the Hub's files; GlyphWorld 100 where it is not."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from itertools import pairwise

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torchvision.datasets import CIFAR10, CIFAR100

from attn_lessons.datasets import (
    DownloadError,
    cifar10,
    cifar100,
    glyphworld_100,
    hundred_classes,
    photographs,
    tiny_imagenet,
)
from attn_lessons.datasets.hundred import BOX, RADII
from attn_lessons.datasets.scene import SHAPES, depth, grid

READ = {CIFAR10: (cifar10, "CIFAR-10", "labels", 10), CIFAR100: (cifar100, "CIFAR-100", "fine_labels", 100)}
KINDS = pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
# Of images, labels and target of 100 images with seed 0.
SHA256 = "3b9b5d650d220a55f520fe632ce59781dc8ffc772fe7060b1c672f3554ddef06"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing is there, and nothing can be fetched."""
    monkeypatch.setenv("ATTN_LESSONS_DATA", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the Hub's library tries five times more
    return tmp_path


def write(kind, folder, monkeypatch) -> None:
    """A small set of noise in torchvision's format, and its checksums where the published ones were."""
    _, _, key, count = READ[kind]
    generator = np.random.default_rng(0)
    target = folder / kind.base_folder
    target.mkdir(parents=True)

    def save(name: str, content: dict) -> list[str]:
        data = pickle.dumps(content, protocol=3)
        (target / name).write_bytes(data)
        return [name, md5(data)]

    def batch() -> dict:
        labels = generator.integers(0, count, 20).tolist()
        return {"data": generator.integers(0, 256, (20, 3072)).astype(np.uint8), key: labels}

    meta = save(kind.meta["filename"], {kind.meta["key"]: [f"class {i}" for i in range(count)]})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta[1]})
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(kind, files, [save(name, batch()) for name, _ in getattr(kind, files)])


def archive(kind, folder, monkeypatch) -> None:
    """The same as an archive, as it is published."""
    write(kind, folder / "elsewhere", monkeypatch)
    with tarfile.open(folder / kind.filename, "w:gz") as tar:
        tar.add(folder / "elsewhere" / kind.base_folder, kind.base_folder)
    monkeypatch.setattr(kind, "tgz_md5", md5((folder / kind.filename).read_bytes()))


# ------------------------------------------------------------------------------------------ CIFAR
@KINDS
@pytest.mark.parametrize("packed", [False, True])
def test_reads_what_torchvision_reads(kind, folder, monkeypatch, packed):
    (archive if packed else write)(kind, folder, monkeypatch)
    read, name, _, count = READ[kind]
    root = folder / "elsewhere" if packed else folder
    for ours, train in zip(read(download=False), (True, False), strict=True):
        theirs = kind(root, train=train)
        assert ours.name == name and len(ours.classes) == count and list(ours.classes) == theirs.classes
        assert ours.images.shape == (len(theirs), 3, 32, 32) and ours.images.dtype == torch.uint8
        assert torch.equal(ours.images, torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
        assert ours.labels.tolist() == theirs.targets
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [kind.filename, "elsewhere"] if packed else [kind.base_folder]
    )


@KINDS
def test_an_altered_folder_counts_as_none_and_the_archive_is_read(kind, folder, monkeypatch):
    archive(kind, folder, monkeypatch)
    (folder / "elsewhere" / kind.base_folder).rename(folder / kind.base_folder)
    altered = folder / kind.base_folder / kind.test_list[0][0]
    altered.write_bytes(altered.read_bytes()[:-1])
    assert len(READ[kind][0](download=False)[0])


@pytest.mark.parametrize("packed", [False, True])
def test_altered_files_are_named_and_never_unpickled(folder, monkeypatch, packed, capsys):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(folder / "trap"),)

    (archive if packed else write)(CIFAR100, folder, monkeypatch)
    altered = folder / (CIFAR100.filename if packed else f"{CIFAR100.base_folder}/test")
    if packed:
        altered.write_bytes(altered.read_bytes()[:-5] + b"?" + altered.read_bytes()[-4:])
    else:
        altered.write_bytes(pickle.dumps({"data": Call(), "fine_labels": []}))
    before = altered.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"train-00000-of-00001\.parquet is not there, and download=False"):
        cifar100(download=False)
    with pytest.raises(DownloadError, match="could not be fetched"):
        cifar100()
    assert altered.read_bytes() == before and not (folder / "trap").exists()
    there = folder / (CIFAR100.filename if packed else CIFAR100.base_folder)
    assert f"{there} is incomplete or altered (a checksum is wrong): not read." in capsys.readouterr().out


@KINDS
def test_reads_the_files_of_the_hub(kind, folder, monkeypatch):
    """Small ones in its format, whose list of classes has "cra" for "crab"."""
    read, name, _, count = READ[kind]
    repository, revision, inside, column, _ = photographs.HUB[name]
    target = folder / name.lower() / inside
    target.mkdir(parents=True)
    generator, sha256, expected = np.random.default_rng(0), {}, {}
    features = {column: {"names": [*map(str, range(count - 1)), "cra"], "_type": "ClassLabel"}}
    for part in ("train", "test"):
        images = generator.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
        labels = generator.integers(0, count, 20).tolist()
        pngs = [io.BytesIO() for _ in images]
        for image, png in zip(images, pngs, strict=True):
            Image.fromarray(image).save(png, "PNG")
        columns = {"img": [{"bytes": png.getvalue(), "path": None} for png in pngs], column: labels}
        table = pyarrow.table({**columns, "coarse_label": labels})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        file = target / f"{part}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(table, file)
        sha256[part], expected[part] = hashlib.sha256(file.read_bytes()).hexdigest(), (images, labels)
    monkeypatch.setitem(photographs.HUB, name, (repository, revision, inside, column, sha256))
    for ours, (images, labels) in zip(read(download=False), expected.values(), strict=True):
        assert ours.name == name and len(ours.classes) == count and ours.classes[-1] == "crab"
        assert torch.equal(ours.images, torch.from_numpy(images).permute(0, 3, 1, 2)) and ours.images.is_contiguous()
        assert ours.labels.tolist() == labels


# ------------------------------------------------------------------------------------------ a hundred classes
def test_cifar_100_where_it_is(folder, monkeypatch, capsys):
    write(CIFAR100, folder, monkeypatch)
    train, test = hundred_classes(15, 10)
    assert (train.name, len(train), len(test)) == ("CIFAR-100", 15, 10)
    assert capsys.readouterr().out == "CIFAR-100: 15 images to train on, 10 to test with.\n"


@pytest.mark.parametrize(
    ("download", "why"),
    [
        (False, "No CIFAR-100 here: cifar100() fetches it, 142 MB."),
        (True, "could not be fetched from uoft-cs/cifar100 on the Hugging Face Hub ("),
    ],
)
def test_glyphworld_100_where_it_is_not_and_it_says_so(capsys, download, why):
    train, test = hundred_classes(30, 20, download)
    assert train.name == test.name == "GlyphWorld 100" and (len(train), len(test)) == (30, 20)
    assert not torch.equal(train.images[:20], test.images)
    out = capsys.readouterr().out
    assert why in out and "GlyphWorld 100 instead, generated: 30 images to train on, 20 to test with" in out


def test_glyphworld_100():
    dataset = glyphworld_100(1500)
    assert dataset.images.shape == (1500, 3, 32, 32) and len(set(dataset.classes)) == 100
    assert chisquare(dataset.labels.bincount(minlength=100)).pvalue > 1e-3
    first = glyphworld_100(100)
    assert torch.equal(first.images, dataset.images[:100]) and torch.equal(first.labels, dataset.labels[:100])
    content = (first.images, first.labels, first.masks["target"])
    assert hashlib.sha256(b"".join(t.numpy().tobytes() for t in content)).hexdigest() == SHA256
    area = dataset.masks["target"].sum((1, 2)).double()
    by_size = [area[dataset.labels % 4 == size].mean() for size in range(4)]
    assert all(1.5 < b / a < 2.5 for a, b in pairwise(by_size))


def test_no_sample_lies_so_near_an_edge_that_rounding_could_decide():
    x, y = grid(BOX, BOX, fine=4)
    for shape in range(len(SHAPES)):
        for radius in RADII.values():
            for scale, angle in ((s, a) for s in (0.96, 1, 1.04) for a in (-17, 3, 19)):
                c, s = np.cos(np.deg2rad(angle)) / (scale * radius), np.sin(np.deg2rad(angle)) / (scale * radius)
                assert abs(depth(shape, x * c + y * s, y * c - x * s)).min() > 1e-9


# ------------------------------------------------------------------------------------------ Tiny-ImageNet
def test_tiny_imagenet(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"tiny-imagenet-200\.zip is not there, and download=False"):
        tiny_imagenet(download=False)
    levels = {"train/n2/images/n2_1": 10, "train/n1/images/n1_0": 20, "train/n1/images/n1_10": 30,
              "val/images/val_1": 40, "val/images/val_0": 50, "test/images/test_0": 60}  # fmt: skip
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
        for name, level in levels.items():
            data = io.BytesIO()
            Image.new("L", (64, 64), level).save(data, "JPEG")
            archive.writestr(f"tiny-imagenet-200/{name}.JPEG", data.getvalue())
        archive.writestr("tiny-imagenet-200/wnids.txt", "n2\nn1\n")
        archive.writestr("tiny-imagenet-200/words.txt", "n0\tnothing\nn1\tfish, goldfish\nn2\tcat\n")
        archive.writestr(
            "tiny-imagenet-200/val/val_annotations.txt", "val_0.JPEG\tn2\t0\t0\t9\t9\nval_1.JPEG\tn1\t0\t0\t9\t9\n"
        )
    data = (folder / "tiny-imagenet-200.zip").read_bytes()
    monkeypatch.setattr(photographs, "TINY_SHA256", hashlib.sha256(data).hexdigest())
    train, test = tiny_imagenet(download=False)
    assert train.classes == ("fish, goldfish", "cat") and train.images.shape == (3, 3, 64, 64)
    assert train.images[:, 0, 5, 5].tolist() == [20, 30, 10] and train.labels.tolist() == [0, 0, 1]
    assert test.images[:, 2, 5, 5].tolist() == [50, 40] and test.labels.tolist() == [1, 0]
