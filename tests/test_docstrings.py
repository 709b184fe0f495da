"""Docstrings: every example runs and says what happens, and everything public has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import attn_lessons

NAMES = ["attn_lessons", *(found.name for found in pkgutil.walk_packages(attn_lessons.__path__, "attn_lessons."))]
MODULES = {name: importlib.import_module(name) for name in NAMES}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = {f"{name}.{public}": getattr(module, public) for name, module in MODULES.items()
          for public in getattr(module, "__all__", ())}  # fmt: skip


def examples(name: str) -> int:
    found = doctest.DocTestFinder().find(MODULES[name])
    return sum(not example.options.get(doctest.SKIP) for test in found for example in test.examples)


@pytest.mark.parametrize("name", [name for name in NAMES if examples(name)])
def test_examples_are_true(name):
    failed, run = doctest.testmod(MODULES[name], optionflags=FLAGS)
    assert run and not failed


def test_there_are_examples():
    assert sum(map(examples, NAMES)) > 20
    for name in ("attention", "datasets.puzzles", "datasets.augment", "training.comparison", "measure"):
        assert examples(f"attn_lessons.{name}"), name


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_is(name):
    assert MODULES[name].__doc__ and MODULES[name].__doc__.strip()


@pytest.mark.parametrize(
    "name", [n for n, thing in PUBLIC.items() if inspect.isclass(thing) or inspect.isroutine(thing)]
)
def test_everything_public_has_a_docstring(name):
    doc = PUBLIC[name].__doc__  # not inspect.getdoc, which would take that of a parent
    assert doc and not doc.startswith(f"{PUBLIC[name].__name__}("), "that is only what @dataclass writes"
