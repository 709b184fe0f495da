"""Grad-CAM through the library: what it says, that it leaves the network as it was, and whether learning matters."""

import copy
import gc
import weakref
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from pytorch_grad_cam import GradCAM
from torch import nn

from attn_lessons.attention import MECHANISMS, SqueezeExcitation
from attn_lessons.insight import features, randomised, sanity_check, similarity, target_layer, verdict
from attn_lessons.insight.cam import METHODS, cam, overlay
from attn_lessons.models import VGG, GlyphNet, SmallCNN, attach
from attn_lessons.training import prepare

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")


def some_images(n: int, size: int = 32) -> torch.Tensor:
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


class Pair(nn.Module):
    """Gives a tuple, as detectors do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.conv(x), x


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)


class Mean(nn.Module):
    """The mean over all positions, (n, C, h, w) → (n, C)."""

    def forward(self, x):
        return x.mean((2, 3))


def two_channels(inplace: bool = False, bias: float = 0.0) -> nn.Sequential:
    """The image's red and green are the two features; class 0 is red − green, class 1 green / 2."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=inplace), Mean(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2, 3)[:, :, None, None])
        network[3].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.5]]))
        network[3].bias.fill_(bias)
    return network


RED = torch.tensor([[0.0, 1.0, 2.0], [4.0, 0.0, 1.0]])
GREEN = torch.tensor([[1.0, 0.0, 1.0], [2.0, 3.0, 1.0]])
SIGNED = torch.stack([RED, GREEN, torch.zeros(2, 3)])[None]  # one image of 2×3 pixels, each a position
BY_HAND = {0: (RED - GREEN).clamp(min=0) / 2, 1: GREEN / 3}  # gradients (1, −1) and (0, 1/2), cut off at 0, from 0 to 1


# ------------------------------------------------------------------------------------------ what the maps say
@pytest.mark.parametrize("label", [0, 1])
def test_two_channels_by_hand(label):
    """At 6 positions, the library's resizing changes nothing."""
    network = two_channels()
    found = cam(network, SIGNED, torch.tensor([label]), layer=network[1])
    torch.testing.assert_close(found[0], BY_HAND[label], rtol=0, atol=1e-4)


def test_layercam_by_hand():
    """Only gradients above 0 count: red for class 0."""
    network = two_channels()
    found = cam(network, SIGNED, torch.tensor([0]), "layercam", network[1])
    torch.testing.assert_close(found[0], RED / 4, rtol=0, atol=1e-4)


def test_mean_of_channels_by_hand_and_for_every_class():
    network, mean = two_channels(), (RED + GREEN) / 2
    maps = [cam(network, SIGNED, torch.tensor([k]), "mean_of_channels", network[1])[0] for k in (0, 1)]
    torch.testing.assert_close(maps[0], (mean - mean.min()) / (mean.max() - mean.min()), rtol=0, atol=1e-4)
    assert torch.equal(*maps)


def test_it_is_what_the_library_says_of_a_plain_network():
    """Used as its manual says, on a network that does not mind."""
    network, x = SmallCNN(4).eval(), torch.randn(3, 3, 32, 32)
    twin = copy.deepcopy(network)
    with GradCAM(model=twin, target_layers=[twin.blocks[-1].attention]) as tool:
        theirs = torch.from_numpy(tool(x, None))
    torch.testing.assert_close(cam(network, x), theirs)


def test_of_glyphnet_it_is_the_logits_per_position():
    """Behind GlyphNet's features all is linear, so that the map is each position's vote, but for a constant."""
    network, dataset = GlyphNet(4, "cbam"), some_images(4, 64)
    network(prepare(dataset))  # so that the norms have seen something
    network.eval()
    x, labels = prepare(dataset), torch.arange(4)
    nothing = network.classify(network.norm(torch.zeros(1, 48)))  # what a position without features votes
    position_logits = (
        (network.position_logits(x) - nothing[:, :, None, None])[torch.arange(4), labels].clamp(min=0).detach()
    )
    found = F.avg_pool2d(cam(network, dataset, labels), 4)  # one number a position again
    large = F.avg_pool2d(F.interpolate(position_logits[:, None], scale_factor=4, mode="bilinear")[:, 0], 4)
    assert similarity(found, large).min() > 0.99


