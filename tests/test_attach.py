"""`attach` on networks that know nothing of it: what a torch module can go through, they still can."""

import copy
import io
import pickle
from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import nn

from attn_lessons.attention import watch
from attn_lessons.models import SmallCNN, attach, detach_attention, slots

NETWORKS = {  # where attention goes in each
    "vgg16_bn": ("features.5", "features.42"),
    "resnet18": ("layer1.0.bn2", "layer4"),
    "densenet121": ("features.denseblock1", "features.denseblock4"),
    "mobilenet_v3_small": ("features.3", "features.8.block.1"),
    "efficientnet_b0": ("features.3", "features.8"),
    "timm/resnet18": ("layer1.0.bn2", "layer4"),
    "timm/convnext_atto": ("stages.0", "stages.3"),
}
IMAGE = (3, 64, 64)
X = torch.rand(2, *IMAGE, generator=torch.Generator().manual_seed(0))


@cache
def plain(name: str) -> nn.Module:
    """The network as a stranger has it, with batch statistics that keep its signal alive."""
    torch.manual_seed(0)
    make = timm.create_model if name.startswith("timm/") else torchvision.models.get_model
    network = make(name.removeprefix("timm/"), num_classes=5)
    if "vgg" in name:  # without the 120 million weights of its head
        network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 5)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, *IMAGE))
    return network.eval()


@cache
def full(name: str) -> nn.Module:
    """The same with CBAM, which changes its answers."""
    torch.manual_seed(1)
    return attach(copy.deepcopy(plain(name)), "cbam", NETWORKS[name], start="own", image=IMAGE)


@torch.no_grad()
def answers(network: nn.Module) -> torch.Tensor:
    return network(X)


def calls(name: str) -> bool:
    """Each mechanism runs once, and changes what the network says."""
    network, ran = copy.deepcopy(full(name)), []
    for key, module in network.named_modules():
        if key.endswith(".attention"):
            module.register_forward_hook(lambda *_, key=key: ran.append(key))
    return not torch.equal(answers(network), answers(plain(name))) and len(ran) == len(set(ran)) == 2


def backward(name: str) -> bool:
    network = copy.deepcopy(full(name)).train()
    network(X).square().mean().backward()
    return all(p.grad is not None for p in network.parameters())


def deepcopied(name: str) -> bool:
    """A copy has mechanisms of its own."""
    network, before = copy.deepcopy(full(name)), answers(full(name))
    same = torch.equal(answers(network), before)
    for key, weight in network.named_parameters():
        if ".attention." in key:
            nn.init.ones_(weight)
    return same and not torch.equal(answers(network), before) and torch.equal(answers(full(name)), before)


def pickled(name: str) -> bool:
    return torch.equal(answers(pickle.loads(pickle.dumps(full(name)))), answers(full(name)))


def saved(name: str) -> bool:
    file = io.BytesIO()
    torch.save(full(name), file)
    file.seek(0)
    return torch.equal(answers(torch.load(file, weights_only=False)), answers(full(name)))


def alike(network: nn.Module, name: str) -> bool:
    torch.testing.assert_close(answers(network), answers(full(name)), rtol=1e-3, atol=1e-4)
    return True


def compiled(name: str) -> bool:
    torch.compiler.reset()
    return alike(torch.compile(full(name), fullgraph=True, backend="aot_eager"), name)


def exported(name: str) -> bool:
    return alike(torch.export.export(full(name), (X,), strict=False).module(), name)


def exported_strictly(name: str) -> bool:
    """As `compiled` does, it reads the bytecode, which takes long: so not of every network."""
    if name not in ("resnet18", "timm/convnext_atto"):
        pytest.skip("one network of each library is enough")
    return alike(torch.export.export(full(name), (X,), strict=True).module(), name)


def traced_symbolically(name: str) -> bool:
    return alike(torch.fx.symbolic_trace(full(name)), name)


def traced(name: str) -> bool:
    return alike(torch.jit.trace(full(name), X), name)


def watched(name: str) -> bool:
    with watch(full(name)) as seen:
        answers(full(name))
    return sum("map" in noted for noted in seen.values()) == 2


def names(name: str) -> bool:
    kept = [key for key in full(name).state_dict() if ".attention." not in key]
    return kept == list(plain(name).state_dict())


def loaded_later(name: str) -> bool:
    """Weights of the plain network fit, whenever they come."""
    report = copy.deepcopy(full(name)).load_state_dict(plain(name).state_dict(), strict=False)
    return not report.unexpected_keys and all(".attention." in key for key in report.missing_keys)


