"""Images of two folders or zips as a few files of numbers, each below 60 MB, to be copied to a machine with a GPU.

    python tools/packed.py train.zip val.zip "Tiny-ImageNet, 100 classes, 32×32"

writes ``data/hundred-32``; a fourth word names another folder. ``make gpu-table`` reads it.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from attn_lessons.datasets import ImageSet, image_folder
from attn_lessons.datasets.download import data_folder, is_published
from attn_lessons.train.sets import must_be_other_images

FOLDER = data_folder() / "hundred-32"
SIZE, PART = 32, 16_000  # pixels along a side; images in a file, 49 MB


def pack(train: str, test: str, name: str, folder: str | Path = FOLDER) -> None:
    """Write ``train-0.safetensors`` and so on, and, last, ``files.json``: name, classes, checksums."""
    folder = Path(folder)
    train, test = image_folder(train, SIZE), image_folder(test, SIZE)
    must_be_other_images(train, test, "test")
    folder.mkdir(parents=True, exist_ok=True)
    checksums = {}
    for part, images in (("train", train), ("test", test)):
        for i, start in enumerate(range(0, len(images), PART)):
            file, some = folder / f"{part}-{i}.safetensors", images[start : start + PART]
            save_file({"images": some.images, "labels": some.labels}, file)
            checksums[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    about = {"name": name, "classes": train.classes, "sha256": checksums}
    (folder / "files.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: {len(train):,} images to train on and {len(test):,} to test with in {len(checksums)} files.")


def unpack(folder: str | Path = FOLDER) -> tuple[ImageSet, ImageSet]:
    """The images to train on and to test with, as `pack` wrote them."""
    folder = Path(folder)
    if not (folder / "files.json").exists():
        advice = "tools/packed.py writes your images there, --images cifar100 takes CIFAR-100"
        raise ValueError(f"there are no images in {folder}: {advice}.")
    about = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    for file, sha256 in about["sha256"].items():
        if not is_published(folder / file, sha256):
            raise ValueError(f"{folder / file} is missing or damaged: tools/packed.py writes it anew.")

    def image_set(part: str) -> ImageSet:
        files = [load_file(folder / file) for file in about["sha256"] if file.startswith(part)]
        images, labels = (torch.cat([file[of] for file in files]) for of in ("images", "labels"))
        return ImageSet(about["name"], images, labels, about["classes"])

    return image_set("train"), image_set("test")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    pack(*sys.argv[1:])
