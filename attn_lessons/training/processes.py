"""What accelerate does for a run: lower precision, and several processes that share each batch.

Introduced in lesson 09.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .recipe import Recipe


@contextmanager
def start_accelerator(device: torch.device, recipe: Recipe) -> Iterator:
    """accelerate's `Accelerator` for one run on `device`.

    Raises
    ------
    ValueError
        If the processes cannot share a batch evenly, or the precision is fp16 on a CPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if recipe.precision == "fp16" and device.type == "cpu":
        raise ValueError("precision='fp16' needs a GPU, and the model is on the CPU: choose 'fp32' or 'bf16'.")
    precision = "no" if recipe.precision == "fp32" else recipe.precision
    accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
    n = accelerator.num_processes
    try:
        if recipe.batch_size % n:
            batch = f"batch_size={recipe.batch_size}"
            raise ValueError(f"{batch} cannot be shared evenly by {n} processes: choose a multiple of {n}.")
        yield accelerator
    finally:
        # accelerate keeps one state for the whole process. Without it, the next run may choose another precision, and
        # notebook_launcher starts. The connection between several processes has to stay.
        AcceleratorState._reset_state(reset_partial_state=n == 1)
