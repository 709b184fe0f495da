"""What a module costs: parameters, MACs, seconds, bytes. Each is measured.

Introduced in lesson 01 (seconds, bytes) and lesson 02 (parameters, MACs).
"""

import math
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from timeit import Timer

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


def latency(functions: dict[str, Callable[[], object]], rounds: int = 15) -> pd.DataFrame:
    """Time several functions side by side, so that a busy machine slows all of them alike.

    Every round times each function once, one after the other, and begins with the next one each time. A function that
    takes less than 2 ms is called several times per timing. On a CPU, all run on one thread: ratios then differ less
    from one machine to another, and no thread waits for a second one whose core is busy.

    Parameters
    ----------
    functions : dict of str to callable
        Each is called without arguments. The first is what the others are compared with.
    rounds : int, default 15

    Returns
    -------
    pandas.DataFrame
        One row per function: ``ms`` (median milliseconds per call), ``times_first`` (median over the rounds of this
        function's time divided by the first one's), ``low`` and ``high`` (the quartiles of that ratio).
    """
    timers, threads = [Timer(call, timer=clock) for call in functions.values()], torch.get_num_threads()
    ms = np.zeros((rounds, len(timers)))
    torch.set_num_threads(1)
    try:
        repeats = [max(1, math.ceil(2e-3 / (timer.timeit(3) / 3))) for timer in timers]
        for i in range(rounds):
            for j in np.roll(np.arange(len(timers)), i):
                ms[i, j] = 1e3 * timers[j].timeit(repeats[j]) / repeats[j]
    finally:
        torch.set_num_threads(threads)
    low, middle, high = np.quantile(ms / ms[:, :1], [0.25, 0.5, 0.75], axis=0)
    columns = {"ms": np.median(ms, 0), "times_first": middle, "low": low, "high": high}
    return pd.DataFrame(columns, index=list(functions))


def clock() -> float:
    """Seconds. A GPU works on its own: wait for it first."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


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
    """Adds up the storages that operations return, as long as they live."""

    def __init__(self):
        super().__init__()
        self.peak, self.alive = 0, {}  # storage → bytes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given, made = storages((args, kwargs)), storages(result)
        for storage in made.keys() - given.keys() - self.alive.keys():
            self.alive[storage] = made[storage].nbytes()
            weakref.finalize(made[storage], self.alive.pop, storage)
        self.peak = max(self.peak, sum(self.alive.values()))
        return result


def storages(tree: object) -> dict[int, torch.UntypedStorage]:
    """The memory behind the tensors in `tree`, by its address: views share theirs."""
    found = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return {storage._cdata: storage for storage in found}