def unchanged_at_first(name: str) -> bool:
    network = attach(copy.deepcopy(plain(name)), "cbam", NETWORKS[name], image=IMAGE)
    return torch.equal(answers(network), answers(plain(name)))


def taken_out(name: str) -> bool:
    network = detach_attention(copy.deepcopy(full(name)))
    return list(network.state_dict()) == list(plain(name).state_dict()) and torch.equal(
        answers(network), answers(plain(name))
    )


PROBES = [calls, backward, deepcopied, pickled, saved, compiled, exported, exported_strictly, traced_symbolically,
          traced, watched, names, loaded_later, unchanged_at_first, taken_out]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of the exporters and tracers, about themselves
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_others_passes(name, probe):
    assert probe(name)


# ------------------------------------------------------------------------------------------ hosts of all kinds
def net(**parts: nn.Module) -> nn.Sequential:
    """conv → relu → the parts → mean."""
    network = nn.Sequential()
    network.conv, network.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True)
    for name, part in parts.items():
        network.add_module(name, part)
    network.pool, network.flat, network.linear = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    return network.eval()


def test_a_compiler_tells_networks_apart_by_their_attention():
    """Compiled code of a network is kept, and used for others that are like it; attention runs in a hook."""
    torch.manual_seed(0)
    plain = net()
    networks = [copy.deepcopy(plain) for _ in range(3)]
    plain.compile(backend="aot_eager")
    before = answers(plain)  # compiled when there is no attention yet
    for network, mechanism in zip(networks, ("se", "se", "eca"), strict=True):
        attach(network, mechanism, "relu", start="own", image=IMAGE)
    expected = [answers(network) for network in networks]
    for network in networks:
        network.compile(backend="aot_eager")
    for _ in range(2):  # in turns
        torch.testing.assert_close([answers(network) for network in networks], expected)
        torch.testing.assert_close(answers(plain), before)
    torch.testing.assert_close(answers(detach_attention(networks[0])), before)
    assert not torch.allclose(before, expected[0])


class Twice(nn.Module):
    """Every number times 2: easy to see how often it ran."""

    def __init__(self, channels: int):
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def factor(network: nn.Module, after: str | list[str]) -> float:
    """By how much attention of `Twice` multiplies what comes before the linear layer."""
    network.linear = nn.Identity()
    before = answers(network)
    attach(network, Twice, after, start="own", image=IMAGE)
    return (answers(network) / before).nanmedian().item()