def test_an_in_place_relu_does_not_overwrite_what_the_layer_gave():
    """On a CPU the library keeps the layer's own memory, which a ReLU in place then cuts off at 0."""
    x = SIGNED - 1.5
    maps = [cam(network := two_channels(inplace), x, torch.tensor([0]), layer=network[0]) for inplace in (False, True)]
    assert torch.equal(*maps) and maps[0].max() > 0
    kept = [features(network := two_channels(inplace), x, layer=network[0])[0] for inplace in (False, True)]
    assert torch.equal(*kept) and torch.equal(kept[0], x[:, :2])


def test_nothing_speaks_for_the_class():
    network = two_channels()
    red, green = SIGNED.clone(), SIGNED.clone()
    red[:, 1], green[:, 0] = 0, 0
    assert cam(network, green, torch.tensor([0]), layer=network[1]).eq(0).all()
    assert cam(network, red, torch.tensor([1]), layer=network[1]).eq(0).all()


# ------------------------------------------------------------------------------------------ any network, any mechanism
def opposite(network: nn.Module) -> nn.Module:
    """Two classes, what speaks for the one speaks against the other: no image without anything to show."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear) and module.out_features == 2][-1]
    with torch.no_grad():
        last.weight[1] = -last.weight[0]
    return network


def networks(mechanism: str):
    linformer = mechanism == "linformer"
    yield GlyphNet(2, mechanism, **({"size": (8, 8)} if linformer else {})), (32, 32)
    if not linformer:  # is built for one size of map, and SmallCNN has three
        yield SmallCNN(2, attention=mechanism), (32, 32)
    yield VGG(11, 2, True, "cifar", mechanism, blocks=[5], image_size=32), (32, 32)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_in_every_network(mechanism):
    for network, size in networks(mechanism):
        image = some_images(1, size[0]).expand(2, -1, -1, -1)
        found = cam(opposite(network), image, torch.arange(2))
        assert found.shape == (2, *size) and found.dtype == torch.float32 and found.isfinite().all()
        assert found.min() >= 0 and found.max() <= 1
        lively = found.amax((1, 2)) > found.amin((1, 2))
        assert lively.any() and not found[~lively].any(), type(network).__name__


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method):
    image = some_images(1).expand(2, -1, -1, -1)
    found = cam(opposite(SmallCNN(2, attention="ca")), image, torch.arange(2), method)
    assert found.shape == (2, 32, 32) and found.isfinite().all() and found.max() > found.min()


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet18", "layer4", 512),
        ("densenet121", "features", 1024),
        ("mnasnet0_5", "layers", 1280),
        ("mobilenet_v3_small", "features", 576),
        ("efficientnet_b0", "features", 1280),
        ("googlenet", "inception5b", 1024),
        ("timm/resnet18", "layer4", 512),
        ("timm/convnext_atto", "stages", 320),
    ],
)
def test_networks_of_others(name, layer, channels):
    """Also inception_v3, which takes larger images than a quick test has."""
    torch.manual_seed(0)
    make = timm.create_model if name.startswith("timm/") else partial(torchvision.models.get_model, weights=None)
    more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network, x = make(name.removeprefix("timm/"), num_classes=4, **more).eval(), torch.rand(2, 3, 64, 64)
    found = target_layer(network, x)
    assert found is network.get_submodule(layer) or name == "timm/convnext_atto"
    assert features(network, x)[0].shape == (2, channels, 2, 2)
    heat = cam(network, x, torch.tensor([1, 2]))
    assert heat.shape == (2, 64, 64) and heat.isfinite().all()
    attach(network, "cbam", after=layer, image=(3, 64, 64))
    assert torch.equal(cam(network, x, torch.tensor([1, 2])), heat)  # an identity, so far


@pytest.mark.parametrize("slot", ["before_relu", "before_pool", "after_pool"])
@pytest.mark.parametrize("blocks", [[5], [1, 2]])
def test_the_layer_of_a_vgg_is_the_last_one_before_its_last_pooling(slot, blocks):
    network = VGG(11, 3, head="cifar", attention="se", slot=slot, blocks=blocks).eval()
    x, before = torch.rand(1, 3, 64, 64), []
    network.features[-1].register_forward_pre_hook(lambda module, args: before.append(args[0].detach()))
    maps, _ = features(network, x)
    assert maps.shape == (1, 512, 4, 4) and torch.equal(maps, before[0])
    assert isinstance(target_layer(network, x), nn.ReLU)  # whose output is weighted already


def test_oblong_images():
    assert cam(GlyphNet(attention="ca"), torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8)).shape == (2, 32, 48)


# ------------------------------------------------------------------------------------------ batches and labels
@pytest.mark.parametrize("method", METHODS)
def test_an_image_has_the_same_map_in_every_batch(method):
    network, dataset, labels = GlyphNet(3, "se"), some_images(5), torch.tensor([0, 1, 2, 1, 0])
    together = cam(network, dataset, labels, method)
    in_parts = cam(network, dataset, labels, method, batch_size=2)
    alone = torch.cat([cam(network, dataset[i : i + 1], labels[i : i + 1], method) for i in range(5)])
    torch.testing.assert_close(together, in_parts, rtol=0, atol=1e-4)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_without_labels_it_explains_the_answers():
    network, dataset = SmallCNN(5), some_images(6)
    with torch.no_grad():
        answers = copy.deepcopy(network).eval()(prepare(dataset)).argmax(1)
    assert torch.equal(cam(network, dataset), cam(network, dataset, answers))


def test_levels_are_prepared_as_for_training():
    network, dataset = SmallCNN(5), some_images(2)
    assert torch.equal(cam(network, dataset), cam(network, prepare(dataset)))


# ------------------------------------------------------------------------------------------ left as it was
def state_of(network: nn.Module) -> dict:
    return {
        "modes": [module.training for module in network.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
        "types": [type(module) for module in network.modules()],
        "asks": [p.requires_grad for p in network.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in network.parameters()],
        "values": [value.clone() for value in network.state_dict().values()],
    }


def equal(a, b) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("goes_wrong", [False, True])
def test_the_network_is_left_as_it_was(method, goes_wrong):
    """In the middle of training: gradients there, one part in evaluation mode, one frozen."""
    network = SmallCNN(3, attention="cbam").train()
    network.blocks[0].eval()
    network.blocks[1].requires_grad_(False)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    before = state_of(network)
    if goes_wrong:
        with pytest.raises(ValueError, match="labels"):
            cam(network, some_images(2), torch.tensor([0, 3]), method)
    else:
        cam(network, some_images(2), method=method)
        features(network, some_images(2))
    after = state_of(network)
    assert before.keys() == after.keys()
    for name in before:
        assert all(map(equal, before[name], after[name])), name


def test_frozen_networks_and_blocks_without_gradients_are_explained_all_the_same():
    network, dataset = SmallCNN(3), some_images(2)
    free = cam(network, dataset)
    network.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(cam(network, dataset), free) and free.isfinite().all()
        assert features(network, dataset)[1].any()


def test_the_copy_does_not_stay_in_memory():
    network, made = GlyphNet(), []

    class Watched(GradCAM):
        def __init__(self, model, layers):
            super().__init__(model, layers)
            made.append(weakref.ref(model))

    METHODS["watched"] = Watched
    try:
        cam(network, some_images(1), method="watched")
    finally:
        del METHODS["watched"]
    gc.collect()
    assert made[0]() is None


# ------------------------------------------------------------------------------------------ the library's own faults
def test_what_the_library_does_without_us():
    """If one of these fails, the library has been mended, and the line in `cam` that works round it can go."""
    network = two_channels().train()
    layer = network[1]
    with GradCAM(network, [layer]) as tool:
        one_target = tool(SIGNED.expand(2, -1, -1, -1), [lambda logits: logits[1]])
        assert one_target.shape[0] == 2 and not one_target[1].any()  # no word about the missing target
    with GradCAM(network, [layer]) as tool:
        tool(SIGNED, [lambda logits: logits[7]])  # an IndexError is printed and swallowed


# ------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"method": "scorecam"}, ValueError, "method='scorecam'"),
        ({"labels": torch.tensor([0, 1, 3])}, ValueError, "has 3 classes"),
        ({"labels": torch.tensor([0, -1, 2])}, ValueError, "has 3 classes"),
        ({"labels": torch.tensor([0, 1])}, ValueError, "labels"),
        ({"labels": torch.tensor([0.0, 1.0, 2.0])}, TypeError, "labels"),
        ({"labels": [0, 1, 2]}, TypeError, "labels"),
        ({"images": torch.zeros(3, 32, 32, dtype=torch.uint8)}, ValueError, "images"),
        ({"images": some_images(0)}, ValueError, "at least 1"),
        ({"images": np.zeros((3, 3, 32, 32))}, ValueError, "ndarray"),
        ({"layer": [nn.ReLU()]}, TypeError, "this is a list"),
        ({"layer": nn.ReLU()}, ValueError, "ran 0 times"),
        ({"layer": "head"}, ValueError, "something else"),
        ({"model": nn.Sequential(Mean())}, ValueError, "layer="),
        ({"model": Pair()}, TypeError, "gives a tuple"),
        ({"model": nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten(2))}, ValueError, "tokens"),
        ({"model": vit()}, ValueError, "VisionTransformer give tokens"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(change, error, words):
    network = SmallCNN(3)
    if change.get("layer") == "head":
        change = {"layer": network.head}
    arguments = {"model": network, "images": some_images(3), **change}
    with pytest.raises(error, match=words) as raised:
        cam(**arguments)
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------ features
def test_contributions_by_hand():
    network = two_channels()
    maps, contributions = features(network, SIGNED, torch.tensor([0]), network[1])
    assert torch.equal(maps[0], torch.stack([RED, GREEN]))
    torch.testing.assert_close(contributions, torch.tensor([[RED.mean(), -GREEN.mean()]]))


def test_of_glyphnet_the_contributions_add_up_to_the_score_but_for_a_constant():
    network, dataset = GlyphNet(4, "linear"), some_images(5)
    network.eval()
    _, contributions = features(network, dataset, torch.ones(5, dtype=torch.long))
    constant = network.classify(network.norm(torch.zeros(1, 48)))[:, 1]
    torch.testing.assert_close(contributions.sum(1), network(prepare(dataset))[:, 1] - constant, rtol=1e-3, atol=1e-4)


def test_overlay_returns_the_axes():
    fig, ax = plt.subplots()
    assert overlay(some_images(1)[0], torch.rand(8, 8), ax=ax) is ax
    plt.close(fig)


def test_an_overlay_keeps_the_images_colours():
    """A red image stays red: the library's default would give blue."""
    fig, ax = plt.subplots()
    red = torch.zeros(3, 8, 8, dtype=torch.uint8)
    red[0] = 255
    overlay(red, torch.zeros(4, 4), ax)
    shown = ax.images[-1].get_array()
    assert shown.shape == (8, 8, 3) and shown[..., 0].min() > 1.5 * shown[..., 2].max()
    plt.close(fig)


