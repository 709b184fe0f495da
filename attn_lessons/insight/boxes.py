"""Grad-CAM on photographs whose objects have boxes, beside the centre baseline: ``results/photographs_cam.csv``.

Used in lesson 10. Recorded with ``python -m attn_lessons.insight.boxes val.zip boxes.csv classes.csv OUT.csv``.
"""

import datetime
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from .. import __version__
from ..datasets import ImageSet, image_folder
from ..datasets.folder import is_image, opened
from ..models import trained
from .cam import cam
from .localise import localisation

NETWORK = "photographs_vgg"
SIZE, PAIRS = 64, 300
MAPS = {"Grad-CAM": "gradcam", "mean of channels": "mean_of_channels"}


def boxed(images: Path, boxes: Path, names: Path, classes: list[str]) -> ImageSet:
    """The photographs of these classes, with the box of each as its mask "object".

    Parameters
    ----------
    images : Path
        A zip or folder as for `attn_lessons.datasets.image_folder`; its folders are called as in `names`.
    boxes : Path
        A table with ``path`` (folder/file), ``x_min``, ``y_min``, ``x_max``, ``y_max``: pixels, inclusive.
    names : Path
        A table with ``wnid``, the name of a folder, and ``name``, of which the part before the first comma counts.
    classes : list of str
        Which classes, in the order of the network's answers.
    """
    everything = image_folder(images, SIZE)
    with opened(images) as (files, _):  # in the order of image_folder
        paths = sorted((name for name in files if is_image(name)), key=lambda name: name.split("/"))
    table = pd.read_csv(boxes).drop_duplicates("path").set_index("path")
    table = table.loc[["/".join(path.split("/")[-2:]) for path in paths]]
    rows = torch.arange(SIZE)[:, None]
    x, y = (torch.from_numpy(table[[f"{axis}_min", f"{axis}_max"]].to_numpy()) for axis in "xy")
    across, down = ((side[:, :1] <= rows.T) & (side[:, 1:] >= rows.T) for side in (x, y))
    masks = down[:, :, None] & across[:, None, :]
    name_of = pd.read_csv(names, index_col="wnid").name.str.split(",").str[0]
    known = [name_of[folder] for folder in everything.classes]
    position = torch.tensor([classes.index(name) if name in classes else -1 for name in known])[everything.labels]
    kept = position >= 0
    return ImageSet(images.stem, everything.images[kept], position[kept], classes, {"object": masks[kept]})


def side_by_side(photographs: ImageSet, pairs: int = PAIRS) -> tuple[ImageSet, torch.Tensor]:
    """Pairs of two classes, each as one image twice as wide; the mask is the left half; and the right half's labels."""
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0))
    left, right = order, order.roll(1)
    differ = photographs.labels[left] != photographs.labels[right]
    left, right = photographs[left[differ][:pairs]], photographs[right[differ][:pairs]]
    both = torch.cat([left.images, right.images], 3)
    half = torch.zeros(len(both), *both.shape[2:], dtype=torch.bool)
    half[:, :, :SIZE] = True
    return replace(left, images=both, masks={"object": half}), right.labels


def scores(photographs: ImageSet) -> pd.DataFrame:
    """The localisation scores of `NETWORK`: one row for each set of images, map, class asked about, and score."""
    network, tables = trained(NETWORK)[0], {}
    pairs, right = side_by_side(photographs)
    for name, method in MAPS.items():
        maps = cam(network, photographs.images, photographs.labels, method)
        tables["one photograph", name, "its own"] = localisation(maps, photographs.masks["object"])
        for half, labels in (("left", pairs.labels), ("right", right)):
            maps = cam(network, pairs.images, labels, method)
            tables["left half of two", name, half] = localisation(maps, pairs.masks["object"])
    return pd.concat(tables, names=["object", "map", "class", "score of"]).round(4).reset_index()


def main(arguments: list[str]) -> None:
    images, boxes, names, out = map(Path, arguments)
    _, about = trained(NETWORK)
    torch.set_num_threads(1)
    photographs = boxed(images, boxes, names, about["classes"])
    scores(photographs).to_csv(out, index=False)
    words = [path.name for path in (images, boxes, names)]
    header = {
        "command": " ".join(["python -m attn_lessons.insight.boxes", *words, f"results/{out.name}"]),
        "network": NETWORK,
        "images": f"{len(photographs)} validation images of ten classes of Tiny-ImageNet, 64×64; {PAIRS} pairs of them",
        "seeds": 1,
        "date": datetime.date.today().isoformat(),
        "hardware": f"CPU ({platform.machine()})",
        "threads": 1,
        "versions": {"attn_lessons": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
    out.with_suffix(".json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
