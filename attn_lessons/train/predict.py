"""Say what a trained network sees in photographs: the most probable classes, as lines and, with --out, as a CSV."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ..insight.photographs import class_probabilities, read_photograph, size_of_images
from ..models import trained
from ..progress import progress_bar
from .files import must_be_new, photographs_in
from .options import Command, argument, count, option

AT_ONCE = 64  # photographs


@dataclass(kw_only=True)
class Settings(Command):
    run: str = argument("folder of a run, a weights file, or the name of a network of the course")
    photo: list[Path] = argument("image files, or folders of them", type=Path, nargs="+")
    top: int = option("how many classes of each (default: 3)", 3, type=count)
    out: Path | None = option("a CSV: file, rank, class, probability", type=Path)


def main(settings: Settings) -> None:
    if settings.out:
        must_be_new(settings.out, "--out")
    photos, (network, _) = photographs_in(settings.photo), trained(settings.run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    rows = []
    with progress_bar(len(photos), "photographs") as bar:
        for i in range(0, len(photos), AT_ONCE):
            rows += answers(network, photos[i : i + AT_ONCE], settings.top)
            bar.update(len(photos[i : i + AT_ONCE]))
    table = pd.DataFrame(rows, columns=["file", "rank", "class", "probability"])
    for file, top in table.groupby("file", sort=False):
        print(
            f"{file}  "
            + "  ".join(f"{name} {100 * p:.1f} %" for name, p in zip(top["class"], top.probability, strict=True))
        )
    if settings.out:
        table.to_csv(settings.out, index=False, float_format="%.4f")
    if skipped := len(photos) - table.file.nunique():
        raise ValueError(f"{skipped} of {len(photos)} photographs could not be read: see above.")


def answers(network: torch.nn.Module, photos: list[Path], top: int) -> list[tuple]:
    """File, rank, class, probability; what cannot be read is said and left out."""
    size, images = size_of_images(network), {}
    for photo in photos:
        try:
            images[photo] = read_photograph(photo, size)
        except (OSError, ValueError) as error:
            print(f"skipped: {error}", file=sys.stderr)
    if not images:
        return []
    table = class_probabilities(network, torch.stack(list(images.values())))
    best = [row.nlargest(top) for _, row in table.iterrows()]
    return [(photo, rank, name, p) for photo, row in zip(images, best, strict=True)
            for rank, (name, p) in enumerate(row.items(), 1)]  # fmt: skip