# ------------------------------------------------------------------------------------------ sanity
def edges(network, images, labels):
    """What an edge detector shows: it has never heard of the network."""
    grey = prepare(images).mean(1, keepdim=True)
    return F.pad((grey[..., 1:] - grey[..., :-1]).abs()[:, 0], (0, 1))


def test_randomising_goes_from_the_last_layer_to_the_first():
    network, dataset = VGG(11, 3, True, "cifar", "se", blocks=[5]).eval(), some_images(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names, changed = [], set()
    for name, twin in randomised(network, dataset):
        names.append(name)
        weights = dict(twin.named_parameters())
        now = {key for key, value in weights.items() if not torch.equal(value, before[key])}
        assert changed <= now and all(key.startswith(tuple(f"{name}." for name in names)) for key in now)
        changed = now
    assert names[:4] == ["classifier.0", "features.27.attention.expand", "features.27.attention.reduce", "features.26"]
    assert names[-1] == "features.0" and {key for key in before if "weight" in key and before[key].dim() > 1} <= changed
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "none"])
def test_randomising_leaves_no_layer_out(mechanism):
    """Not even one whose weights are used without calling it."""
    network = GlyphNet(3, mechanism, **({"size": (8, 8)} if mechanism == "linformer" else {}))
    for weights in network.parameters():
        nn.init.normal_(weights)
    *_, (_, twin) = randomised(network, torch.rand(1, 3, 32, 32))
    same = [name for name, weights in twin.named_parameters() if torch.equal(weights, network.get_parameter(name))]
    assert same == []


