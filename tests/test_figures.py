"""`make figures`: the images of README.md can be drawn anew."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHOWN = re.findall(r"\(docs/images/(\w+)\.png\)", (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHOWN)
def test_every_image_of_the_readme_is_drawn(name, tmp_path):
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    getattr(figures, name)(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
    assert (ROOT / "docs" / "images" / f"{name}.png").exists()
