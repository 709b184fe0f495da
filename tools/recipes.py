"""Train lesson 09's network by its recipes, step by step, over five seeds: writes ``results/recipe_NAME.csv``,
a row per run, and ``results/recipe_NAME_epochs.csv``, a row per epoch.

``python tools/recipes.py hundred`` draws its images. ``python tools/recipes.py photographs train.zip test.zip`` reads
CIFAR-10 (JPEG), or yours. Called again, it adds what is missing.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from attn_lessons.datasets import glyphworld_100, image_folder
from attn_lessons.measure import parameters
from attn_lessons.models import VGG
from attn_lessons.training import Recipe, evaluate, fit
from attn_lessons.training.recipe import shift_and_mirror, shift_mirror_and_cut
from attn_lessons.training.recording import header

RESULTS = Path(__file__).resolve().parent.parent / "results"
# With warm-up and cosine, a peak of 0.06 has the mean rate 0.03 of the constant schedule.
plain = Recipe(60, 50, "sgd", 0.03, 5e-4, "constant")
augmented = replace(plain, augment=shift_and_mirror)
scheduled = replace(augmented, schedule="cosine", learning_rate=0.06)
LADDER = {"baseline": plain, "+ augmentation": augmented, "+ schedule": scheduled}
CONTROLS = {
    "+ schedule, peak 0.03": replace(scheduled, learning_rate=0.03),
    "+ label smoothing": replace(scheduled, label_smoothing=0.1),
    "+ cutout": replace(scheduled, augment=shift_mirror_and_cut),
    "baseline, rate 0.1": replace(plain, learning_rate=0.1),
}
RUNS = {"hundred": (600, 5, LADDER | CONTROLS), "photographs": (2000, 3, LADDER)}  # images, seeds, recipes


def images(name, n, folders):
    """A function: seed → the images to train on; and those to validate and to test on, the same for all seeds."""
    if name == "hundred":
        return partial(glyphworld_100, n), glyphworld_100(500, seed=998), glyphworld_100(1000, seed=999)
    train, test = (replace(image_folder(folder, 32), name="CIFAR-10 (JPEG)") for folder in folders)

    train, held_out = (
        train[order] for order in torch.randperm(len(train), generator=seeded(0)).split(len(train) - 500)
    )

    def some(seed):
        return train[torch.randperm(len(train), generator=seeded(seed))[:n]]

    return some, held_out, test[torch.randperm(len(test), generator=seeded(0))[:2000]]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def append(row, out):
    row.to_csv(out, mode="a", header=not out.exists(), index=False)


def main(name, *folders):
    torch.set_num_threads(1)
    n, seeds, steps = RUNS[name]
    draw, validation, test = images(name, n, folders)
    out = RESULTS / f"recipe_{name}.csv"
    done = set(pd.read_csv(out)[["seed", "variant"]].itertuples(index=False, name=None)) if out.exists() else set()
    about = header([], plain, torch.device("cpu")) | {"seeds": seeds, "images": f"{n:,} to train on"}
    about["command"] = " ".join(["python tools/recipes.py", name, *(Path(folder).name for folder in folders)])
    about["recipe"] = {step: recipe.in_words() for step, recipe in steps.items()}
    epochs = out.with_name(f"{out.stem}_epochs.csv")
    for file in (out, epochs):
        file.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for seed, (step, recipe) in product(range(seeds), steps.items()):
        if (seed, step) in done:
            continue
        train = draw(seed=seed)
        torch.manual_seed(seed)
        model = VGG(11, len(train.classes), True, head="cifar", width=1 / 8)
        log = fit(model, train, test, recipe, seed, progress=False, validation=validation).epochs
        row = {"data": train.name, "variant": step, "seed": seed, "accuracy": log.test_accuracy.iloc[-1]}
        row |= {"train_accuracy": evaluate(model, train)["accuracy"], "seconds": log.seconds.sum()}
        row["parameters"] = parameters(model)
        log = log[["epoch", "train_accuracy", "validation_accuracy", "test_accuracy"]].assign(variant=step, seed=seed)
        append(log.round(4), epochs)
        append(pd.DataFrame([row]).round(4), out)
        print(row, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