class Scale(nn.Module):
    """A mechanism of your own that does not say how its weights start."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 3.0))

    def forward(self, x):
        return x * self.scale


def test_weights_without_an_initialisation_of_their_own_become_noise_as_large():
    network = nn.Sequential(GlyphNet(3, Scale))
    kept = {name: twin[0].features.attention2.scale.clone() for name, twin in randomised(network, some_images(1))}
    assert kept["0.features.attention3"].eq(3).all()
    assert abs(kept["0.features.attention2"].std() / 3 - 1) < 0.3  # of 48 numbers


def after_training(network: nn.Module, dataset: torch.Tensor) -> nn.Module:
    """The network with every weight far off its start, and then with every layer re-initialised."""
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(7)
    *_, (_, twin) = randomised(network, dataset)
    return twin


def same_start(network: nn.Module, fresh: nn.Module) -> None:
    """Every tensor is as large as in a fresh network."""
    for (name, weights), start in zip(network.named_parameters(), fresh.parameters(), strict=True):
        if start.numel() < 500:  # too few to tell a random number from another
            assert weights.abs().max() < 7, name
        else:
            assert weights.std().item() == pytest.approx(start.std().item(), rel=0.15), name
        if not start.any():
            assert not weights.any(), name


@pytest.mark.parametrize("start", ["own", "identity", "kaiming"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_vgg_is_as_before_training_layer_by_layer_and_as_a_whole(start, batch_norm):
    """Torch's own start of a convolution is 1.7 times too small for it, and gives it biases."""

    def build() -> VGG:
        return VGG(11, 40, batch_norm, "cifar", "cbam", start=start, blocks=[4, 5], width=1 / 4)

    network = build()
    same_start(after_training(network, some_images(1)), build())
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(7)
    network.reset_parameters()
    same_start(network, build())


