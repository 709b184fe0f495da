"""`diagnose` names the planted cause, and none on healthy networks."""

import copy
from functools import cache
from itertools import pairwise

import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from attn_lessons.attention import SqueezeExcitation
from attn_lessons.datasets import ImageSet, glyphworld
from attn_lessons.insight import diagnose
from attn_lessons.models import VGG, attach, trained
from attn_lessons.training import Recipe, fit

IMAGE = (3, 64, 64)


class OwnCNN(nn.Module):
    """A network of a reader: three convolutions and a linear head."""

    def __init__(self, norm=True, blocks=3):
        super().__init__()
        self.blocks = nn.Sequential()
        widths = [3, 16] + [32] * (blocks - 1)
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            layers = [
                nn.Conv2d(inputs, outputs, 3, 2, 1),
                nn.BatchNorm2d(outputs) if norm else nn.Identity(),
                nn.ReLU(),
            ]
            self.blocks.add_module(f"block{i + 1}", nn.Sequential(*layers))
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.blocks(x).mean((2, 3)))


def resnet(norm=nn.BatchNorm2d):
    """Three stages of one block each, small enough for a test."""
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4, norm_layer=norm)
    model.layer4, model.fc = nn.Identity(), nn.Linear(256, 4)
    return model


def vgg():
    return VGG(11, num_classes=4, batch_norm=True, head="cifar", width=1 / 8)


HOSTS = {  # the usual places, early enough that no position sees the whole image
    "resnet": (resnet, ["layer1.0.bn2", "layer2.0.bn2"]),
    "vgg": (vgg, ["features.2", "features.6"]),
    "own": (OwnCNN, ["blocks.block1", "blocks.block2"]),
}
EASY = Recipe(epochs=3, batch_size=20, learning_rate=3e-3)


def one_shape(scene):
    """One glyph in the middle: what any network learns in a few steps."""
    shapes = scene.draw.shuffled(4)[:, :1]
    scene.glyph(shapes[:, 0], (230, 159, 0), scene.draw.integers(24, 40, 2), candidate=0)
    return shapes, shapes[:, 0] * 0


@cache
def images(n=100, seed=999) -> ImageSet:
    return glyphworld(one_shape, n, seed)


@cache
def learned(host: str) -> nn.Module:
    """The network alone, trained a little."""
    torch.manual_seed(0)
    model = HOSTS[host][0]()
    fit(model, images(400, 0), None, EASY, progress=False)
    return model


def with_se(host: str, start="identity", **options) -> nn.Module:
    torch.manual_seed(1)
    return attach(copy.deepcopy(learned(host)), "se", HOSTS[host][1], start, image=IMAGE, **options)


@cache
def healthy(host: str) -> nn.Module:
    model = with_se(host, "own")
    fit(model, images(400, 0), None, EASY, progress=False)
    return model


def causes(*arguments, **options) -> set[str]:
    table = diagnose(*arguments, **options)
    return set(table.index[table.holds == "yes"])


@pytest.mark.parametrize("host", HOSTS)
def test_no_cause_is_found_in_a_healthy_network(host):
    model = healthy(host)
    everything = {"weights": learned(host).state_dict(), "optimizer": torch.optim.AdamW(model.parameters(), 1e-3)}
    runs = pd.DataFrame({"variant": ["none", "se"] * 3, "seed": [0, 0, 1, 1, 2, 2],
                         "accuracy": [0.5, 0.6, 0.5, 0.61, 0.5, 0.62]})  # fmt: skip
    table = diagnose(model, images(), runs=runs, **everything)
    assert set(table.holds) == {"no"}, table


@pytest.mark.parametrize("name", ["glyphworld_frames_cbam_spatial", "glyphworld_key_se"])
def test_no_cause_is_found_in_shipped_networks(name):
    puzzle = "frames" if "frames" in name else "key"
    assert not causes(trained(name)[0], glyphworld(puzzle, 200, seed=999))


@pytest.mark.parametrize("host", HOSTS)
def test_dead_gates(host):
    model = with_se(host)
    for part in model.modules():
        if isinstance(part, SqueezeExcitation):
            nn.init.constant_(part.reduce.weight, -1)  # no hidden unit is ever active behind a ReLU
            nn.init.zeros_(part.expand.weight)
    assert "gates stuck" in causes(model, images())


def test_fading_signal():
    torch.manual_seed(0)
    own = attach(OwnCNN(norm=False), "se", [f"blocks.block{i}" for i in (1, 2, 3)], start="own", image=IMAGE)
    assert causes(own, images()) == {"signal fades"}
    plain = VGG(11, num_classes=4, head="cifar", width=1 / 8)
    stacked = attach(plain, "se", ["features.1", "features.4", "features.9"], start="own", image=IMAGE)
    assert causes(stacked, images()) == {"signal fades"}
    gated = attach(resnet(lambda channels: nn.Identity()), "se", ["layer1", "layer2", "layer3"], "own", image=IMAGE)
    assert causes(gated, images()) == {"signal fades", "wrong slot"}


