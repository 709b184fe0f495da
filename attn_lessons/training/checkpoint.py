"""A run on disk: everything that the next epoch depends on, in one file that is never half written.

Introduced in lesson 09.
"""

from __future__ import annotations

import inspect
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

from ..datasets import ImageSet
from .log import Log

if TYPE_CHECKING:
    from accelerate import Accelerator


class Checkpoint:
    """The state of a training run after an epoch, as ``folder/last.pt``, and its best weights beside it.

    Parameters
    ----------
    folder : path or None
        Without one, nothing is saved, and every run starts at its beginning.
    run : dict
        What must be the same for a run to be continued: recipe, seed, network, images. Anything that JSON can hold.
    parts : dict of str to object
        Model, optimizer and scheduler: anything with ``state_dict`` and ``load_state_dict``.
    generators : dict of str to torch.Generator
        The run's own generators. Torch's global ones are saved as well, since dropout uses them.
    logs : dict of str to Log
        Their rows are saved, too: a log of a run that goes on has no row of an epoch that is trained again.
    accelerator : accelerate.Accelerator
        Of several processes, the first one saves, and all of them load.
    """

    def __init__(
        self,
        folder: Path | None,
        run: dict,
        parts: dict[str, object],
        generators: dict[str, torch.Generator],
        logs: dict[str, Log],
        accelerator: Accelerator,
    ):
        self.path = folder and folder / "last.pt"
        self.run = json.loads(json.dumps(run))  # plain Python: torch.load refuses NumPy's numbers
        self.parts = parts | ({"scaler": accelerator.scaler} if accelerator.scaler else {})  # of fp16
        self.generators = generators | {"torch": torch.default_generator}
        device = next(parts["model"].parameters()).device
        if device.type == "cuda":
            self.generators["cuda"] = torch.cuda.default_generators[device.index]
        self.logs, self.accelerator = logs, accelerator

    def save(self, epoch: int, tested: dict[str, float], best: bool) -> None:
        """Write the state after `epoch` epochs, and, if no epoch has tested better, the weights once more.

        The best weights are for looking at. Their accuracy is no result: the test set has chosen them.
        """
        if self.path is None or not self.accelerator.is_main_process:
            return
        if best:
            about = {"epoch": epoch} | tested | self.run
            save_weights(self.parts["model"], self.path.with_name("best.safetensors"), about)
        state = {"epoch": epoch, "run": self.run}
        state["parts"] = {name: part.state_dict() for name, part in self.parts.items()}
        state["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}
        state["rows"] = {name: log.rows for name, log in self.logs.items()}
        with beside(self.path) as path:
            torch.save(state, path)

    def load(self) -> int:
        """Load the saved state, if there is one; returns the number of finished epochs.

        The state of another run is no obstacle if that run has not finished an epoch.

        Raises
        ------
        ValueError
            If the folder holds another run, or a file that cannot be read.
        """
        if self.path is None or not self.path.exists():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            epoch, run = state["epoch"], state["run"]
        except Exception as error:
            why = str(error).partition("\n")[0]
            raise ValueError(
                f"{self.path} is not a checkpoint that can be read ({why}): delete it to start again."
            ) from None
        for name, value in self.run.items():
            if run.get(name) != value and epoch == 0:
                return 0
            if run.get(name) != value:
                raise ValueError(
                    f"{self.path.parent} holds a run with {name} {run.get(name)!r}, and this one has {value!r}: name "
                    f"another folder, or delete that one."
                )
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        for name, log in self.logs.items():
            log.rows += state["rows"][name]
        process = self.accelerator.process_index
        if process:  # the saved state is the first process's: the dropout of another process must differ
            torch.manual_seed(torch.initial_seed() + process + 1000 * epoch)
        return epoch


def network_fingerprint(network: nn.Module) -> str:
    """Tells this network from others: the number of its layers, and a checksum of their kinds, options and shapes."""
    parts = [(name, type(part).__name__ if name else "", options_of(part)) for name, part in network.named_modules()]
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    return f"{len(parts) - 1} layers {zlib.crc32(repr((parts, shapes)).encode()):08x}"


def options_of(module: nn.Module) -> dict[str, object]:
    """The plain arguments that it was built with, if it keeps them under their names: num_heads, kernel_size, …"""
    kept = {name: vars(module).get(name) for name in inspect.signature(type(module)).parameters}
    return {name: value for name, value in kept.items() if isinstance(value, bool | int | float | str | tuple | list)}


def image_fingerprints(train: ImageSet, test: ImageSet) -> dict[str, str]:
    """Name, number and checksum of the images to train on, and of those to test on."""
    fingerprints = {}
    for what, dataset in (("training images", train), ("test images", test)):
        crc = zlib.crc32(dataset.labels.cpu().numpy(), zlib.crc32(dataset.images.cpu().contiguous().numpy()))
        fingerprints[what] = f"{len(dataset)} of {dataset.name} {crc:08x}"
    return fingerprints


def save_weights(model: nn.Module, path: Path, about: dict) -> None:
    """The weights of `model` as a safetensors file, with `about` (anything that JSON can hold) in its header."""
    # Clones, because the format refuses two names for one tensor, as tied layers have.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    with beside(path) as new:
        save_file(tensors, new, {"about": json.dumps(about)})


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Write beside the old file first: whenever the process is killed, one of the two is whole."""
    new = path.with_suffix(f".{os.getpid()}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
