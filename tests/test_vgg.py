"""VGG: torchvision's names, weights and answers, whatever is inserted, and wherever."""

import pytest
import torch
import torchvision
from torch import nn

from attn_lessons.attention import MECHANISMS, watch
from attn_lessons.measure import macs, parameters
from attn_lessons.models import VGG, load_matching
from attn_lessons.models.attachment import IdentityStart
from attn_lessons.models.vgg import LETTERS, SLOTS

FULL = {"num_classes": 7, "head": "cifar"}
SMALL = {**FULL, "width": 1 / 4}


def theirs(depth: int, batch_norm: bool, **options) -> nn.Module:
    return torchvision.models.get_model(f"vgg{depth}{'_bn' * batch_norm}", weights=None, **options)


# ------------------------------------------------------------------------------------------ beside torchvision
@pytest.mark.parametrize("depth", LETTERS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("slot", SLOTS)
def test_names_and_shapes_are_torchvisions_whatever_is_inserted(depth, batch_norm, slot):
    with torch.device("meta"):
        trusted = {name: value.shape for name, value in theirs(depth, batch_norm).state_dict().items()}
        plain = VGG(depth, batch_norm=batch_norm)
        assert {name: value.shape for name, value in plain.state_dict().items()} == trusted
        full = VGG(depth, batch_norm=batch_norm, attention="cbam", slot=slot, start="identity").state_dict()
        assert {name: full[name].shape for name in trusted} == trusted
        assert all(".attention." in name for name in full.keys() - trusted.keys())


@pytest.mark.parametrize(("depth", "expected"), [(16, 138_357_544), (19, 143_667_240)])
def test_parameters_are_those_of_the_paper(depth, expected):
    with torch.device("meta"):
        assert parameters(VGG(depth)) == expected


def test_linear_attention_adds_four_linear_layers_to_each_block():
    with torch.device("meta"):
        added = parameters(VGG(16, attention="linear")) - parameters(VGG(16))
    assert added == sum(4 * c**2 + 4 * c for c in (64, 128, 256, 512, 512))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_answers_are_torchvisions_with_the_same_weights(batch_norm):
    torch.manual_seed(0)
    with torch.device("meta"):  # drawing 130 million first weights twice takes longer than all the rest
        ours, trusted = VGG(11, 3, batch_norm).eval(), theirs(11, batch_norm, num_classes=3).eval()
    for part in trusted.to_empty(device="cpu").modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
        elif isinstance(part, nn.Conv2d | nn.Linear):
            for values in part.parameters():
                nn.init.uniform_(values, -0.05, 0.05)
    ours.to_empty(device="cpu")
    report = load_matching(ours, trusted.state_dict())
    assert len(report["loaded"]) == len(trusted.state_dict()) and not any(list(report.values())[1:])
    x = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), trusted(x))


def test_the_backbone_starts_as_torchvisions_does():
    ours, trusted = VGG(11, **FULL).features.state_dict(), theirs(11, False).features.state_dict()
    for name, value in trusted.items():
        if name.endswith("weight"):
            assert ours[name].std().item() == pytest.approx(value.std().item(), rel=0.1), name
        else:
            assert not ours[name].any() and not value.any()


# ------------------------------------------------------------------------------------------ what is inserted
@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("slot", SLOTS)
def test_any_mechanism_stands_at_any_place_and_learns(name, slot):
    torch.manual_seed(0)
    model = VGG(11, batch_norm=True, attention=name, blocks=[2, 5], slot=slot, image_size=64, **SMALL)
    assert list(model.attention) == ([] if name == "none" else ["block2", "block5"])
    with watch(model) as seen:
        model(torch.rand(2, 3, 64, 64)).logsumexp(1).sum().backward()
    assert len(seen) >= len(model.attention)
    assert all(p.grad is not None for p in model.parameters())