@pytest.mark.parametrize("network", [GlyphNet, SmallCNN])
def test_the_small_networks_are_as_before_training(network):
    same_start(after_training(network(40, attention="cbam"), some_images(1)), network(40, attention="cbam"))
    used = network(40, attention="cbam")
    with torch.no_grad():
        for weights in used.parameters():
            weights.fill_(7)
    used.reset_parameters()
    same_start(used, network(40, attention="cbam"))


def test_the_hidden_units_of_se_start_in_pairs_again():
    """Drawn one by one, all of them are dead in 43 of 300 modules."""
    network = SmallCNN(attention="se")
    for _ in range(5):
        twin = after_training(network, some_images(1))
        for module in twin.modules():
            if isinstance(module, SqueezeExcitation):
                weight = module.reduce.weight
                assert torch.equal(weight[0::2], -weight[1::2]) and not weight.eq(7).any()


@pytest.mark.parametrize("n", [1, 4])
def test_similarity_is_spearmans(n):
    from scipy.stats import spearmanr

    a, b = torch.randint(5, (n, 6, 7)).float(), torch.randint(5, (n, 6, 7)).float()
    expected = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(similarity(a, b), torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)
    flat = torch.full((n, 6, 7), 0.3)
    assert similarity(a, flat).eq(0).all() and similarity(flat, flat + 1).eq(1).all()
    with pytest.raises(ValueError, match="shape"):
        similarity(a, b[:, :3])


def trained(dataset: torch.Tensor, labels: torch.Tensor) -> GlyphNet:
    network = GlyphNet(2)
    optimiser = torch.optim.AdamW(network.parameters(), 8e-3)
    for _ in range(25):
        optimiser.zero_grad()
        F.cross_entropy(network(prepare(dataset)), labels).backward()
        optimiser.step()
    return network


def test_the_edge_detector_fails_and_grad_cam_passes():
    """Red squares against green ones on noise, learned in a second."""
    dataset, labels = torch.randint(100, (40, 3, 32, 32), dtype=torch.uint8), torch.arange(40) % 2
    for image, label, (y, x) in zip(dataset, labels, torch.randint(20, (40, 2)).tolist(), strict=True):
        image[label, y : y + 12, x : x + 12] = 255
    network, other = trained(dataset, labels), trained(dataset, labels[torch.randperm(40)])
    some = dataset[:12]
    for others in (partial(randomised, network, some), lambda: [("shuffled labels", other)]):
        of_edges, of_cam = (sanity_check(network, others(), some, explain) for explain in (edges, cam))
        assert of_edges.similarity.eq(1).all() and verdict(of_edges).startswith("Failed")
        assert verdict(of_cam).startswith("Passed"), of_cam
    heat_map = partial(cam, method="mean_of_channels")  # does not know the head, so that it is the same for every class
    said = verdict(sanity_check(network, randomised(network, some), some, heat_map))
    assert said == "Failed: the maps do not depend on the weights of 'norm' (rank correlation 1.00)."
