"""What a module costs: parameters, MACs, seconds, bytes. Each is measured.

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
    counts operations, so this is half of its count. Additions, activations and means are not counted.

    Examples
    --------
    >>> macs(nn.Linear(10, 3), 1, 10)
    30
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, which takes long

    weights = (p for p in module.parameters() if p.is_floating_point())
    x = next(weights, torch.empty(0)).new_zeros(shape)  # on their device, in their dtype
    # Older counters overlook fused attention on the CPU; its two matrix products are the same unfused.
    with evaluation_mode(module), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(x)
    return counter.get_total_flops() // 2


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part is in its earlier mode."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def latency(functions: dict[str, Callable[[], object]], rounds: int = 15, least_ms: float = 2.0) -> pd.DataFrame:
    """Time several functions side by side, so that a busy machine slows all of them alike.

    Every round times each function once, one after the other, and begins with the next one each time. A function that
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
        One row per function: ``ms`` (median milliseconds per call), ``times_first`` (median over the rounds of this
        function's time divided by the first one's), ``low`` and ``high`` (the quartiles of that ratio).
    """
    calls, threads = list(functions.values()), torch.get_num_threads()
    ms = np.zeros((rounds, len(calls)))
    torch.set_num_threads(1)
    try:
        repeats = [max(1, int(np.ceil(least_ms / (1e3 * _seconds(call, 3))))) for call in calls]
        for i in range(rounds):
            for j in np.roll(np.arange(len(calls)), i):
                ms[i, j] = 1e3 * _seconds(calls[j], repeats[j])
    finally:
        torch.set_num_threads(threads)
    ratio = ms / ms[:, :1]
    low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75], axis=0)
    return pd.DataFrame(
        {"ms": np.median(ms, 0), "times_first": middle, "low": low, "high": high}, index=list(functions)
    )


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

    Counts every tensor that an operation returns, as long as something refers to it; scratch space inside a single
    operation is not seen. The same number comes out on every machine and device.

    Examples
    --------
    >>> peak_memory(lambda: torch.ones(1000) + 1)  # 1000 floats of 4 bytes, twice
    8000
    """
    with _TensorBytes() as count:
        function()
    return count.peak


class _TensorBytes(TorchDispatchMode):
    """Adds up the storages that operations return, and subtracts each again when it is freed."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.alive: set[int] = set()  # storages

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        before, after = (
            [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
            for tree in ((args, kwargs), result)
        )
        known = self.alive | {storage._cdata for storage in before}
        for storage in {storage._cdata: storage for storage in after if storage._cdata not in known}.values():
            self.alive.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        return result

    def free(self, storage: int, size: int) -> None:
        self.alive.discard(storage)
        self.now -= size
