"""What accelerate does for a run: lower precision, and several processes with a share of each batch.

Introduced in lesson 09.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


@contextmanager
def accelerator(device: torch.device, recipe: Recipe) -> Iterator[Accelerator]:
    """accelerate's `Accelerator` for one run on `device`.

    Raises
    ------
    ValueError
        If the processes cannot share a batch evenly, or fp16 is asked of a CPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if recipe.precision == "fp16" and device.type == "cpu":
        raise ValueError("precision='fp16' needs a GPU, and the model is on the CPU: choose 'fp32' or 'bf16'.")
    precision = "no" if recipe.precision == "fp32" else recipe.precision
    engine = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
    try:
        if recipe.batch_size % engine.num_processes:
            raise ValueError(
                f"batch_size={recipe.batch_size} cannot be shared evenly by {engine.num_processes} processes: choose a "
                f"multiple of {engine.num_processes}."
            )
        yield engine
    finally:
        # accelerate keeps one state for the whole process. Without it, the next run may choose another precision, and
        # notebook_launcher starts. What joins several processes has to stay.
        AcceleratorState._reset_state(reset_partial_state=engine.num_processes == 1)


def in_processes(model: nn.Module, engine: Accelerator) -> nn.Module:
    """`model`, with gradients that are averaged over the processes."""
    return DistributedDataParallel(model) if engine.num_processes > 1 else model


def shard(batch: torch.Tensor, engine: Accelerator) -> torch.Tensor:
    """This process's part of a batch: all of it, if there is one process."""
    return batch.chunk(engine.num_processes)[engine.process_index]