class Mark(nn.Module):
    """Remembers what it was shown."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        assert x.shape[1] == self.channels
        self.seen = x
        return x


@pytest.mark.parametrize("depth", LETTERS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("slot", SLOTS)
def test_it_stands_where_it_was_put(depth, batch_norm, slot):
    model = VGG(depth, batch_norm=batch_norm, attention=Mark, slot=slot, **SMALL).eval()
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 64))
    for block, mark in enumerate(model.attention.values()):
        assert mark.seen.shape[2] == 64 >> (block + (slot == "after_pool"))
        assert (mark.seen.min() < 0) == (slot == "before_relu")
        expected = {"before_relu": nn.Conv2d | nn.BatchNorm2d, "before_pool": nn.ReLU, "after_pool": nn.MaxPool2d}
        assert isinstance(model.get_submodule(model.slots[block + 1]), expected[slot])


@pytest.mark.parametrize("start", ["own", "identity", "kaiming"])
def test_one_seed_gives_one_backbone(start):
    torch.manual_seed(3)
    plain = VGG(11, **SMALL).state_dict()
    torch.manual_seed(3)
    full = VGG(11, attention="se", start=start, **SMALL).state_dict()
    assert all(torch.equal(full[name], value) for name, value in plain.items())


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name != "none"])
def test_identity_start_changes_no_answer_and_can_leave(name):
    torch.manual_seed(0)
    plain = VGG(11, **SMALL).eval()
    model = VGG(11, attention=name, start="identity", image_size=32, **SMALL).eval()
    load_matching(model, plain.state_dict())
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
    model(x).logsumexp(1).sum().backward()
    scales = [part.scale for part in model.modules() if isinstance(part, IdentityStart)]
    assert len(scales) == 5 and all(scale.grad != 0 for scale in scales)


def test_kaiming_start_draws_the_mechanisms_weights_anew():
    torch.manual_seed(0)
    model = VGG(11, attention="se", blocks=[5], start="kaiming", **FULL)
    weight = model.attention.block5.expand.weight  # (512, 32): standard deviation √(2 / 32)
    assert weight.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.05)


def test_attention_costs_what_it_costs_on_its_own():
    plain, full = (VGG(11, attention=name, blocks=[4], **SMALL) for name in ("none", "self"))
    assert macs(full, 1, 3, 32, 32) - macs(plain, 1, 3, 32, 32) == 4 * 16 * 128**2 + 2 * 16**2 * 128


# ------------------------------------------------------------------------------------------ loading
def test_what_did_not_load_is_listed():
    model = VGG(11, attention="eca", blocks=[1, 5], **SMALL)
    weights = VGG(11, **SMALL | {"num_classes": 9}).state_dict() | {"extra": torch.zeros(1)}
    before = model.classifier[0].weight.clone()
    report = load_matching(model, weights)
    assert report["of another shape"] == ["classifier.0.weight", "classifier.0.bias"]
    assert report["only in the network"] == ["features.1.attention.conv.weight", "features.19.attention.conv.weight"]
    assert report["only in the weights"] == ["extra"]
    assert all(torch.equal(model.state_dict()[name], weights[name]) for name in report["loaded"])
    assert len(report["loaded"]) == 16 and torch.equal(model.classifier[0].weight, before)


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="No weight has the name"):
        load_matching(VGG(11, **SMALL), {"layer1.weight": torch.zeros(3)})


# ------------------------------------------------------------------------------------------ refused
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 18}, "depth=18 .* 11, 13, 16, 19"),
        ({"head": "tiny"}, "head='tiny' .*'imagenet', 'cifar'"),
        ({"slot": "before"}, "slot='before' .*'before_relu', 'before_pool', 'after_pool'"),
        ({"start": "zero"}, "start='zero' .*'identity', 'own', 'kaiming'"),
        ({"blocks": [0]}, r"blocks=0 .* 1 to 5"),
        ({"blocks": [6]}, r"blocks=6 .* 1 to 5"),
        ({"blocks": "5"}, r"blocks='5' .* 1 to 5"),
        ({"width": "1"}, "width='1' must be from"),
        ({"image_size": 16}, "at least 32"),
        ({"attention": "sse"}, "attention='sse'"),
        ({"num_classes": 0}, "num_classes=0"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(options, words):
    with pytest.raises((ValueError, TypeError), match=words) as raised:
        VGG(**{"depth": 11, **SMALL, **options})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 31, 40)])
def test_other_images_are_refused(shape):
    with pytest.raises(ValueError, match="at least 32") as raised:
        VGG(11, **SMALL)(torch.rand(shape))
    assert str(shape) in str(raised.value)


def test_features_as_a_backbone_run_the_attention():
    """What takes `vgg.features` for its own network used to skip the mechanisms silently."""
    model = VGG(11, 5, head="cifar", width=1 / 16, attention="se", blocks=[3, 5], reduction=2)
    with watch(model) as seen:
        model.features(torch.rand(2, 3, 32, 32))
    assert len(seen) == 2 and all("gate" in weights for weights in seen.values())
