"""What a module costs: parameters, MACs, seconds, bytes. Measured, never looked up.

Introduced in lesson 01 (seconds, bytes) and lesson 02 (parameters, MACs).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def parameters(module: nn.Module) -> int:
    """Number of trainable parameters.

    Examples
    --------
    >>> parameters(nn.Linear(10, 3))
    33
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@torch.no_grad()
def macs(module: nn.Module, *shape: int) -> int:
    """MACs of one forward pass on an input of `shape`: convolutions and matrix products.

    A convolution or matrix product takes two floating-point operations per MAC; torch's own counter
    counts operations, so this is half of what it says. Additions, activations and means are not counted.

    Examples
    --------
    >>> macs(nn.Linear(10, 3), 1, 10)
    30
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton: only who counts waits for it

    weights = (p for p in module.parameters() if p.is_floating_point())
    x = next(weights, torch.empty(0)).new_zeros(shape)  # on their device, in their dtype
    # Older counters overlook fused attention on the CPU; its two matrix products are the same unfused.
    with evaluation_mode(module), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(x)
    return counter.get_total_flops() // 2


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def latency(functions: dict[str, Callable[[], object]], rounds: int = 15, least_ms: float = 2.0) -> pd.DataFrame:
    """Time several functions side by side, so that a busy machine slows all of them alike.

    Every round times each function once, one after the other, beginning with another one each time. A function that
    takes less than `least_ms` is called several times per timing. On a CPU, all run on one thread: ratios then differ
    less from one machine to another, and no thread waits for a second one whose core is busy.

    Parameters
    ----------
    functions : dict of str to callable
        Each is called without arguments. The first is what the others are compared with.
    rounds : int, default 15
    least_ms : float, default 2.0
        Milliseconds that one timing should take at least.

    Returns
    -------
    pandas.DataFrame
        One row a function: ``ms`` (median milliseconds per call), ``times_first`` (median over the rounds of this
        function's time divided by the first one's), ``low`` and ``high`` (the quartiles of that ratio).
    """
    names = list(functions)
    ms = np.zeros((rounds, len(names)))
    with _one_thread():
        repeats = {name: max(1, int(np.ceil(least_ms / (1e3 * _seconds(f, 3))))) for name, f in functions.items()}
        for i in range(rounds):
            for j in np.roll(np.arange(len(names)), i):
                ms[i, j] = 1e3 * _seconds(functions[names[j]], repeats[names[j]])
    ratio = ms / ms[:, :1]
    low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75], axis=0)
    return pd.DataFrame({"ms": np.median(ms, 0), "times_first": middle, "low": low, "high": high}, index=names)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(function: Callable[[], object], repeats: int) -> float:
    """Seconds per call. A GPU works on its own clock: wait for it before and after."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    wait()
    return (time.perf_counter() - start) / repeats


def peak_memory(function: Callable[[], object]) -> int:
    """Bytes of tensors alive at once, at most, that were made while `function` ran.

    Counts every tensor that an operation returns, as long as somebody holds on to it; scratch space inside a single
    operation is not seen. The same number comes out on every machine and device.

    Examples
    --------
    >>> peak_memory(lambda: torch.ones(1000) + 1)  # 1000 floats of 4 bytes, twice
    8000
    """
    with _TensorBytes() as watermark:
        function()
    return watermark.peak


class _TensorBytes(TorchDispatchMode):
    """Adds up the storages that operations return, and takes each off again when it is freed."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {_storage_id(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and _storage_id(tensor) not in self.alive | given:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        size, identity = storage.nbytes(), storage._cdata
        self.alive.add(identity)
        self.now += size
        self.peak = max(self.peak, self.now)

        def gone():
            self.alive.discard(identity)
            self.now -= size

        weakref.finalize(storage, gone)


def _storage_id(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
