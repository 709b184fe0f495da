"""`fit` takes any map-style dataset of (image, label), or says in one sentence what is wrong with it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from attn_lessons.datasets import as_image_set
from attn_lessons.training import Recipe, evaluate, fit

LEVELS = torch.randint(256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(12) % 3


class Items(Dataset):
    """`make` of each item's number."""

    classes = ("a", "b", "c")

    def __init__(self, make, n: int = 12):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(i)


def pil(i: int) -> Image.Image:
    return Image.fromarray(LEVELS[i].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(LEVELS, LABELS),
        TensorDataset(LEVELS / 255, LABELS),
        Items(lambda i: (pil(i), int(LABELS[i]))),
        Items(lambda i: [LEVELS[i], np.int64(LABELS[i])]),
        Subset(Items(lambda i: (pil(i % 12), LABELS[i % 12]), 20), range(12)),
    ],
)
def test_the_same_images_whatever_they_come_in(dataset):
    images = as_image_set(dataset)
    assert torch.equal(images.images, LEVELS) and torch.equal(images.labels, LABELS)
    assert images.classes == (("0", "1", "2") if isinstance(dataset, TensorDataset) else ("a", "b", "c"))


def test_grey_images_get_three_channels():
    assert torch.equal(as_image_set(TensorDataset(LEVELS[:, :1], LABELS)).images, LEVELS[:, :1].expand(-1, 3, -1, -1))
    assert as_image_set(Items(lambda i: (pil(i).convert("L"), 0), 2)).images.shape == (2, 3, 8, 8)


def test_training_on_a_dataset_is_training_on_its_images():
    recipe, logs = Recipe(2, 4, "sgd", 0.05), []
    for kind in (as_image_set, lambda dataset: dataset):
        torch.manual_seed(0)
        model, dataset = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), kind(TensorDataset(LEVELS, LABELS))
        logs.append(fit(model, dataset, dataset, recipe, progress=False, validation=dataset).epochs)
        assert evaluate(model, dataset)["accuracy"] == logs[-1].test_accuracy.iloc[-1]
    assert logs[0].drop(columns="seconds").equals(logs[1].drop(columns="seconds"))


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (TensorDataset(LEVELS), r"item 0 of this TensorDataset is not \(image, label\)"),
        (TensorDataset(LEVELS[:, 0], LABELS), r"has no image .* it is \(8, 8\)"),
        (TensorDataset(4 * torch.rand(12, 3, 8, 8) - 2, LABELS), "not 0 to 1: leave Normalize to the training"),
        (TensorDataset(torch.full((2, 3, 8, 8), torch.nan), LABELS[:2]), "goes from nan to nan"),
        (Items(lambda i: (LEVELS[i, :, : 8 - i], 0)), r"image 1 .* has shape \(3, 7, 8\), and the first \(3, 8, 8\)"),
        (Items(lambda i: (LEVELS[i], "cat")), "has the label 'cat', which is no whole number"),
        (iter([(LEVELS[0], 0)]), "is no map-style dataset"),
    ],
)
def test_what_is_no_dataset_of_images_is_one_sentence(dataset, says):
    with pytest.raises((ValueError, TypeError), match=says) as raised:
        fit(nn.Linear(1, 1), dataset, None, progress=False)
    assert "\n" not in str(raised.value)
