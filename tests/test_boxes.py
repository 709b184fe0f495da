"""Photographs with boxes: the masks are where the boxes are, and the recorded scores are those of the lesson."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from attn_lessons.insight.boxes import MAPS, SIZE, boxed, scores, side_by_side
from attn_lessons.models import trained
from attn_lessons.training import recorded

CLASSES = ["tabby", "banana"]


@pytest.fixture
def photographs(tmp_path: Path):
    """Four grey images of three classes, each as bright as its number; one class is not asked for."""
    for i, name in enumerate(("n1/a.png", "n1/b.png", "n2/c.png", "n3/d.png")):
        path = tmp_path / "val" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((SIZE, SIZE, 3), 50 * i, np.uint8)).save(path)
    corners = [
        ("n3/d.png", 0, 0, 63, 63),
        ("n2/c.png", 1, 2, 3, 5),
        ("n1/b.png", 0, 0, 0, 0),
        ("n1/a.png", 10, 0, 63, 1),
    ]
    pd.DataFrame(corners, columns=["path", "x_min", "y_min", "x_max", "y_max"]).to_csv(tmp_path / "boxes.csv")
    names = pd.DataFrame({"wnid": ["n1", "n2", "n3"], "name": ["banana", "tabby, tabby cat", "wok"]})
    names.to_csv(tmp_path / "classes.csv", index=False)
    return boxed(tmp_path / "val", tmp_path / "boxes.csv", tmp_path / "classes.csv", CLASSES)


def test_each_image_has_its_label_and_its_box(photographs):
    assert photographs.images[:, 0, 0, 0].tolist() == [0, 50, 100]
    assert photographs.labels.tolist() == [1, 1, 0] and photographs.classes == tuple(CLASSES)
    box = photographs.masks["object"]
    assert box.sum((1, 2)).tolist() == [2 * 54, 1, 4 * 3]  # rows × columns
    assert box[2, 2:6, 1:4].all() and box[0, :2, 10:].all() and box[1, 0, 0]


def test_side_by_side_are_two_classes_and_the_mask_is_the_left_half(photographs):
    pairs, right = side_by_side(photographs)
    assert len(pairs) == len(right) > 0 and (pairs.labels != right).all()
    assert pairs.images.shape[2:] == (SIZE, 2 * SIZE)
    half = pairs.masks["object"]
    assert half[:, :, :SIZE].all() and not half[:, :, SIZE:].any()
    level = {50 * i: label for i, label in enumerate((1, 1, 0))}
    sides = pairs.images[:, 0, 0, [0, -1]].tolist()
    assert [[level[a], level[b]] for a, b in sides] == torch.stack([pairs.labels, right], 1).tolist()


def test_scores_have_the_rows_of_the_recording(photographs):
    table, (recording, about) = scores(photographs), recorded("photographs_cam")
    keys = ["object", "map", "class", "score of"]
    assert table[keys].equals(recording[keys]) and list(table) == list(recording)
    assert set(recording["map"]) == set(MAPS) and about["network"] == "photographs_vgg"
    assert trained(about["network"])[1]["test_accuracy"] > 0.75
