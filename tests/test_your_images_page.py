"""docs/your_images.md: its commands run as they stand, one after the other, and so does its Python."""

import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from attn_lessons import train
from attn_lessons.train.command import parse

PAGE = (Path(__file__).parents[1] / "docs" / "your_images.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
HERE = [line for line in COMMANDS if not any(word in line for word in ("pip install", "imagenet", "export"))]


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    """All but what needs a download or further packages, which have tests of their own; one epoch for twelve."""
    monkeypatch.chdir(tmp_path)
    for i, place in enumerate([*(f"pets/{name}/{k}.jpg" for name in ("cat", "dog") for k in range(10)), "photo.jpg"]):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 40, 3), np.uint8)).save(place)
    assert len(COMMANDS) == 8 and len(HERE) == 5
    for line in HERE:
        words = shlex.split(line.removeprefix("python -m attn_lessons.train ").replace("--epochs 12", "--epochs 1"))
        train.main([*words, "--threads", "1"] if words[0] in ("run", "sweep") else words)
    for file in re.findall(r"`(\w+\.(?:csv|safetensors|pt))`", PAGE):
        assert Path("runs/pets", file).exists(), file
    for file in (
        "answers.csv",
        "explained/photo.png",
        "runs/pets/report/confusion.png",
        "pets.csv",
        "pets_summary.png",
    ):
        assert Path(file).exists(), file
    capsys.readouterr()
    exec(compile("".join(re.findall(r"```python\n(.*?)```", PAGE, re.S)), "your_images.md", "exec"), {})
    said = capsys.readouterr().out
    assert "cat" in said and "dog" in said and Path("where.png").exists()


def test_every_command_on_the_page_is_one():
    for line in COMMANDS:
        if line.startswith("python"):
            parse(shlex.split(line)[3:])
