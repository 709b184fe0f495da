"""Augmentation: repeats itself with a seed, one draw for each picture, and nothing that was not in the picture."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from attn_lessons.datasets import cutout, normalise, random_crop, random_flip

AUGMENTATIONS = [random_crop, random_flip, cutout]
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
RARE = 1e-3  # 99.9 % confidence, with fixed seeds


def dice(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def noise(n: int, height: int = 12, width: int = 10, channels: int = 3, device: str = "cpu") -> torch.Tensor:
    """uint8 without a zero, so that every zero was put there."""
    return torch.randint(1, 256, (n, channels, height, width), generator=dice(7), dtype=torch.uint8).to(device)


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
    out = augment(images, generator=dice())
    assert out.shape == images.shape and out.dtype == dtype
    assert torch.equal(images, before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_repeats_itself_with_the_same_seed_only(augment, device):
    images = noise(50, device=device)
    first, again, other = (augment(images, generator=dice(seed, device)) for seed in (3, 3, 4))
    assert first.device.type == device
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_each_picture_has_its_own_draw(augment):
    images = noise(1).expand(60, -1, -1, -1)
    assert len(augment(images, generator=dice()).unique(dim=0)) > (1 if augment is random_flip else 20)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_treats_floats_as_it_treats_levels(augment):
    images = noise(20)
    assert torch.equal(augment(images.float(), generator=dice()), augment(images, generator=dice()).float())


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_says_what_is_wrong(augment):
    with pytest.raises(ValueError, match=r"images must have shape \(n, C, H, W\); these have shape \(3, 8, 8\)"):
        augment(torch.zeros(3, 8, 8))
    if augment is not random_flip:
        with pytest.raises(ValueError, match="=-1 must be at least"):
            augment(torch.zeros(1, 3, 8, 8), -1)


# ------------------------------------------------------------------------------------------ one by one
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_crop_is_a_shift_and_every_shift_is_equally_likely(padding):
    shifts, image = 2 * padding + 1, noise(1)
    padded = F.pad(image, [padding] * 4)[0]
    allowed = [padded[:, top : top + 12, left : left + 10] for top in range(shifts) for left in range(shifts)]
    crops = random_crop(image.expand(2000, -1, -1, -1), padding, dice())
    counts = torch.stack([(crops == one).flatten(1).all(1) for one in allowed]).sum(1)
    assert counts.sum() == 2000
    if padding:
        assert chisquare(counts).pvalue > RARE


def test_flip_mirrors_half_of_the_pictures():
    images = noise(2000)
    out = random_flip(images, dice())
    same, mirrored = ((out == one).flatten(1).all(1) for one in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert chisquare([same.sum(), mirrored.sum()]).pvalue > RARE


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_cutout_clears_one_square_around_a_uniform_centre(size):
    images = noise(2400)
    out = cutout(images, size, dice())
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
