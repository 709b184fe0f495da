"""A recording: variants × seeds trained into one CSV, with a JSON beside it that says how the rows were made.

The command ``python -m attn_lessons.train sweep`` records; `attn_lessons.training.recorded` reads.
"""

import datetime
import json
import os
import platform
import shlex
from functools import lru_cache
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from .. import __version__
from ..attention import watch
from ..datasets import ImageSet
from ..models import GlyphNet
from ..progress import progress_bar
from .comparison import train_once
from .log import alone_with, must_be_alike
from .loop import prepare
from .recipe import Recipe


def record(out: Path, variants: dict, data: dict, recipe: Recipe, seeds: int, about: dict, score=None,
           run=None) -> None:  # fmt: skip
    """Train what the CSV does not hold yet, and append a row after each run.

    Parameters
    ----------
    out : Path
        The CSV, new or with the columns of these runs.
    variants : dict of str to callable
        Name → a function without arguments that builds a fresh network.
    data : dict of str to callable
        Name → a function: seed → (train, test).
    recipe : Recipe
    seeds : int
        Seeds 0, 1, …, seeds − 1.
    about : dict
        The JSON beside the CSV. Its "recipe" and "settings" must be those of the rows that are already there.
    score : callable, optional
        (network, test) → further columns.
    run : callable, optional
        What trains one network, if not `train_once`; it takes and gives the same.
    """
    for build in variants.values():
        build()  # a misspelt mechanism is found before anything is written
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone_with(out.with_name(f".{out.name}.lock"), f"--out {out}"):
        add_rows(out, variants, data, recipe, seeds, about, score, run)


def add_rows(out: Path, variants: dict, data: dict, recipe: Recipe, seeds: int, about: dict, score, run) -> None:
    """What `record` does once nobody else writes."""
    done, columns = set(), None
    if out.exists() or out.with_suffix(".json").exists():
        must_be_made_alike(out, about)
    if out.exists():
        rows = pd.read_csv(out, dtype={"data": str, "variant": str}, keep_default_na=False)
        done, columns = set(zip(rows.seed, rows.data, rows.variant, strict=True)), rows.columns
    # All data of one seed first: a recording that was stopped is still balanced.
    todo = [row for row in product(range(seeds), data, variants) if row not in done]
    draw = lru_cache(maxsize=1)(lambda name, seed: data[name](seed))
    with progress_bar(len(todo), "runs") as bar:
        for seed, name, variant in todo:
            train, test = draw(name, seed)
            model, result = (run or train_once)(variants[variant], train, test, recipe, seed)
            result |= score(model, test) if score else {}
            row = {"data": name, "variant": variant, "seed": seed} | {k: round(v, 4) for k, v in result.items()}
            if columns is not None and set(columns) != set(row):
                raise ValueError(f"{out.name} has other columns than these runs: name another file with --out.")
            # First how the row was made, then the row: killed between the two, there is no row of unknown making.
            out.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            pd.DataFrame([row], columns=columns).to_csv(out, mode="a", header=not out.exists(), index=False)
            bar.update()


def must_be_made_alike(out: Path, about: dict[str, dict]) -> None:
    """Refuse to mix rows of two recipes in one table."""
    header = out.with_suffix(".json")
    try:
        before = json.loads(header.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        raise ValueError(f"{header} does not say how {out.name} was made: name another file with --out.") from None
    for part in ("recipe", "settings"):
        must_be_alike(f"{out.name} was recorded", before.get(part, {}), about[part], "file with --out")


@torch.no_grad()
def pointing(model: GlyphNet, test: ImageSet) -> dict[str, float]:
    """How often the maximum of the predicted class's logits, and that of the spatial gates, lie on the target glyph."""
    from ..insight import pointing_game, spatial_map

    model.eval()
    device = next(model.parameters()).device
    predicted_logits, gates = [], []
    for images in test.images.split(500):
        with watch(model) as seen:
            logits = model.position_logits(prepare(images.to(device), model))  # (B, K, h, w)
        predicted = logits.mean((2, 3)).argmax(1)
        predicted_logits.append(logits[torch.arange(len(logits)), predicted].cpu())
        gates.append(spatial_map(seen))
    cam = pointing_game(torch.cat(predicted_logits), test.masks["target"])
    gated = float("nan") if gates[0] is None else pointing_game(torch.cat(gates).cpu(), test.masks["target"])["score"]
    return {"cam_on_target": cam["score"], "chance": cam["chance"], "gates_on_target": gated}


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
