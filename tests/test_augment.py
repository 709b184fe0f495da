"""Augmentation: repeats itself with a seed, one draw for each image, and nothing that was not in the image.

Where torchvision.transforms.v2 has the same, draws have its distribution, and the same draw gives the same image.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp
from torchvision.transforms import v2

from attn_lessons.datasets import cutmix, cutout, mixup, normalise, random_crop, random_flip

AUGMENTATIONS = [random_crop, random_flip, cutout]
MIXES = [mixup, cutmix]
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
RARE = 1e-3  # 99.9 % confidence, with fixed seeds


def draws(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def noise(n: int, height: int = 12, width: int = 10, channels: int = 3, device: str = "cpu") -> torch.Tensor:
    """uint8 without a zero, so that every zero was put there."""
    return torch.randint(1, 256, (n, channels, height, width), generator=draws(7), dtype=torch.uint8).to(device)


# ------------------------------------------------------------------------------------------ all of them
@pytest.mark.parametrize("augment", AUGMENTATIONS)
@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(0, 5), height=st.integers(1, 9), width=st.integers(1, 9), channels=st.integers(1, 4),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float64, torch.bfloat16]),
)  # fmt: skip
def test_keeps_shape_and_dtype_and_leaves_its_input_alone(augment, n, height, width, channels, dtype):
    images = noise(n, height, width, channels).to(dtype)
    before = images.clone()
    out = augment(images, generator=draws())
    assert out.shape == images.shape and out.dtype == dtype
    assert torch.equal(images, before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_repeats_itself_with_the_same_seed_only(augment, device):
    images = noise(50, device=device)
    first, again, other = (augment(images, generator=draws(seed, device)) for seed in (3, 3, 4))
    assert first.device.type == device
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_each_image_has_its_own_draw(augment):
    images = noise(1).expand(60, -1, -1, -1)
    assert len(augment(images, generator=draws()).unique(dim=0)) > (1 if augment is random_flip else 20)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_treats_floats_as_it_treats_levels(augment):
    images = noise(20)
    floats = augment(images.float(), generator=draws())
    assert torch.equal(floats, augment(images, generator=draws()).float())


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_says_what_is_wrong(augment):
    with pytest.raises(ValueError, match=r"images must have shape \(n, C, H, W\); these have shape \(3, 8, 8\)"):
        augment(torch.zeros(3, 8, 8))
    if augment is not random_flip:
        with pytest.raises(ValueError, match="=-1 is not a whole number of at least"):
            augment(torch.zeros(1, 3, 8, 8), -1)


# ------------------------------------------------------------------------------------------ one by one
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_crop_is_a_shift_and_every_shift_is_equally_likely(padding):
    shifts, image = 2 * padding + 1, noise(1)
    padded = F.pad(image, [padding] * 4)[0]
    allowed = [padded[:, top : top + 12, left : left + 10] for top in range(shifts) for left in range(shifts)]
    crops = random_crop(image.expand(2000, -1, -1, -1), padding, draws())
    counts = torch.stack([(crops == one).flatten(1).all(1) for one in allowed]).sum(1)
    assert counts.sum() == 2000
    if padding:
        assert chisquare(counts).pvalue > RARE


def test_flip_mirrors_half_of_the_images():
    images = noise(2000)
    out = random_flip(images, draws())
    same, mirrored = ((out == one).flatten(1).all(1) for one in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert chisquare([same.sum(), mirrored.sum()]).pvalue > RARE


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_cutout_clears_one_square_around_a_uniform_centre(size):
    images = noise(2400)
    out = cutout(images, size, draws())
    holes = out == 0
    assert torch.equal(holes.all(1), holes.any(1))  # in all channels
    assert torch.equal(out[~holes], images[~holes])
    rows, columns = holes[:, 0].any(2), holes[:, 0].any(1)
    assert torch.equal(holes[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    assert rows.sum(1).max() <= size and columns.sum(1).max() <= size
    if size < 10:  # a whole square where it fits
        assert holes[:, 0].sum((1, 2)).max() == size**2
    if size == 1:
        assert chisquare(holes[:, 0].sum(0).flatten()).pvalue > RARE


def test_normalise():
    images = noise(4)
    expected = (images.double() / 255 - 0.5) / 0.25
    assert torch.allclose(normalise(images).double(), expected, atol=1e-5)
    assert normalise(images).dtype == torch.float32
    mean, std = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
    expected = (images.double() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert torch.allclose(normalise(images, mean, std).double(), expected, atol=1e-5)
    assert normalise(images.contiguous(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )
    with pytest.raises(TypeError, match=r"normalise takes uint8 images, levels 0 to 255; these are torch\.float32"):
        normalise(normalise(images))


# ------------------------------------------------------------------------------------------ as torchvision does it
def same_distribution(ours, theirs) -> None:
    """One test a column, corrected for their number."""
    ours, theirs = (np.asarray(values, float).reshape(len(values), -1).T for values in (ours, theirs))
    assert min(ks_2samp(*pair).pvalue for pair in zip(ours, theirs, strict=True)) > RARE / len(ours)


# ------------------------------------------------------------------------------------------ two images in one
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("device", DEVICES)
def test_mixes_repeat_themselves_and_leave_their_input_alone(mix, device):
    images, labels = noise(20, device=device), torch.arange(20, device=device) % 7
    before = images.clone()
    first, again, other = (mix(images, labels, 7, draws(seed, device)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(first[0], other[0])
    assert torch.equal(images, before)
    assert first[0].shape == images.shape and first[0].dtype == torch.uint8
    assert first[1].shape == (20, 7) and first[1].dtype == torch.float32 and first[1].device.type == device
    assert torch.allclose(first[1].sum(1), torch.ones(20, device=device))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(6))
def test_mixes_give_the_images_of_torchvision(mix, seed):
    images, labels = noise(9, height=14).float(), torch.arange(9) % 7
    out, soft = mix(images, labels, 7, draws(seed))
    fraction = soft[0, 0].item()
    if mix is mixup:
        params, reference = {"lam": fraction}, v2.MixUp(num_classes=7)
    else:
        rows, columns = ((out != images).any((0, 1)).any(side).nonzero() for side in (1, 0))
        box = (0, 0, 0, 0)
        if len(rows):
            box = [int(x) for x in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
        params, reference = {"box": box, "lam_adjusted": fraction}, v2.CutMix(num_classes=7)
        assert fraction == pytest.approx(1 - (box[2] - box[0]) * (box[3] - box[1]) / (14 * 10), abs=1e-6)
    params |= {"labels": labels, "batch_size": 9}
    assert torch.allclose(out, reference.transform(images, params), atol=1e-3)
    assert torch.allclose(soft, reference.transform(labels, params), atol=1e-6)
    levels, _ = mix(images.byte(), labels, 7, draws(seed))
    assert torch.equal(levels.float(), out.round())


@pytest.mark.parametrize(("mix", "theirs"), [(mixup, v2.MixUp), (cutmix, v2.CutMix)])
def test_mixes_have_the_distribution_of_torchvision(mix, theirs):
    images, labels, generator = noise(2, 16, 11).float(), torch.arange(2), draws()
    torch.manual_seed(0)
    reference = theirs(num_classes=2)

    def numbers(both) -> list[float]:
        out, soft = both
        same = (out[0] == images[0]).all(0).float()
        return [soft[0, 0], *same.mean(1)[::5], *same.mean(0)[::5], out[0, 0, 3, 3]]

    same_distribution([numbers(mix(images, labels, 2, generator)) for _ in range(500)],
                      [numbers(reference(images, labels)) for _ in range(500)])  # fmt: skip


@pytest.mark.parametrize("mix", MIXES)
def test_soft_labels_are_what_the_loss_takes(mix):
    images, labels = noise(8), torch.arange(8)
    _, soft = mix(images, labels, 8, draws())
    scores = torch.randn(8, 8, generator=draws())
    fraction = soft[0, 0]
    expected = fraction * F.cross_entropy(scores, labels) + (1 - fraction) * F.cross_entropy(scores, labels.roll(1))
    assert F.cross_entropy(scores, soft) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("mix", MIXES)
def test_mixes_say_what_is_wrong(mix):
    with pytest.raises(ValueError, match=r"images must have shape \(n, C, H, W\)"):
        mix(torch.zeros(3, 8, 8), torch.zeros(3).long(), 2)
    with pytest.raises(ValueError, match="num_classes=0 is not a whole number of at least 1"):
        mix(noise(3), torch.zeros(3).long(), 0)
