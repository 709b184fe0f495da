"""Importing: a name is either a module's or a function's, and who draws nothing waits for no drawing."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import attn_lessons

NAMES = [found.name for found in pkgutil.walk_packages(attn_lessons.__path__, "attn_lessons.")]


@pytest.mark.parametrize("name", NAMES)
def test_no_function_hides_a_module(name):
    """``import attn_lessons.a.b as b`` gives whatever is called b in the package a."""
    package, _, last = name.rpartition(".")
    assert importlib.import_module(name) is getattr(importlib.import_module(package), last)


@pytest.mark.parametrize("name", ["train", "insight"])
def test_drawing_is_imported_where_it_is_used(name):
    code = f"import attn_lessons.{name}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"matplotlib", "seaborn", "IPython", "ipywidgets", "scipy", "torchvision", "triton", "torch._dynamo", "cv2"}
    assert slow & set(json.loads(done.stdout)) == set()
