"""What the commands that train have in common: which images, which network, how to train."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from accelerate import PartialState

from ..datasets import PUZZLES
from ..training import RECIPES, Recipe
from ..training.recording import header
from . import networks, sets
from .options import Command, UsageError, count, option

VARIANTS = "with options that differ from the default: deformable:offset_range=0,num_heads=8; deep is a control"
ALIKE = ("images", "network", "width", "blocks", "reduction")  # what the rows of a recording have in common
BATCHES = 16  # an epoch has at least so many, if the batch is not chosen


@dataclass(kw_only=True)
class Training(Command):
    """What to train on, which network, and how; what is None is chosen to fit the rest."""

    data: list[str] | None = option("data set or puzzles; or --train", nargs="+", choices=sets.KNOWN)
    train: str | None = option("your images: a folder or zip with one folder of images per class")
    test: str | None = option("the same, for testing")
    validation: float | str | None = option(
        "part of the training images to choose the best epoch by, or a folder (default: 0.2 if there is no --test)",
        type=sets.part_or_path,
    )
    name: str | None = option("of your images in the results (default: that of their folder)")
    size: int | None = option("height and width of your images (default: 32; torchvision's networks: 224)", type=count)
    images: int | None = option("how many to train on, chosen by the seed (default: all)", type=count)
    network: str | None = option("of the course or of torchvision: small_cnn (default), vgg11_bn, resnet18 …")
    init: str | None = option("weights to begin with: imagenet, or a file or folder of a run")
    after: list[str] | None = option("modules that attention follows (default: where papers put it)", nargs="+")
    start: str | None = option("of attached attention", choices=("identity", "own", "kaiming"))
    width: float | None = option("of a VGG: fraction of its channels (default: 1)", type=float)
    blocks: list[int] | None = option("of a VGG, with attention (default: all five)", type=int, nargs="+")
    reduction: int = option("of mechanisms that have one (default: 4)", 4, type=int)
    epochs: int | None = option("how often every image is seen", type=count)
    batch_size: int | None = option("images in a step (default: fits their number)", type=count)
    learning_rate: float | None = option("the highest of the run", type=float)
    weight_decay: float | None = option("how strongly every step pulls weights toward 0", type=float)
    precision: str | None = option("fp32 (default); bf16 on a newer GPU, fp16 on an older one")
    compile: bool = option("torch.compile the network first", False, action="store_true")
    threads: int = option("of the CPU", torch.get_num_threads(), type=count)

    def __post_init__(self):
        self.puzzles = self.data if self.data and set(self.data) <= set(PUZZLES) else []
        self.network = self.network or ("glyph_net" if self.puzzles else "small_cnn")
        self.attaches = bool(self.after) or self.network not in networks.OURS
        self.must_name_images()
        self.must_name_a_network()
        self.name = self.name or (self.train and Path(self.train).stem)
        self.images = self.images or (sets.GLYPHWORLD_TRAIN if self.puzzles else None)
        self.size = self.size or self.usual_size()

    def must_name_images(self) -> None:
        """Refuse options of images that do not go together."""
        data = " ".join(self.data or [])
        if bool(data) == bool(self.train) or (data and self.test):
            raise UsageError("say what to train on: either --data, or --train and, if you have one, --test.")
        if " " in data and not self.puzzles:
            raise UsageError(f"--data {data}: choose one data set, or puzzles only ({', '.join(PUZZLES)}).")
        if data and isinstance(self.validation, str):
            raise UsageError(f"--validation {self.validation}: give a part, as 0.1, of {data}.")
        if data and self.size:
            raise UsageError(f"--size is of images of yours, and those of {data} have theirs.")

    def must_name_a_network(self) -> None:
        """Refuse a network that there is not, and options of another one."""
        vgg = self.network.startswith("vgg")
        if wrong := networks.known_network(self.network):
            raise UsageError(wrong)
        if not vgg and (self.width, self.blocks) != (None, None):
            raise UsageError(f"--width and --blocks are of a VGG, and this is a {self.network}.")
        if self.start and not self.attaches and not vgg:
            raise UsageError(f"--start is of attention that is attached: say --after which module of {self.network}.")
        if self.init == "imagenet" and not vgg and self.network in networks.OURS:
            raise UsageError(
                f"nobody has trained a {self.network} on ImageNet: name a VGG or a network of torchvision."
            )

    def usual_size(self) -> int:
        if self.data:
            return {"tiny-imagenet": 64}.get(self.data[0], 64 if self.puzzles else 32)
        return 32 if self.network in networks.OURS else 224

    @cached_property
    def device(self) -> torch.device:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return PartialState().device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def recipe(self, n_images: int | None = None) -> Recipe:
        """How to train; on few images, with a batch that fits their number and a learning rate that fits the batch."""
        usual = RECIPES[networks.OURS.get(self.network, "modern") if self.init is None else "fine-tuning"]
        given = {name: value for name, value in vars(self).items() if name in vars(usual) and value is not None}
        if n_images and n_images < (self.batch_size or 1):
            raise ValueError(f"--batch-size {self.batch_size}: there are only {n_images:,} images to train on.")
        if n_images and self.batch_size is None:
            fits = 2 ** max(3, (n_images // BATCHES).bit_length() - 1)
            given["batch_size"] = batch = min(usual.batch_size, fits, n_images)
            with_the_batch = (batch / usual.batch_size) ** (1 if usual.optimizer == "sgd" else 0.5)
            given.setdefault("learning_rate", usual.learning_rate * with_the_batch)
        return replace(usual, **given)

    def check(self, *variants: str) -> None:
        """Find whatever is wrong before any image is read."""
        torch.set_num_threads(self.threads)
        self.recipe()
        for path in (self.train, self.test, self.validation):
            if isinstance(path, str) and not Path(path).exists():
                raise FileNotFoundError(f"there is neither a folder nor a zip at {path}.")
        if self.init:
            networks.first_weights(self.init, self.network)
        for variant in variants:
            networks.try_out(variant, self)

    def about(self, recipe: Recipe) -> dict[str, object]:
        """The header of what is made with these settings."""
        return header(self.words, recipe, self.device) | {"settings": self.alike()}

    def alike(self) -> dict[str, object]:
        """What all rows of a recording have in common; variants, seeds and puzzles may be added to it later."""
        given = {"after": self.after, "start": self.start, "init": self.init and Path(self.init).name}
        given = {name: value for name, value in given.items() if value}  # what old recordings do not know
        return {name: getattr(self, name) for name in ALIKE} | given
