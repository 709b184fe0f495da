"""The table of the course, on one GPU: VGG16-BN with each mechanism on 100 classes, five seeds. ``make gpu-table``.

Trains on the images that ``tools/packed.py`` has written, or, with ``--images cifar100``, on CIFAR-100: a row per run
in ``results/gpu_table.csv``, a row per epoch in ``results/gpu_table_epochs.csv``, a JSON beside each that says how.
Called again, it adds what is missing, seed by seed, so that a table cut short still has pairs. Two more networks with
two mechanisms come last.

The runs do not ask for deterministic algorithms: the same seed has the same first weights, images and order, and ends a
little elsewhere, as another seed does. Which operations have no deterministic version on this device is in the JSON.
"""

import argparse
import json
import math
import os
import sys
import time
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from attn_lessons.datasets import ImageSet, cifar100
from attn_lessons.measure import clock, latency, macs, parameters
from attn_lessons.models import VGG, attach
from attn_lessons.train.findings import findings
from attn_lessons.train.networks import compile_in_place, read_variant
from attn_lessons.train.options import add_options, count, option
from attn_lessons.training import RECIPES, Recipe, fit, predict
from attn_lessons.training.checkpoint import beside, image_fingerprints
from attn_lessons.training.recording import header, record
from packed import FOLDER, unpack

ROOT = Path(__file__).resolve().parent.parent
PART = 16_000  # images of 32×32 in a file: 49 MB
BLOCKS = [3, 4, 5]  # of a VGG, with attention: at 8×8, 4×4 and 2×2 positions after their pooling
FIRST = ["none", "se", "cbam", "eca", "ca", "linear:norm=True", "deformable:norm=True"]
TABLES = [[f"vgg16_bn {name}" for name in FIRST]]  # all seeds of the first, then of the second
TABLES += [[f"{network} {name}" for network in ("vgg19_bn", "resnet18") for name in ("none", "se", "cbam")]]
COLUMNS = ["accuracy", "top5", "train_accuracy", "images_per_second", "share_of_matrix_rate"]
TRAINING_FLOP = 1.88e9  # of VGG16-BN, for an image of 32×32


@dataclass(kw_only=True)
class Settings:
    images: str = option("cifar100, or a folder of tools/packed.py (default: data/hundred-32)", str(FOLDER))
    out: Path | None = option("the CSV (default: results/gpu_table.csv; on a CPU build/gpu_table.csv)", type=Path)
    minutes: float = option("begin no run that would not end in time (default: no limit)", math.inf, type=float)
    seeds: int = option("how many (default: 5)", 5, type=count)
    epochs: int = option("default: 60", RECIPES["modern"].epochs, type=count)
    batch_size: int = option("default: 512", RECIPES["modern"].batch_size, type=count)
    batches: int | None = option("to rehearse: so many in an epoch, and to test with", type=count)
    device: str = option("cuda (default), or cpu to rehearse", "cuda", choices=("cuda", "cpu"))


class TimeIsUp(Exception):
    pass


def build(name: str, classes: int, device: str) -> nn.Module:
    """``"vgg16_bn se"``: each mechanism with its own defaults, which are its paper's, and its own start."""
    network, mechanism = name.split()
    chosen = read_variant(mechanism)
    if network.startswith("vgg"):
        model = VGG(int(network[3:5]), classes, True, head="cifar", blocks=BLOCKS, **chosen)
    else:
        from torchvision.models import resnet18

        model = resnet18(num_classes=classes)
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()  # for small images
        after = [name for name, _ in model.named_modules() if name.endswith(".bn2")]
        attach(model, chosen.pop("attention"), after, "own", (3, 32, 32), **chosen)
    return model.to(device, memory_format=torch.channels_last)


def matrix_rate(device: str) -> float:
    """Floating-point operations per second of one large product of matrices: bf16 on a GPU, fp32 on one CPU thread."""
    n, dtype = (8192, torch.bfloat16) if device == "cuda" else (1024, torch.float32)
    a = torch.randn(n, n, device=device, dtype=dtype)
    return 2 * n**3 / (latency({"product": lambda: a @ a}).ms.iloc[0] / 1000)


