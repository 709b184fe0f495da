"""How fast images reach the network: `make bench`. Writes ``results/bench_input.csv``.

One epoch of 32×32 images in batches of 512, each shifted, mirrored, cut and normalised: by the course, as batches of
one tensor on one thread and on all cores, and by torchvision's transforms in a DataLoader with a worker a core. All in
turns, several rounds; a ratio is the median over the rounds of one round's ratio.
"""

import datetime
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from attn_lessons.datasets.augment import MEAN, STD
from attn_lessons.training import RECIPES, prepare, progress_bar

RESULTS = Path(__file__).resolve().parent.parent / "results" / "bench_input"
IMAGES, BATCH, ROUNDS = 20_000, 512, 5


class Images(Dataset):
    """As torchvision's CIFAR100 hands them out: one at a time, as a PIL image."""

    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([MEAN] * 3, [STD] * 3),
            v2.RandomErasing(p=1, scale=(1 / 16, 1 / 16), ratio=(1, 1)),  # 8×8 of 32×32 pixels
        ]
    )

    def __init__(self, images: torch.Tensor):
        self.images = images.permute(0, 2, 3, 1).numpy()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.fromarray(self.images[i]))


def ours(images: torch.Tensor, threads: int):
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        torch.set_num_threads(threads)
        for pick in torch.randperm(len(images)).split(BATCH):
            prepare(RECIPES["modern"].augment(images[pick], generator))
        torch.set_num_threads(1)

    return epoch


def theirs(images: torch.Tensor, workers: int):
    loader = DataLoader(Images(images), BATCH, shuffle=True, num_workers=workers, persistent_workers=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def main() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), np.uint8))
    cores = os.cpu_count()
    rivals = {
        "ours, one thread": ours(images, 1),
        f"ours, {cores} threads": ours(images, cores),
        f"torchvision, {cores} workers": theirs(images, cores),
    }
    times = {name: [] for name in rivals}
    with progress_bar((ROUNDS + 1) * len(rivals), "epochs") as bar:
        for _ in range(ROUNDS + 1):  # the first one starts the workers
            for name, epoch in rivals.items():
                start = time.perf_counter()
                epoch()
                times[name].append(time.perf_counter() - start)
                bar.update()
    seconds = pd.DataFrame(times).iloc[1:]
    ratios = seconds.iloc[:, [-1]].to_numpy() / seconds
    table = pd.DataFrame(
        {
            "images per second": (IMAGES / seconds.median()).round(0),
            "ratio": ratios.median().round(2),
            "lowest": ratios.min().round(2),
            "highest": ratios.max().round(2),
        }
    ).rename_axis("input path")
    header = {
        "command": "make bench",
        "date": datetime.date.today().isoformat(),
        "hardware": f"CPU ({platform.machine()}), {cores} logical cores",
        "rounds": ROUNDS,
        "images": f"{IMAGES} of noise, 32×32, in batches of {BATCH}",
        "versions": {name: module.__version__ for name, module in (("torch", torch), ("torchvision", torchvision))},
    }
    table.to_csv(RESULTS.with_suffix(".csv"))
    RESULTS.with_suffix(".json").write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{table.to_string()}")


if __name__ == "__main__":
    main()
