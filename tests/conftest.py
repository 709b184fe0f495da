"""Threads and seeds: a test module that needs them says ``pytestmark = pytest.mark.usefixtures(…)``."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch


@contextmanager
def single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on small layers a second thread costs more than it brings, above all on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread():
    with single_thread():
        yield


@pytest.fixture(scope="module")
def one_thread_throughout():
    """Also for the fixtures of a module that are made once."""
    with single_thread():
        yield


@pytest.fixture
def same_numbers_every_time(one_thread):
    torch.manual_seed(0)