def without_deterministic_version(model: nn.Module, images: ImageSet, recipe: Recipe) -> list[str]:
    """The operations of one training step, not compiled, that PyTorch says have none on this device."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(model, images[: recipe.batch_size], None, replace(recipe, epochs=1), progress=False)
    finally:
        torch.use_deterministic_algorithms(False)
    return sorted({said.split()[0] for one in caught if "deterministic impl" in (said := str(one.message))})


@dataclass
class Runs:
    """What `record` calls for each row, until the time is up."""

    out: Path
    about: dict
    ends: float  # on the clock of time.monotonic
    rate: float  # of matrices
    longest: float = field(init=False)  # seconds of a run so far

    def __post_init__(self):
        self.longest = pd.read_csv(self.out).seconds.max() if self.out.exists() else 0

    def __call__(self, make: partial, train: ImageSet, test: ImageSet, recipe: Recipe, seed: int) -> tuple:
        if time.monotonic() + self.longest > self.ends:
            raise TimeIsUp
        began = clock()
        torch.manual_seed(seed)
        model = make()
        cost = 6 * macs(model, 1, 3, 32, 32)  # floating-point operations to train on an image
        row = dict.fromkeys(COLUMNS, math.nan)
        row["parameters"] = parameters(model)
        if recipe.precision == "bf16":
            compile_in_place(model)
        try:
            log = fit(model, train, test, recipe, seed, progress=False).epochs
        except FloatingPointError as error:  # its row says so, and the others are trained
            tqdm.write(f"{make.args[0]}, seed {seed}: {error}")
            return model, row | {"seconds": clock() - began}
        self.keep(log.assign(data=train.name, variant=make.args[0], seed=seed))
        start = clock()
        best = predict(model, test).topk(min(5, len(test.classes))).indices  # compiled by now
        epoch = log.seconds[-max(1, len(log) - 1) :].median() - (clock() - start)  # the first one also compiles
        if epoch > 0:  # a rehearsal's may be too short to tell
            row["images_per_second"] = len(train) // recipe.batch_size * recipe.batch_size / epoch
        row["share_of_matrix_rate"] = row["images_per_second"] * cost / self.rate
        row["top5"] = (best == test.labels[:, None]).any(1).float().mean().item()
        last = log.iloc[-1]
        row |= {"accuracy": last.test_accuracy, "train_accuracy": last.train_accuracy, "seconds": clock() - began}
        self.longest = max(self.longest, row["seconds"])
        said = f"{100 * row['accuracy']:.2f} %, {row['images_per_second']:,.0f} images/s, {row['seconds']:.0f} s"
        tqdm.write(f"{make.args[0]}, seed {seed}: {said}")
        return model, row

    def keep(self, log: pd.DataFrame) -> None:
        """Add the epochs of a run, in place of those of a run that was stopped before its row was written."""
        path, run = self.out.with_name(f"{self.out.stem}_epochs.csv"), ["data", "variant", "seed"]
        before = pd.read_csv(path) if path.exists() else log[:0]
        others = before[~(before[run] == log[run].iloc[0]).all(axis=1)]
        with beside(path) as new:
            pd.concat([others, log] if len(others) else [log]).round(5).to_csv(new, index=False)
        path.with_suffix(".json").write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")


def some(images: ImageSet, n: int) -> ImageSet:
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:n]]


def main(settings: Settings, words: list[str]) -> None:
    ends = time.monotonic() + 60 * settings.minutes
    if settings.device == "cuda" and not torch.cuda.is_available():
        work = len(FIRST) * settings.seeds * settings.epochs * 50_000 * TRAINING_FLOP
        hours = work / matrix_rate("cpu") / 3600
        rehearsal = 'TABLE_OPTIONS="--device cpu --epochs 1 --batches 2 --batch-size 16" rehearses it'
        raise ValueError(f"there is no GPU, and one core here takes at least {hours:,.0f} hours: {rehearsal}.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it no matrix product is deterministic
    out = settings.out or ROOT / ("results" if settings.device == "cuda" else "build") / "gpu_table.csv"
    train, test = cifar100() if settings.images == "cifar100" else unpack(settings.images)
    if settings.batches:
        train, test = (some(images, settings.batches * settings.batch_size) for images in (train, test))
    recipe = replace(RECIPES["modern"], epochs=settings.epochs, batch_size=settings.batch_size)
    if settings.device == "cuda":
        recipe = replace(recipe, precision="bf16")  # and compiled; a CPU rehearses without
    about = header(words, recipe, torch.device(settings.device)) | {"seeds": settings.seeds}
    about["command"] = about["command"].replace("-m attn_lessons.train", "tools/gpu_table.py")
    about["settings"] = image_fingerprints(train, test) | {"blocks": BLOCKS, "hardware": about["hardware"]}
    train, test = train.to(settings.device), test.to(settings.device)
    tables = [{name: partial(build, name, len(train.classes), settings.device) for name in names} for names in TABLES]
    found = {name: without_deterministic_version(make(), train, recipe) for name, make in tables[0].items()}
    about["without a deterministic version"] = {name: operations for name, operations in found.items() if operations}
    about["matrix rate, TFLOP/s"] = round((rate := matrix_rate(settings.device)) / 1e12, 3)
    runs = Runs(out, about, ends, rate)
    try:
        for variants in tables:
            record(out, variants, {train.name: lambda seed: (train, test)}, recipe, settings.seeds, about, run=runs)
    except TimeIsUp:
        print(f"The {settings.minutes:g} minutes are over: the same command goes on.")
    table = pd.read_csv(out) if out.exists() else pd.DataFrame({"variant": pd.Series(dtype=str)})
    for network, rows in table.groupby(table.variant.str.split().str[0], sort=False):
        print(f"\n{network}\n{findings(rows).to_string(index=False, na_rep='')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, Settings)
    try:
        main(Settings(**vars(parser.parse_args())), sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"gpu_table: {error}")