@pytest.mark.parametrize("host", HOSTS)
def test_disturbed_start(host):
    assert causes(with_se(host, "own"), images()) == {"disturbed start"}
    assert not causes(with_se(host, "identity"), images())


@pytest.mark.parametrize("host", HOSTS)
def test_weights_that_did_not_load(host):
    torch.manual_seed(5)
    fresh = attach(HOSTS[host][0](), "se", HOSTS[host][1], image=IMAGE)
    assert causes(fresh, images(), weights=learned(host).state_dict()) == {"weights not loaded"}
    assert not causes(with_se(host), images(), weights=learned(host).state_dict())


def test_gates_after_the_addition():
    model = attach(copy.deepcopy(learned("resnet")), "se", ["layer1.0", "layer2.0"], image=IMAGE)
    assert causes(model, images()) == {"wrong slot"}
    assert not causes(attach(copy.deepcopy(learned("resnet")), "self", ["layer1"], image=IMAGE), images())


@pytest.mark.parametrize(
    "host, conv", [("resnet", "layer1.0.conv2"), ("vgg", "features.0"), ("own", "blocks.block2.0")]
)
def test_gates_before_a_batch_norm(host, conv):
    assert causes(attach(copy.deepcopy(learned(host)), "se", conv, image=IMAGE, reduction=2), images()) == {
        "wrong slot"
    }


@pytest.mark.parametrize("host", HOSTS)
def test_attention_that_is_not_trained(host):
    model = with_se(host)
    known = torch.optim.SGD(learned(host).parameters(), 0.1)
    assert causes(model, images(), optimizer=known) == {"not trained"}
    attention = [p for name, p in model.named_parameters() if ".attention." in name]
    rest = [p for name, p in model.named_parameters() if ".attention." not in name]
    slow = torch.optim.SGD([{"params": attention, "lr": 1e-5}, {"params": rest}], 0.1)
    assert causes(model, images(), optimizer=slow) == {"not trained"}
    pulled = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.5)
    assert causes(model, images(), optimizer=pulled) == {"not trained"}
    right = torch.optim.SGD([{"params": attention, "lr": 0.5, "weight_decay": 0}, {"params": rest}], 0.1)
    assert not causes(model, images(), optimizer=right)
    for p in attention:
        p.requires_grad_(False)
    assert causes(model, images()) == {"not trained"}
    for module in model.modules():
        if hasattr(module, "scale"):
            nn.init.constant_(module.scale, 1e-3)
    for p in attention:
        p.requires_grad_(True)
    assert causes(model, images()) == {"not trained"}


@pytest.mark.parametrize("host, late", [("resnet", "layer3.0.bn2"), ("vgg", "features.27")])
def test_a_receptive_field_that_covers_the_image(host, late):
    assert causes(attach(copy.deepcopy(learned(host)), "se", late, image=IMAGE), images()) == {"sees everything"}


def test_a_receptive_field_of_an_own_network():
    torch.manual_seed(0)
    model = attach(OwnCNN(blocks=6), "se", "blocks.block6", image=IMAGE)
    assert causes(model, images()) == {"sees everything"}


def test_a_gain_within_noise():
    runs = pd.DataFrame({"variant": ["none", "se"] * 3, "seed": [0, 0, 1, 1, 2, 2],
                         "accuracy": [0.5, 0.6, 0.6, 0.5, 0.5, 0.6]})  # fmt: skip
    assert causes(healthy("own"), images(), runs=runs) == {"within noise"}
    with pytest.raises(ValueError, match="two variants"):
        diagnose(healthy("own"), images(), runs=runs[runs.variant == "se"])


def test_the_network_stays_as_it_was():
    model = with_se("resnet").train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    diagnose(model, images(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(part.training for part in model.modules())
    assert not any(len(part._forward_hooks) for name, part in model.named_modules() if name.endswith("attention"))
    assert all(p.grad is None for p in model.parameters())


def test_what_cannot_be_diagnosed_is_said_in_one_sentence():
    with pytest.raises(ValueError, match="no attention"):
        diagnose(OwnCNN(), images())
    few = attach(OwnCNN(), "se", "blocks.block1", image=IMAGE)
    few.head = nn.Linear(32, 2)
    with pytest.raises(ValueError, match="2 classes"):
        diagnose(few, images())
    few.head = nn.Identity()
    few.forward = lambda x: (few.blocks(x),)
    with pytest.raises(ValueError, match="logits"):
        diagnose(few, images())
