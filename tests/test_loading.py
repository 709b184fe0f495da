"""Loading what fits: most of a file has to, whatever it is wrapped in, and nothing is loaded without a word."""

import pytest
import torch
from torch import nn
from torchvision.models import VGG11_BN_Weights, resnet18

from attn_lessons.datasets import ImageSet
from attn_lessons.models import VGG, GlyphNet, SmallCNN, load_matching
from attn_lessons.training import Recipe, fit, prepare


def vgg(width: float = 1 / 16, num_classes: int = 7, batch_norm: bool = True, **options) -> VGG:
    return VGG(11, num_classes, batch_norm, "cifar", width=width, **options)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# ------------------------------------------------------------------------------------------ refused
@pytest.mark.parametrize("allow_partial", [False, True])
def test_the_counters_of_batch_norm_are_no_weights(allow_partial):
    """They fit any network: of a VGG twice as wide, nothing else does."""
    model = vgg()
    before = state_of(model)
    with pytest.raises(ValueError, match="No weight has the name") as raised:
        load_matching(model, vgg(width=1 / 8, num_classes=9).state_dict(), allow_partial)
    assert "\n" not in str(raised.value) and same(state_of(model), before)


@pytest.mark.parametrize(
    ("wrapped", "fitting"), [(("layer1", "layer4"), 57), (("layer1", "layer2", "layer3", "layer4"), 7)]
)
def test_a_network_whose_layers_were_wrapped_takes_no_weights_silently(wrapped, fitting):
    """68, or 8, of its 122 tensors have a counterpart, counters included."""
    with torch.device("meta"):
        model, weights = resnet18(), resnet18().state_dict()
        for name in wrapped:
            setattr(model, name, nn.Sequential(getattr(model, name), nn.Identity()))
    with pytest.raises(ValueError, match=f"^Only {fitting} of 102 weights fit") as raised:
        load_matching(model, weights)
    said = str(raised.value)
    assert "'layer1.0.0.conv1.weight' only in the network" in said and "'layer1.0.conv1.weight' only in the" in said
    assert "allow_partial=True" in said and "\n" not in said


def test_a_refused_network_stays_as_it_was_and_allowed_it_takes_what_fits():
    model, weights = vgg(batch_norm=False), vgg(batch_norm=False).state_dict()
    some = {name if i < 10 else f"old.{name}": tensor for i, (name, tensor) in enumerate(weights.items())}
    before = state_of(model)
    with pytest.raises(ValueError, match="Only 10 of 18 weights"):
        load_matching(model, some)
    assert same(state_of(model), before)
    report = load_matching(model, some, allow_partial=True)
    assert len(report["loaded"]) == 10 and len(report["only in the weights"]) == len(report["only in the network"]) == 8
    assert all(torch.equal(model.state_dict()[name], weights[name]) for name in report["loaded"])


# ------------------------------------------------------------------------------------------ taken
@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (lambda: vgg(), lambda: vgg(num_classes=1000)),
        (lambda: vgg(attention="linear", start="identity"), lambda: vgg(num_classes=1000)),
        (lambda: vgg(batch_norm=False, attention="cbam"), lambda: VGG(11, 9, width=1 / 16)),  # three linear layers
        (lambda: GlyphNet(4, "ca"), lambda: GlyphNet(9)),
        (lambda: SmallCNN(4, 16, "se"), lambda: SmallCNN(9, 32)),
    ],
)
def test_a_new_classifier_and_new_attention_need_no_permission(model, weights):
    model, weights = model(), weights().state_dict()
    report = load_matching(model, weights)
    assert list(report) == ["loaded", "of another shape", "only in the network", "only in the weights"]
    assert all("attention" in name for name in report["only in the network"])
    left = [*report["of another shape"], *report["only in the weights"]]
    assert left and all(name.startswith(("classif", "head")) for name in left)
    assert all(torch.equal(model.state_dict()[name], weights[name]) for name in report["loaded"])


def under(prefix: str, weights: dict) -> dict:
    return {prefix + name: tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("wrap", "unwrapped"),
    [
        (lambda w: {"state_dict": w, "epoch": 90, "optimizer": {"state": {}}}, ["state_dict"]),
        (lambda w: {"model": w, "epoch": 90}, ["model"]),
        (lambda w: under("module.", w), ["module."]),
        (lambda w: under("_orig_mod.", w), ["_orig_mod."]),
        (lambda w: under("module._orig_mod.", w), ["module.", "_orig_mod."]),
        (lambda w: under("_orig_mod.module.", w), ["_orig_mod.", "module."]),
        (lambda w: {"state_dict": under("model.", w)}, ["state_dict", "model."]),
        (lambda w: {"model": {"state_dict": under("module.", w)}}, ["model", "state_dict", "module."]),
    ],
)
def test_common_wrappings_are_taken_off_and_said(wrap, unwrapped):
    model, weights = vgg(), vgg().state_dict()
    report = load_matching(model, wrap(weights))
    assert report["unwrapped"] == unwrapped and report["loaded"] == list(weights)
    assert not report["only in the weights"] and same(state_of(model), weights)


def test_a_name_that_the_network_has_is_no_wrapping():
    model, other = nn.ModuleDict({"model": vgg()}), nn.ModuleDict({"model": vgg()})
    report = load_matching(model, other.state_dict())
    assert "unwrapped" not in report and same(state_of(model), state_of(other))


def test_torchvision_s_weights_bring_what_they_want_of_images(monkeypatch):
    """VGG16_Weights, and then `fit`, used to normalise with 0.5 and 0.25 whatever the weights want."""
    model, weights = vgg(), vgg(num_classes=1000).state_dict()
    monkeypatch.setattr(VGG11_BN_Weights, "get_state_dict", lambda *_, **__: weights)
    images = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    assert prepare(images, model).flatten().tolist() == [2, 2, 2]
    report = load_matching(model, VGG11_BN_Weights.DEFAULT)
    assert report["of another shape"] == ["classifier.0.weight", "classifier.0.bias"]
    white = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert prepare(images, model).flatten().tolist() == pytest.approx(white, rel=1e-5)
    seen = []
    model.features[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    set_of = ImageSet("white", images.expand(2, 3, 32, 32).contiguous(), torch.tensor([0, 1]), ("a", "b"))
    fit(model, set_of, set_of, Recipe(1, 2), progress=False)
    assert len(seen) == 2 and all(x[0, :, 5, 5].tolist() == pytest.approx(white, rel=1e-5) for x in seen)
