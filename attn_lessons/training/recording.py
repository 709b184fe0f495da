"""A recording: variants × seeds trained into one CSV, with a JSON beside it that says how the rows were made.

The command ``python -m attn_lessons.train sweep`` records; `attn_lessons.training.recorded` reads.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from .. import __version__
from ..attention import watch
from ..datasets import ImageSet
from ..measure import latency
from ..models import GlyphNet
from ..progress import progress_bar
from .comparison import train_once
from .loop import prepare
from .processes import start_accelerator
from .recipe import Recipe


def record(
    out: Path,
    variants: dict[str, Callable[[], nn.Module]],
    data: dict[str, Callable[[int], tuple[ImageSet, ImageSet]]],
    recipe: Recipe,
    seeds: int,
    about: dict[str, object],
    image_shape: tuple[int, ...],
    score: Callable[[nn.Module, ImageSet], dict[str, float]] | None,
) -> None:
    """Train what the CSV does not hold yet, and append a row after each run.

    Parameters
    ----------
    out : Path
        The CSV.
    variants : dict of str to callable
        Name → a function without arguments that builds a fresh network.
    data : dict of str to callable
        Name → a function: seed → (train, test).
    recipe : Recipe
    seeds : int
        Seeds 0, 1, …, seeds − 1.
    about : dict
        The JSON beside the CSV. Its "recipe" and "settings" must be those of the rows that are already there.
    image_shape : tuple of int
        (3, H, W).
    score : callable or None
        (network, test) → further columns.
    """
    milliseconds = step_times(
        variants, recipe, image_shape
    )  # also finds a misspelt mechanism before anything is written
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(out, dtype=str, keep_default_na=False) if out.exists() else None
    done = set() if rows is None else set(zip(rows.data, rows.variant, rows.seed, strict=True))
    if done:
        must_be_made_alike(out, about)
    # All data of one seed first: a recording that was stopped is still balanced.
    todo = [(seed, name, variant) for seed in range(seeds) for name in data for variant in variants]
    todo = [(seed, name, variant) for seed, name, variant in todo if (name, variant, str(seed)) not in done]
    draw = lru_cache(maxsize=1)(lambda name, seed: data[name](seed))
    with progress_bar(len(todo), "runs") as bar:
        for seed, name, variant in todo:
            train, test = draw(name, seed)
            model, result = train_once(variants[variant], train, test, recipe, seed)
            result |= {"step_ms": milliseconds[variant]} | (score(model, test) if score else {})
            row = {"data": name, "variant": variant, "seed": seed, **{k: round(v, 4) for k, v in result.items()}}
            if rows is not None and list(rows) != list(row):
                raise ValueError(f"{out.name} has other columns than this recording: name another file with --out.")
            # First how the row was made, then the row: killed between the two, there is no row of unknown making.
            out.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            pd.DataFrame([row]).to_csv(out, mode="a", header=not out.exists(), index=False)
            bar.update()


def must_be_made_alike(out: Path, about: dict[str, object]) -> None:
    """Refuse to mix rows of two recipes in one table: they would be compared as if they were made alike."""
    path = out.with_suffix(".json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in ("recipe", "settings"):
        then = before.get(part, {})
        for name, now in json.loads(json.dumps(about[part])).items():  # as it is read back: tuples become lists
            if name not in then or now != then[name]:
                was = f"with {name} {then[name]!r}" if name in then else f"without a word about {name}"
                raise ValueError(
                    f"{out.name} was recorded {was}, and this recording has {now!r}: name another file with --out."
                )


def step_times(
    variants: dict[str, Callable[[], nn.Module]], recipe: Recipe, image_shape: tuple[int, ...]
) -> dict[str, float]:
    """Milliseconds of one forward and backward pass per variant, measured in turns: a busy machine slows all alike."""
    models = {variant: build() for variant, build in variants.items()}
    device = next(next(iter(models.values())).parameters()).device
    images = prepare(torch.zeros(recipe.batch_size, *image_shape, dtype=torch.uint8, device=device))
    with start_accelerator(device, recipe) as accelerator:

        def step(model: nn.Module) -> None:
            with accelerator.autocast():
                logits = model(images)
            logits.float().sum().backward()

        return latency({variant: partial(step, model) for variant, model in models.items()}, rounds=9).ms.to_dict()


@torch.no_grad()
def pointing(model: GlyphNet, test: ImageSet) -> dict[str, float]:
    """How often the maximum of the predicted class's logits, and that of the spatial gates, lie on the target glyph."""
    from ..insight import pointing_game, spatial_map

    model.eval()
    device = next(model.parameters()).device
    predicted_logits, gates = [], []
    for images in test.images.split(500):
        with watch(model) as seen:
            logits = model.position_logits(prepare(images.to(device)))  # (B, K, h, w)
        predicted = logits.mean((2, 3)).argmax(1)
        predicted_logits.append(logits[torch.arange(len(logits)), predicted].cpu())
        gates.append(spatial_map(seen))
    score = pointing_game(torch.cat(predicted_logits), test.masks["target"])
    row = {"cam_on_target": score["score"], "chance": score["chance"], "gates_on_target": float("nan")}
    if gates[0] is not None:
        row["gates_on_target"] = pointing_game(torch.cat(gates).cpu(), test.masks["target"])["score"]
    return row


def header(arguments: list[str], recipe: Recipe, device: torch.device) -> dict[str, object]:
    """Everything that is needed to get the same numbers again."""
    words = [word for text in arguments for word in (text.split("=", 1) if text.startswith("--") else [text])]
    words = [Path(word).name if os.path.isabs(word) else word for word in words]  # folders of this machine say nothing
    return {
        "command": shlex.join(["python", "-m", "attn_lessons.train", *words]),
        "recipe": recipe.in_words(),
        "date": datetime.date.today().isoformat(),
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "versions": {"attn_lessons": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
