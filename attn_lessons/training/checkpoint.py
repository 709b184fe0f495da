"""A run on disk: everything that the next epoch depends on, in one file that is never half written.

Introduced in lesson 09.
"""

from __future__ import annotations

import inspect
import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..datasets import ImageSet

if TYPE_CHECKING:
    from accelerate import Accelerator


class Checkpoint:
    """The state of a training run after an epoch, as ``folder/last.safetensors``, and its best weights beside it.

    Parameters
    ----------
    folder : path or None
        Without one, nothing is saved, and every run starts at its beginning.
    run : dict
        What must be the same for a run to be continued: recipe, seed, network, images. Anything that JSON can hold.
    model, optimizer, scheduler
        Loaded and saved in place.
    generators : dict of str to torch.Generator
        The run's own generators. Torch's global ones are saved as well, since dropout uses them.
    accelerator : accelerate.Accelerator
        Of several processes, the first one saves, and all of them load.

    Notes
    -----
    The file holds weights (``model.…``), moments (``optimizer.…``) and generators (``generator.…``) as tensors; the
    rest is JSON in its header.
    """

    def __init__(
        self,
        folder: str | Path | None,
        run: dict,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        generators: dict[str, torch.Generator],
        accelerator: Accelerator,
    ):
        self.path = None if folder is None else Path(folder) / "last.safetensors"
        self.run = json.loads(json.dumps(run))  # as it will be read back: tuples become lists
        self.model, self.optimizer, self.scheduler, self.accelerator = model, optimizer, scheduler, accelerator
        device = next(model.parameters()).device
        self.generators = generators | {"torch": torch.default_generator}
        if device.type == "cuda":
            self.generators["cuda"] = torch.cuda.default_generators[device.index]

    def save(self, epoch: int, tested: dict[str, float], best: bool) -> None:
        """Write the state after `epoch` epochs, and, if no epoch has tested better, the weights once more.

        The best weights are for looking at. Their accuracy is no result: the test set has chosen them.
        """
        if self.path is None or not self.accelerator.is_main_process:
            return
        if best:
            save_weights(self.model, self.path.with_name("best.safetensors"), {"epoch": epoch} | tested | self.run)
        state, scaler = self.optimizer.state_dict(), self.accelerator.scaler
        header = {
            "epoch": epoch,
            "run": self.run,
            "groups": state["param_groups"],
            "schedule": {k: v for k, v in self.scheduler.state_dict().items() if isinstance(v, int | float | list)},
            "scaler": scaler.state_dict() if scaler else {},
        }
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, moments in state["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in moments.items() if value is not None}
        tensors |= {f"generator.{name}": generator.get_state() for name, generator in self.generators.items()}
        save_whole(tensors, self.path, {"state": header})

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
            with safe_open(self.path, "pt") as file:
                header = json.loads(file.metadata()["state"])
                # Clones: a tensor of the file maps the file, which Windows then lets nobody replace.
                saved = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            raise ValueError(
                f"{self.path} is not a checkpoint that can be read ({error}): delete it to start again."
            ) from None
        for name, value in self.run.items():
            before = header["run"].get(name)
            if before != value and header["epoch"] == 0:
                return 0
            if before != value:
                raise ValueError(
                    f"{self.path.parent} holds a run with {name} {before!r}, and this one has {value!r}: name another "
                    f"folder, or delete that one."
                )
        self.model.load_state_dict(part(saved, "model"))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in part(saved, "optimizer").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": header["groups"]})
        self.scheduler.load_state_dict(self.scheduler.state_dict() | header["schedule"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(header["scaler"])
        for name, state in part(saved, "generator").items():
            self.generators[name].set_state(state)
        process = self.accelerator.process_index
        if process:  # the saved state is the first process's: the dropout of another process must differ
            torch.manual_seed(torch.initial_seed() + process + 1000 * header["epoch"])
        return header["epoch"]


def part(tensors: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    """Those whose names start with ``kind.``, without it."""
    return {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}


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
    words = {}
    for what, dataset in (("training images", train), ("test images", test)):
        crc = 0
        for tensor in (dataset.images, dataset.labels):
            crc = zlib.crc32(tensor.cpu().contiguous().numpy(), crc)
        words[what] = f"{len(dataset)} of {dataset.name} {crc:08x}"
    return words


def save_weights(model: nn.Module, path: str | Path, about: dict) -> None:
    """The weights of `model` as a safetensors file, with `about` (anything that JSON can hold) in its header."""
    save_whole(model.state_dict(), Path(path), {"about": about})


def save_whole(tensors: dict[str, torch.Tensor], path: Path, headers: dict[str, dict]) -> None:
    """Write beside the old file first: whenever the process is killed, one of the two is whole."""
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        # Clones, because the format refuses two names for one tensor, as tied layers have.
        tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        save_file(tensors, beside, {name: json.dumps(header) for name, header in headers.items()})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
