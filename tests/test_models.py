"""The networks: what they cost, what a cell sees, and one backbone whatever stands in the slots."""

import pytest
import torch
from torch import nn

from attn_lessons.measure import macs, parameters
from attn_lessons.models import GlyphNet, SmallCNN


class Halve(nn.Module):
    """A mechanism of your own."""

    def __init__(self, channels, factor=0.5):
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), factor))

    def forward(self, x):
        return x * self.factor


# ------------------------------------------------------------------------------------------ both networks
@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
@pytest.mark.parametrize("attention", ["se", Halve])
def test_one_seed_gives_one_backbone_whatever_stands_in_the_slots(network, attention):
    torch.manual_seed(3)
    plain = network().state_dict()
    torch.manual_seed(3)
    full = network(attention=attention).state_dict()
    assert all(torch.equal(full[name], weights) for name, weights in plain.items())
    added = full.keys() - plain.keys()
    assert added and all("attention" in name for name in added)
    torch.manual_seed(4)
    assert any(not torch.equal(plain[name], weights) for name, weights in network().state_dict().items())


@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
def test_your_own_class_stands_in_every_slot_with_its_options(network):
    found = [m for m in network(attention=Halve, factor=0.25).modules() if isinstance(m, Halve)]
    channels = [m.factor.numel() for m in found]
    assert channels == ([32, 64, 128] if network is SmallCNN else [48, 48])
    assert all((m.factor == 0.25).all() for m in found)


@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
def test_the_slots_take_part_in_the_answer(network):
    torch.manual_seed(0)
    model, x = network(attention=Halve, factor=1.0).eval(), torch.randn(2, 3, 32, 32)
    plain = network().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    before = model(x)
    torch.testing.assert_close(before, plain(x))
    for slot in [m for m in model.modules() if isinstance(m, Halve)]:
        with torch.no_grad():
            slot.factor.zero_()
        assert not torch.allclose(model(x), before)
        with torch.no_grad():
            slot.factor.fill_(1)


@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
def test_an_unknown_mechanism_is_refused(network):
    with pytest.raises(ValueError, match=r"attention='sse' is not known.*'se'"):
        network(attention="sse")


@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
@pytest.mark.parametrize("num_classes", [0, 2.5, "4"])
def test_a_bad_number_of_classes_is_refused(network, num_classes):
    with pytest.raises((TypeError, ValueError), match="num_classes="):
        network(num_classes=num_classes)


@pytest.mark.parametrize("network", [SmallCNN, GlyphNet])
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 32, 32, 3), (32, 32)])
def test_anything_but_a_batch_of_images_is_refused_in_one_sentence(network, shape):
    with pytest.raises(ValueError) as raised:
        network()(torch.rand(shape))
    assert str(shape) in str(raised.value) and "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------ SmallCNN
def test_small_cnn_costs_what_the_tutorial_says():
    plain, se = SmallCNN(10, 32).eval(), SmallCNN(10, 32, "se", reduction=16).eval()
    assert parameters(plain) == 1_147_914 and parameters(se) == 1_150_602
    assert macs(se, 1, 3, 32, 32) - macs(plain, 1, 3, 32, 32) == 2_688


def test_small_cnn_takes_other_sizes_and_classes():
    assert SmallCNN(num_classes=7, image_size=64)(torch.rand(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("size", [20, 0, -8, 4, 32.0, "32"])
def test_small_cnn_refuses_a_size_that_cannot_be_halved_three_times(size):
    with pytest.raises((TypeError, ValueError), match="image_size=") as raised:
        SmallCNN(image_size=size)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("size", "shape"), [(32, (1, 3, 64, 64)), (64, (4, 3, 32, 32)), (32, (2, 3, 16, 64))])
def test_small_cnn_names_the_images_that_fit_and_never_reshapes_a_batch(size, shape):
    model = SmallCNN(image_size=size)
    with pytest.raises(ValueError) as raised:
        model(torch.rand(shape))
    assert f"(B, 3, {size}, {size})" in str(raised.value) and str(shape) in str(raised.value)


# ------------------------------------------------------------------------------------------ GlyphNet
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 32), (17, 40), (8, 1)])
@pytest.mark.parametrize("options", [{}, {"attention": "se", "reduction": 4}, {"deep": True}])
def test_glyph_net_takes_any_height_and_width(height, width, options):
    model = GlyphNet(num_classes=5, **options)
    assert model(torch.rand(2, 3, height, width)).shape == (2, 5)
    if not options:
        assert model.features(torch.rand(2, 3, height, width)).shape == (2, 48, -(-height // 4), -(-width // 4))


def seen_by(model: GlyphNet, size: int, row: int, column: int) -> torch.Tensor:
    """Which pixels change one cell of the feature map, bool (size, size)."""
    x = torch.rand(1, 3, size, size, requires_grad=True)
    model.features(x)[0, :, row, column].sum().backward()
    return (x.grad != 0).any(1)[0]


@pytest.mark.parametrize(("row", "column"), [(1, 1), (8, 5), (15, 15)])
def test_without_attention_a_cell_sees_7_by_7_pixels(row, column):
    torch.manual_seed(0)
    seen, window = seen_by(GlyphNet().eval(), 64, row, column), torch.zeros(64, 64, dtype=torch.bool)
    window[4 * row - 3 : 4 * row + 4, 4 * column - 3 : 4 * column + 4] = True
    assert torch.equal(seen, window)


def test_with_attention_every_cell_sees_everything():
    torch.manual_seed(0)
    assert seen_by(GlyphNet(attention="se").eval(), 64, 8, 5).all()


def test_far_sighted_every_cell_sees_all_of_32_by_32_pixels_and_at_most_63_by_63_of_more():
    torch.manual_seed(0)
    model = GlyphNet(deep=True).eval()
    assert all(seen_by(model, 32, row, column).all() for row in range(2) for column in range(2))
    window = torch.zeros(64, 64, dtype=torch.bool)
    window[1:, 1:] = True
    assert torch.equal(seen_by(model, 64, 2, 2), window)


@pytest.mark.parametrize("options", [{}, {"attention": "se"}, {"deep": True}])
def test_the_answer_is_the_mean_of_the_votes_of_all_places(options):
    torch.manual_seed(0)
    model = GlyphNet(**options)
    model(torch.randn(16, 3, 32, 32))  # so that the norm has seen something
    model.eval()
    x = torch.randn(3, 3, 32, 32)
    cells = model.features(x).flatten(2).transpose(1, 2)  # (B, positions, 48)
    position_logits = model.classify(model.norm(cells.flatten(0, 1))).view(*cells.shape[:2], -1)
    torch.testing.assert_close(position_logits.mean(1), model(x), rtol=1e-4, atol=1e-5)
