"""Image folders and zips: the images that are there, in sorted order, or one sentence about what is wrong."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from attn_lessons.datasets import image_folder


def save(path: Path, level: int = 0, mode: str = "RGB", size: tuple[int, int] = (6, 6)) -> None:
    """An image of random levels; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(
        np.random.default_rng(level).integers(0, 256, shape, np.uint8), mode if mode == "RGBA" else None
    ).save(path)


@pytest.fixture
def pets(tmp_path) -> Path:
    for i, name in enumerate(["dog/2.png", "dog/10.png", "cat/b.jpg", "cat/a.PNG", "owl/x/deep.png"]):
        save(tmp_path / "pets" / name, i)
    (tmp_path / "pets" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "dog" / "._2.png").write_text("what a Mac leaves behind")
    return tmp_path / "pets"


def zipped(folder: Path, under: str = "") -> Path:
    """`folder` as a zip, members in reverse order, inside `under`."""
    target = folder.parent / "pets.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, under + file.relative_to(folder).as_posix())
    return target


def test_reads_what_torchvision_reads(pets):
    (pets / "dog" / "._2.png").unlink()  # torchvision would try to read it
    ours, theirs = image_folder(pets, 6), ImageFolder(pets)
    assert ours.name == "pets" and ours.classes == tuple(theirs.classes) == ("cat", "dog", "owl")
    assert ours.labels.tolist() == theirs.targets == [0, 0, 1, 1, 2]
    expected = np.stack([np.asarray(image) for image, _ in theirs]).transpose(0, 3, 1, 2)
    assert ours.images.dtype == torch.uint8 and ours.images.is_contiguous()
    assert torch.equal(ours.images, torch.from_numpy(expected))
    assert ours.masks == {}


@pytest.mark.parametrize("under", ["", "test/", "some/where/"])
def test_zip_and_folder_are_equal(pets, under):
    a, b = image_folder(pets, 6), image_folder(zipped(pets, under), 6)
    assert a.classes == b.classes
    assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_a_single_class(tmp_path):
    save(tmp_path / "cats" / "tabby" / "1.png")
    assert image_folder(tmp_path / "cats", 6).classes == ("tabby",)


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("L", "jpg"), ("RGBA", "png")])
def test_other_modes_become_rgb(tmp_path, mode, ending):
    save(tmp_path / "a" / "b" / f"1.{ending}", mode=mode)
    images = image_folder(tmp_path / "a", 6).images
    assert images.shape == (1, 3, 6, 6)
    if mode == "L":
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_16_bit_greys_keep_their_order(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    greys = np.array(6 * [[0, 255, 256, 4000, 40_000, 65_535]], np.uint16)
    Image.fromarray(greys).save(tmp_path / "a" / "b" / "1.png")
    (tmp_path / "a" / "b" / "2.pgm").write_bytes(b"P5 6 6 65535\n" + greys.astype(">u2").tobytes())
    assert image_folder(tmp_path / "a", 6).images[:, 0, 0].tolist() == 2 * [[0, 0, 1, 15, 156, 255]]


def test_sizes(pets):
    save(pets / "owl" / "tall.png", size=(6, 9))
    assert image_folder(pets, size=8).images.shape == (6, 3, 8, 8)
    with pytest.raises(ValueError, match="size=0 is not a whole number of at least 1"):
        image_folder(pets, size=0)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' is neither a folder nor a zip"):
        image_folder(tmp_path / "nowhere", 6)
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(FileNotFoundError, match="text' is neither a folder nor a zip"):
        image_folder(tmp_path / "text", 6)


def test_no_images(tmp_path):
    (tmp_path / "empty" / "class").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty holds no images: expected class/name"):
        image_folder(tmp_path / "empty", 6)


def test_images_outside_class_folders(pets):
    save(pets / "m.png")
    with pytest.raises(ValueError, match=r"m\.png in .*pets lies in no class folder"):
        image_folder(pets, 6)


def test_two_sets_side_by_side(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / "both" / split / "cat" / "1.png")
    with pytest.raises(ValueError, match="both holds test and train, not classes: read each of them on its own"):
        image_folder(tmp_path / "both", 6)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("keep", [0, 60])
def test_names_a_broken_file(pets, as_zip, keep):
    broken = pets / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"dog/2\.png in .*pets.* is not an image that can be read"):
        image_folder(zipped(pets) if as_zip else pets, 6)