class Branch(nn.Sequential):
    """A Sequential with a forward pass of its own that runs its children and adds x, as torchvision's ASPP does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("relu", 2),
        ("relu", 2),
        ("body", 2),  # a Sequential runs its last child by itself
        ("body.inner", 2),
        (["body", "body.inner"], 4),  # one within the other
        (["body.inner", "body.inner.0"], 4),
        ("branch", 2),
    ],
)
def test_every_mechanism_runs_once(after, expected):
    body = nn.Sequential()
    body.inner = nn.Sequential(nn.Identity())
    assert factor(net(body=body, branch=Branch(nn.Identity())), after) == pytest.approx(expected)


def test_the_length_of_a_sequential_and_what_iterates_over_it_stay():
    network = net(body=nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()))
    attach(network, "se", "body", image=IMAGE)
    assert len(network.body) == 2 and len(network) == 6 and isinstance(network.body[-1], nn.ReLU)


def test_a_second_mechanism_follows_the_first():
    network = net()
    assert factor(network, "conv") == pytest.approx(2)
    attach(network, Twice, "conv", start="own", image=IMAGE)
    assert len([name for name, _ in network.named_modules() if "attention" in name]) == 2
    assert not [name for name, _ in detach_attention(network).named_modules() if "attention" in name]


def test_a_module_that_runs_its_children_one_by_one_is_refused_and_left_as_it_was():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            for child in self.children():
                x = child(x)
            return x

    network = net(chain=Chain())
    with pytest.raises(ValueError, match="calls its children"):
        attach(network, Twice, "chain", image=IMAGE)
    assert not [name for name, _ in network.named_modules() if "attention" in name]
    assert attach(network, Twice, "chain.layer", image=IMAGE)


def test_a_shared_module_is_refused_where_it_runs_twice():
    relu = nn.ReLU()
    network = net(first=relu, second=relu, body=nn.Sequential(nn.Identity(), relu))
    with pytest.raises(ValueError, match="runs 3 times"):
        attach(network, "se", "first", image=IMAGE)
    assert factor(network, "body") == pytest.approx(2)  # the container runs once, and so does its attention


def test_the_mechanism_is_where_the_network_is():
    network = attach(net().double().train(), "linformer", ["conv", "relu"], image=IMAGE, landmarks=4)
    assert all(p.dtype == torch.float64 for p in network.parameters())
    assert all(module.training for module in network.modules())
    assert network(X.double()).shape == (2, 2)


def test_sizes_are_those_of_each_host():
    network = net(pool2=nn.MaxPool2d(2))
    attach(network, "linformer", ["relu", "pool2"], image=IMAGE, landmarks=4)
    assert network.relu.attention.mechanism.size == (64, 64) and network.pool2.attention.mechanism.size == (32, 32)


def test_a_u_net_hands_the_weighted_maps_to_the_skip_connection_as_well():
    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.middle = nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.MaxPool2d(2), nn.Upsample(None, 2))

        def forward(self, x):
            skip = self.down(x)
            return torch.cat([self.middle(skip), skip], 1)

    network = UNet().eval()
    before = answers(network)
    attach(network, Twice, "down", start="own", image=IMAGE)
    torch.testing.assert_close(answers(network), 2 * before)


# ------------------------------------------------------------------------------------------ refused
class Pair(nn.Module):
    def forward(self, x):
        return x, x


class First(nn.Module):
    def forward(self, pair):
        return pair[0]


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(64, 16, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=32)


@pytest.mark.parametrize(
    ("build", "options", "words"),
    [
        (vit, {"after": "encoder.layers.encoder_layer_0"}, r"feature maps .* it gives shape \(1, 17, 32\)"),
        (torchvision.models.swin_t, {"after": "features.1"}, r"feature maps .* it gives shape \(1, 16, 16, 96\)"),
        (lambda: net(pair=Pair(), first=First()), {"after": "pair"}, "gives a tuple"),
        (net, {"after": "layer9"}, "'layer9' is no module of this Sequential"),
        (net, {"after": "rellu"}, "similar names are 'relu'"),
        (net, {"after": "flat"}, r"it gives shape \(1, 8\)"),
        (net, {"after": "conv", "start": "zero"}, "start='zero'"),
        (net, {"after": "conv", "image": (1, 64, 64)}, r"cannot run on image=\(1, 64, 64\)"),
        (net, {"after": ["conv", "relu"], "mechanism": "self", "num_heads": 3}, "num_heads=3 does not divide"),
        (SmallCNN, {"after": "blocks.0.relu"}, "cannot run on image"),
    ],
)
def test_refused_in_one_sentence_and_left_as_it_was(build, options, words):
    network = build()
    before = [name for name, _ in network.named_modules()]
    with pytest.raises(ValueError, match=words) as raised:
        attach(**{"model": network, "mechanism": "se", "image": IMAGE, **options})
    assert "\n" not in str(raised.value)
    assert [name for name, _ in network.named_modules()] == before
    assert not any(module._forward_hooks for module in network.modules())


# ------------------------------------------------------------------------------------------ slots
@pytest.mark.parametrize(
    ("name", "usual", "first", "number"),
    [
        ("vgg16_bn", "before the pooling", "features.5", 5),
        ("resnet18", "before the addition", "layer1.0.bn2", 8),
        ("timm/resnet18", "before the addition", "layer1.0.bn2", 8),
        ("mobilenet_v3_small", "after the depthwise convolution", "features.1.block.0.2", 11),
        ("efficientnet_b0", "after the depthwise convolution", "features.1.0.block.0.2", 16),
    ],
)
def test_slots_name_where_papers_put_attention(name, usual, first, number):
    table = slots(plain(name), IMAGE)
    chosen = table[table.usual != ""]
    assert set(chosen.usual) == {usual} and chosen.index[0] == first and len(chosen) == number
    assert attach(copy.deepcopy(plain(name)), "eca", chosen.index, image=IMAGE)


def test_slots_are_the_same_with_attention_in_them():
    assert slots(full("resnet18"), IMAGE).equals(slots(plain("resnet18"), IMAGE))


def test_slots_give_shapes():
    table = slots(plain("resnet18"), IMAGE)
    assert list(table.loc["layer2", ["module", "channels", "height", "width"]]) == ["Sequential", 128, 8, 8]


def test_without_a_name_attention_goes_where_papers_put_it():
    network = attach(torchvision.models.resnet18(num_classes=5), "se", image=IMAGE)
    hosts = [name for name, part in network.named_modules() if hasattr(part, "attention")]
    assert hosts == [f"layer{i}.{j}.bn2" for i in (1, 2, 3, 4) for j in (0, 1)]
    with pytest.raises(ValueError, match="no place is usual"):
        attach(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "se", image=IMAGE)
