"""Where a network looks: localisation, insertion and deletion, spatial maps, class activation maps."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attn_lessons.attention import CBAM, CoordinateAttention, SpatialAttention, SqueezeExcitation, watch
from attn_lessons.datasets import glyphworld
from attn_lessons.insight import (
    centre_map,
    energy_pointing_game,
    explained_variance,
    iou,
    localisation,
    pointing_game,
    similarity,
    spatial_map,
)
from attn_lessons.models import GlyphNet

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")

sizes = st.integers(1, 7)


# ------------------------------------------------------------------------------------------ the pointing game
def by_hand(maps: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    """Image by image, cell by cell; only for sizes that divide."""
    high, wide = masks.shape[1] // maps.shape[1], masks.shape[2] // maps.shape[2]
    logits, chances = [], []
    for one, mask in zip(maps.tolist(), masks, strict=True):
        cells = [(i, j) for i in range(len(one)) for j in range(len(one[0]))]
        on = {(i, j): bool(mask[i * high : (i + 1) * high, j * wide : (j + 1) * wide].any()) for i, j in cells}
        best = [(i, j) for i, j in cells if one[i][j] == max(max(row) for row in one)]
        logits.append(sum(on[cell] for cell in best) / len(best))
        chances.append(sum(on.values()) / len(on))
    return {"score": sum(logits) / len(logits), "chance": sum(chances) / len(chances)}


@settings(max_examples=40, deadline=None)
@given(n=sizes, h=sizes, w=sizes, high=st.integers(1, 4), wide=st.integers(1, 4), levels=st.integers(1, 5))
def test_scores_are_those_counted_by_hand(n, h, w, high, wide, levels):
    """Few levels, so that many positions tie; cells of several pixels, or of one."""
    maps, masks = torch.randint(levels, (n, h, w)).float(), torch.rand(n, h * high, w * wide) < 0.3
    assert pointing_game(maps, masks) == pytest.approx(by_hand(maps, masks), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(n=sizes, h=sizes, w=sizes, height=st.integers(7, 20), width=st.integers(7, 20))
def test_a_map_without_a_preference_scores_as_chance_does(n, h, w, height, width):
    score = pointing_game(torch.full((n, h, w), 0.37), torch.rand(n, height, width) < 0.2)
    assert score["score"] == pytest.approx(score["chance"], abs=1e-6)


def test_pointing_at_it_scores_1_and_pointing_elsewhere_0():
    masks = torch.zeros(5, 8, 8, dtype=torch.bool)
    masks[:, 2:4, 4:6] = True
    on, beside = torch.zeros(5, 8, 8), torch.zeros(5, 8, 8)
    on[:, 3, 5], beside[:, 3, 6] = 1, 1
    assert pointing_game(on, masks) == {"score": 1.0, "chance": 4 / 64}
    assert pointing_game(beside, masks)["score"] == 0.0
    half = torch.cat([on[:2], beside[:3]])
    assert pointing_game(half, masks)["score"] == pytest.approx(0.4)


def test_only_the_order_of_the_values_counts():
    maps, masks = torch.randn(9, 6, 5), torch.rand(9, 12, 10) < 0.3
    assert pointing_game(maps, masks) == pointing_game(3 * maps - 7, masks) == pointing_game(maps.exp(), masks)


def test_random_maps_score_as_chance_does():
    """2,000 images: the standard error is at most 0.0112, and 4 of them are exceeded once in 16,000 times."""
    score = pointing_game(torch.rand(2000, 16, 16), torch.rand(2000, 64, 64) < 0.02)
    assert abs(score["score"] - score["chance"]) < 4 * 0.0112


def test_a_cell_is_on_the_object_if_any_of_its_pixels_is():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 3, 4] = True  # the last row of the upper cells, the first column of the right ones
    maps = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])
    assert pointing_game(maps, masks) == {"score": 1.0, "chance": 0.25}


def test_an_image_without_the_object_is_never_hit():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert pointing_game(torch.rand(2, 4, 4), masks) == {"score": 0.0, "chance": 0.0}


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (4, 4), (2, 4, 4), (4, 4, 4), (48,)])
def test_maps_that_are_not_one_an_image_are_refused(shape):
    with pytest.raises(ValueError, match=r"maps must have shape \(3, h, w\)") as raised:
        pointing_game(torch.rand(shape), torch.ones(3, 8, 8, dtype=torch.bool))
    assert str(shape) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("masks", "error"),
    [
        (torch.ones(3, 8, 8), TypeError),
        (torch.ones(3, 8, 8, dtype=torch.uint8), TypeError),
        (torch.ones(3, 1, 8, 8, dtype=torch.bool), ValueError),
        (torch.ones(3, 8, 8, dtype=torch.bool).numpy(), TypeError),
    ],
)
def test_masks_that_are_none_are_refused(masks, error):
    with pytest.raises(error, match=r"masks must be a torch\.bool tensor") as raised:
        pointing_game(torch.rand(3, 4, 4), masks)
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------ energy and overlap
def some_masks(n: int, height: int, width: int) -> torch.Tensor:
    """With at least one pixel on and one off."""
    masks = torch.rand(n, height, width) < 0.3
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    return masks


@settings(max_examples=30, deadline=None)
@given(n=sizes, h=st.integers(2, 7), w=st.integers(2, 7), high=st.integers(1, 3), wide=st.integers(1, 3))
def test_energy_and_overlap_are_those_counted_pixel_by_pixel(n, h, w, high, wide):
    maps, masks = torch.rand(n, h, w), some_masks(n, h * high, w * wide)
    pixels = maps.repeat_interleave(high, 1).repeat_interleave(wide, 2)
    energy = [one[mask].sum() / one.sum() for one, mask in zip(pixels, masks, strict=True)]
    assert energy_pointing_game(maps, masks)["score"] == pytest.approx(sum(energy).item() / n, abs=1e-5)
    fractions = []
    for one, mask in zip(pixels, masks, strict=True):
        bright = one >= (one.min() + one.max()) / 2
        fractions.append((bright & mask).sum().item() / (bright | mask).sum().item())
    assert iou(maps, masks)["score"] == pytest.approx(sum(fractions) / n, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(n=sizes, h=st.integers(2, 7), w=st.integers(2, 7), value=st.floats(0, 3, width=32, allow_subnormal=False))
def test_an_even_or_empty_map_scores_as_chance_does(n, h, w, value):
    table = localisation(torch.full((n, h, w), value), some_masks(n, 3 * h, 2 * w))
    assert table.score.tolist() == pytest.approx(table.chance.tolist(), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(n=sizes, h=st.integers(2, 12), w=st.integers(2, 12))
def test_the_object_itself_is_the_perfect_map_and_all_else_the_worst(n, h, w):
    masks = some_masks(n, h, w)
    assert localisation(masks.float(), masks).score.tolist() == pytest.approx([1, 1, 1])
    assert localisation(1 - masks.float(), masks).score.tolist() == pytest.approx([0, 0, 0])


def test_random_maps_score_as_chance_does_on_glyphworld():
    masks = glyphworld("key", 300, seed=1).masks["target"]
    table = localisation(torch.rand(300, 64, 64), masks)
    assert abs(table.score - table.chance)[["energy-based pointing game", "IoU"]].max() < 0.002
    assert (table.centre < 5 * table.chance).all()  # glyphs lie anywhere


def test_a_spot_in_the_middle_finds_what_lies_in_the_middle():
    masks = torch.zeros(2, 32, 48, dtype=torch.bool)
    masks[:, 8:24, 12:36] = True
    table = localisation(torch.rand(2, 32, 48), masks)
    assert (table.centre > table.chance).all() and table.centre["pointing game"] == 1
    spot = centre_map(32, 48)
    torch.testing.assert_close(spot, spot.flip(0, 1))
    assert spot.argmax() in [15 * 48 + 23, 15 * 48 + 24, 16 * 48 + 23, 16 * 48 + 24]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_a_higher_threshold_leaves_less(threshold):
    ramp = torch.arange(1, 101.0).view(1, 10, 10)
    mask = (ramp >= 1 + threshold * 99).bool()
    assert iou(ramp, mask, threshold)["score"] == 1
    assert iou(7 * ramp - 3, mask, threshold)["score"] == 1  # from lowest to highest, whatever those are


def test_maps_below_zero_have_no_energy():
    with pytest.raises(ValueError, match="below 0") as raised:
        energy_pointing_game(torch.randn(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("game", [energy_pointing_game, iou, localisation])
@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (2, 4, 4)])
def test_other_maps_than_one_an_image_are_refused_everywhere(game, shape):
    with pytest.raises(ValueError, match=r"maps must have shape \(3, h, w\)"):
        game(torch.rand(shape), torch.ones(3, 8, 8, dtype=torch.bool))


@pytest.mark.parametrize("game", [pointing_game, energy_pointing_game, iou, localisation, similarity])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_get_no_score(game, value):
    maps = torch.rand(2, 8, 8)
    maps[1, 3, 4] = value
    masks = maps.clone().nan_to_num() if game is similarity else torch.ones(2, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="maps must hold finite numbers; 1 of these are nan or inf") as raised:
        game(maps, masks)
    assert "\n" not in str(raised.value)


def test_values_that_are_not_finite_are_not_explained():
    with pytest.raises(ValueError, match="values must hold finite numbers; 4 of these"):
        explained_variance(torch.full((2, 2), float("nan")), torch.tensor([0, 1]))


# ------------------------------------------------------------------------------------------ maps of positions
def seen_in(model: nn.Module, x: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    with watch(model) as seen:
        model(x)
    return seen


@settings(max_examples=10, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_a_spatial_map_counts_as_it_is(b, h, w):
    x = torch.randn(b, 16, h, w)
    for module, name in ((SpatialAttention(kernel_size=3), ""), (CBAM(16), "spatial")):
        seen = seen_in(module, x)
        assert torch.equal(spatial_map(seen), seen[name]["map"]) and spatial_map(seen).shape == (b, h, w)


@settings(max_examples=10, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_coordinate_attentions_map_is_the_mean_of_its_gates_over_the_channels(b, h, w):
    x = torch.rand(b, 32, h, w, dtype=torch.float64) + 1
    module = CoordinateAttention(32).double().eval()
    gates = module(x) / x  # (B, C, H, W)
    torch.testing.assert_close(spatial_map(seen_in(module, x)), gates.mean(1), rtol=0, atol=1e-12)


def test_maps_of_several_modules_are_multiplied_and_channel_gates_left_out():
    first, second = SpatialAttention(kernel_size=3), CoordinateAttention(32).eval()
    x = torch.randn(2, 32, 5, 4)
    network = nn.Sequential(first, SqueezeExcitation(32), nn.ReLU(), second)
    seen = seen_in(network, x)
    separate = [spatial_map({name: seen[name]}) for name in ("0", "3")]
    torch.testing.assert_close(spatial_map(seen), separate[0] * separate[1])


def test_without_a_gate_that_knows_places_there_is_no_map():
    x = torch.randn(2, 32, 5, 4)
    assert spatial_map(seen_in(nn.Sequential(SqueezeExcitation(32), nn.ReLU()), x)) is None
    assert spatial_map(seen_in(nn.ReLU(), x)) is None and spatial_map({}) is None
    with watch(SpatialAttention()) as seen:
        pass  # nothing went through
    assert spatial_map(seen) is None


@pytest.mark.parametrize("size", [(4, 4), (1, 1)])
def test_maps_of_different_sizes_are_refused_in_one_sentence(size):
    with pytest.raises(ValueError, match="8, 8") as raised:
        spatial_map({"first": {"map": torch.rand(2, 8, 8)}, "second": {"map": torch.rand(2, *size)}})
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------ votes
@pytest.mark.parametrize("attention", ["none", "se", "cbam", "ca", "self", "deformable", "deep"])
def test_the_mean_of_the_votes_is_the_answer_in_evaluation_mode(attention):
    model = GlyphNet(5, deep=True) if attention == "deep" else GlyphNet(5, attention)
    x = torch.rand(6, 3, 64, 48)
    model(x)  # so that the norm has seen something
    model.eval()
    position_logits = model.position_logits(x)
    cells = (4, 3) if attention == "deep" else (16, 12)
    assert position_logits.shape == (6, 5, *cells) and not position_logits.requires_grad
    torch.testing.assert_close(position_logits.mean((2, 3)), model(x), rtol=1e-4, atol=1e-5)


def test_a_vote_is_what_the_place_says_alone():
    """A short-sighted network changes its votes only where the image changed: a cell sees 7×7 pixels."""
    model, x = GlyphNet().eval(), torch.rand(1, 3, 64, 64)
    changed = x.clone()
    changed[:, :, 20:24, 40:44] = 0
    moved = (model.position_logits(changed) - model.position_logits(x)).abs().amax(1)[0] > 1e-6
    assert moved.any() and not moved.masked_fill(F.pad(torch.ones(3, 3), (9, 4, 4, 9)).bool(), False).any()


def test_voting_leaves_the_network_as_it_was():
    model = GlyphNet(attention="ca").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.position_logits(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
