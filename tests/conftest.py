"""The order of the tests, their threads and their seeds."""

import gc

import pytest

# These and the lessons take longest and begin first, so that the two processes of `make test` end together.
LONG = ("test_browser", "test_launch", "test_glyphworld", "test_attention", "test_site", "test_other_machines")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (item.path.stem not in LONG, item.path.suffix != ".ipynb"))


def pytest_collection_finish():
    gc.freeze()  # what has been imported stays: collecting garbage, as some tests do, looks at the rest alone


def pytest_sessionfinish():
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """On small layers a second thread costs more than it brings, and the second core has tests of its own."""
    import torch  # not above: the process that only hands out the tests has no use for it

    torch.set_num_threads(1)


@pytest.fixture
def same_numbers_every_time():
    import torch

    torch.manual_seed(0)
