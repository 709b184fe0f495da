"""A run on disk: everything that the next epoch depends on, in one file that is never half written.

Introduced in lesson 09.
"""

import inspect
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from .. import __version__
from ..datasets import ImageSet
from ..models.description import normalisation
from ..models.weights import BEST, checksum
from .log import must_be_alike


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
    rows : dict of str to list of dict
        Of the log, "batches" and "epochs": the log of a run that goes on has no row of an epoch that is trained again.
    accelerator : accelerate.Accelerator
        Of several processes, the first one saves, and all of them load.
    """

    def __init__(self, folder: Path | None, run: dict, parts: dict, generators: dict, rows: dict, accelerator):
        self.path = folder and folder / "last.pt"
        self.run = json.loads(json.dumps(run))  # plain Python: torch.load refuses NumPy's numbers
        self.parts = parts | ({"scaler": accelerator.scaler} if accelerator.scaler else {})  # of fp16
        self.generators = generators | {"torch": torch.default_generator}
        device = next(parts["model"].parameters()).device
        if device.type == "cuda":
            self.generators["cuda"] = torch.cuda.default_generators[device.index]
        self.rows, self.accelerator = rows, accelerator

    def save(self) -> None:
        """Write the state after the last epoch of the log, and, if none has validated better, the weights once more.

        Their accuracy on the validation set is no result: it has chosen them. The test set chooses nothing.
        """
        if self.path is None or not self.accelerator.is_main_process:
            return
        epochs, chooses = self.rows["epochs"], "validation_accuracy"
        if epochs and chooses in epochs[-1] and all(epochs[-1][chooses] > row[chooses] for row in epochs[:-1]):
            self.keep(BEST)
        state = {"epoch": len(epochs), "run": self.run, "rows": self.rows}
        state["parts"] = {name: part.state_dict() for name, part in self.parts.items()}
        state["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}
        with beside(self.path) as path:
            torch.save(state, path)

    def keep(self, name: str) -> None:
        """Write the weights, with the figures of the last epoch, as a file that stands alone."""
        if self.path is not None and self.accelerator.is_main_process:
            figures = {name: value for name, value in self.rows["epochs"][-1].items() if name != "seconds"}
            save_weights(self.parts["model"], self.path.with_name(name), figures | {"run": self.run})

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
            with zipfile.ZipFile(self.path) as file:  # torch.load would take flipped bytes without a word
                if damaged := file.testzip():
                    raise ValueError(f"the checksum of {damaged} is another")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            epoch, run = state["epoch"], state["run"]
        except Exception as error:
            why = str(error).partition("\n")[0]
            what = f"{self.path} is damaged, or not a checkpoint"
            raise ValueError(f"{what} ({why}): delete it to start again.") from None
        if epoch == 0 and run != self.run:
            return 0
        must_be_alike(f"{self.path.parent} holds a run", run, self.run, "folder, or delete that one")
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        for name, rows in self.rows.items():
            rows += state["rows"][name]
        if (
            process := self.accelerator.process_index
        ):  # the saved state is the first process's: the dropout of another process must differ
            torch.manual_seed(torch.initial_seed() + process + 1000 * epoch)
        return epoch


def network_fingerprint(network: nn.Module) -> str:
    """Tells this network from others: the number of its layers, and a checksum of how they print and their shapes."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    kept = [(vars(layer), inspect.signature(type(layer)).parameters) for layer in network.modules()]
    options = [
        {name: of[name] for name in known if isinstance(of.get(name), int)} for of, known in kept
    ]  # num_heads, …
    crc = zlib.crc32(repr((dict(network.named_children()), shapes, options)).encode())
    return f"{len(list(network.modules())) - 1} layers {crc:08x}"


def image_fingerprints(train: ImageSet, test: ImageSet | None = None, validation: ImageSet | None = None) -> dict:
    """Name, number and checksum of the images to train on, and of those to test and to validate on."""

    def fingerprint(images: ImageSet) -> str:
        crc = zlib.crc32(images.labels.cpu().numpy(), zlib.crc32(images.images.cpu().contiguous().numpy()))
        return f"{len(images)} of {images.name} {crc:08x}"

    sets = {"training images": train, "test images": test, "validation images": validation}
    return {name: fingerprint(some) for name, some in sets.items() if some is not None}


def save_weights(model: nn.Module, path: Path, about: dict) -> None:
    """The weights of `model` as a safetensors file, with ``model.about`` and `about`, as JSON, in its header."""
    # Clones, because the format refuses two names for one tensor, as tied layers have.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    mean, std = normalisation(model)
    known = {"mean": mean, "std": std, "versions": {"attn_lessons": __version__, "torch": torch.__version__}}
    about = known | getattr(model, "about", {}) | about | {"checksum": checksum(tensors)}
    with beside(path) as new:
        save_file(tensors, new, {"about": json.dumps(about)})


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Write beside the old file first: whenever the process is killed, one of the two is whole."""
    new = path.with_suffix(".new")
    yield new
    os.replace(new, path)
