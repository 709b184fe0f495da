"""The settings of a training, and the recipes of the course's recorded results.

Introduced in lesson 01; lesson 09 builds the modern one step by step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau

from ..arguments import name_of, one_of, real_number, whole_number
from ..datasets import cutout, random_crop, random_flip

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "sgd": partial(SGD, momentum=0.9, nesterov=True)}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    epochs : int, default 10
    batch_size : int, default 64
        A last, smaller batch of an epoch is dropped.
    optimizer : {"adamw", "adam", "sgd"}, default "adamw"
        "sgd" has Nesterov momentum 0.9.
    learning_rate : float, default 8e-3
        The highest of the run; above 0 and below 100.
    weight_decay : float, default 1e-2
    schedule : {"cosine", "step", "plateau", "constant"}, default "cosine"
        "cosine" rises for the first quarter of the batches and falls to zero over the rest; "step" divides by 10 after
        one and after two thirds of the epochs; "plateau" divides by 10 after the third epoch in which the training loss
        has not fallen; "constant" stays.
    augment : callable, optional
        Called as ``augment(images, generator)`` with the uint8 images of each training batch, on their device.
    mix : callable, optional
        `attn_lessons.datasets.mixup` or `cutmix`: called after `augment` as ``mix(images, labels, K, generator)``, it
        returns mixed images and soft targets (B, K).
    label_smoothing : float, default 0
        The fraction of each label that is spread evenly over all classes. The test loss is measured without.
    precision : {"fp32", "bf16", "fp16"}, default "fp32"
        Precision of the forward pass. "bf16" and "fp16" are for GPUs; "fp16" scales its gradients.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 8e-3
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    mix: Callable[..., tuple[torch.Tensor, torch.Tensor]] | None = None
    label_smoothing: float = 0.0
    precision: str = "fp32"

    def __post_init__(self):
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("schedule", self.schedule, ("cosine", "step", "plateau", "constant"))
        one_of("precision", self.precision, ("fp32", "bf16", "fp16"))
        whole_number("epochs", self.epochs, 1)
        whole_number("batch_size", self.batch_size, 1)
        real_number("learning_rate", self.learning_rate, 1e-12, below=100)
        real_number("weight_decay", self.weight_decay, 0)
        real_number("label_smoothing", self.label_smoothing, 0, below=1)

    def in_words(self) -> dict[str, object]:
        """Every setting as JSON can hold it: a function by its name."""
        return {name: name_of(value) if callable(value) else value for name, value in vars(self).items()}

    def scheduler(self, optimizer: Optimizer, batches: int) -> LambdaLR | MultiStepLR | ReduceLROnPlateau:
        """The learning-rate scheduler of a run of `batches` training steps in all."""
        if self.schedule == "step":
            thirds = [math.ceil(n * self.epochs / 3) * batches // self.epochs for n in (1, 2)]
            return MultiStepLR(optimizer, thirds, 0.1)
        if self.schedule == "plateau":
            return ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
        if self.schedule == "constant":
            return LambdaLR(optimizer, lambda step: 1.0)
        rise = torch.linspace(0, 1, batches // 4 + 2)[1:-1]
        fall = (1 + torch.cos(torch.pi * torch.linspace(0, 1, batches - len(rise) + 1))) / 2
        curve = torch.cat([rise, fall]).tolist()
        return LambdaLR(optimizer, lambda step: curve[step])


def shift_and_mirror(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return random_flip(random_crop(images, 4, generator), generator)


def shift_mirror_and_cut(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return cutout(shift_and_mirror(images, generator), 8, generator)


RECIPES = {
    "glyphworld": Recipe(10, 64, "adamw", 8e-3, 1e-2),
    "tutorial": Recipe(12, 64, "adam", 1e-3, 0.0, "plateau", augment=shift_and_mirror),
    "modern": Recipe(60, 512, "sgd", 0.1, 5e-4, "cosine", augment=shift_mirror_and_cut, label_smoothing=0.1),
    "fine-tuning": Recipe(10, 64, "adamw", 3e-4, 1e-2, "cosine", augment=shift_and_mirror, label_smoothing=0.1),
}
