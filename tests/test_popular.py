"""The calls of popular tutorials, and the weights of widely copied modules in ours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attn_lessons.attention import (
    CBAM,
    MECHANISMS,
    AttentionModule,
    CAAttention,
    CBAMAttention,
    CoordinateAttention,
    DAttention,
    DeformableAttention,
    ECAAttention,
    EfficientChannelAttention,
    LinearAttention,
    SEAttention,
    SqueezeExcitation,
    load_popular,
)
from attn_lessons.measure import parameters

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")

sizes = st.integers(1, 7)


# ------------------------------------------------------------------------------------------ calls
@pytest.mark.parametrize(
    ("factory", "options", "class_name", "count"),
    [
        (SEAttention, {"channel": 512, "reduction": 16}, "SqueezeExcitation", 32_768),
        (CBAMAttention, {"channel": 512, "reduction": 16, "kernel_size": 7}, "CBAM", 32_867),
        (ECAAttention, {"kernel_size": 3}, "EfficientChannelAttention", 3),
        (CAAttention, {"channel": 512, "reduction": 16}, "CoordinateAttention", 3 * 512 * 32 + 3 * 32 + 2 * 512),
        (AttentionModule, {"channels": 512}, "SqueezeExcitation", 32_768),
    ],
)
def test_gates_by_the_names_and_arguments_of_tutorials(factory, options, class_name, count):
    module, x = factory(**options), torch.rand(50, 512, 7, 7)
    assert type(module).__name__ == class_name and parameters(module) == count
    assert module(x).shape == x.shape


def test_linear_attention_by_the_name_and_arguments_of_a_tutorial():
    module, x = LinearAttention(in_dim=64, reduction=8), torch.rand(1, 64, 32, 31)
    assert type(module) is MECHANISMS["linear"] and module.num_heads == 1 and module.query.out_features == 8
    assert module(x).shape == x.shape


def test_deformable_attention_by_the_name_and_arguments_of_a_tutorial():
    module, x = DAttention(64, q_size=(32, 32), n_heads=8, n_groups=4, stride=1), torch.rand(1, 64, 32, 32)
    assert type(module) is DeformableAttention and (module.num_heads, module.groups, module.stride) == (8, 4, 1)
    assert module.local is not None and module.table is None  # dwc-pe
    assert module(x).shape == x.shape


def test_fault_elsewhere_linear_layers_on_a_feature_map_act_on_its_columns():
    """AttentionModule as the post prints it: an error on normal input; with W = C, channels are never mixed."""
    printed = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid()).double()
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        printed(torch.rand(2, 8, 7, 7).double())
    x, order = torch.rand(2, 8, 5, 8).double(), torch.randperm(8)
    torch.testing.assert_close(printed(x[:, order]), printed(x)[:, order])


# ------------------------------------------------------------------------------------------ references
class Gated(nn.Module):
    """Popular modules, written from their formulas: `gate` of the whole image or of each channel, times x."""

    def forward(self, x):
        return x * self.gate(x)


class PopularSE(Gated):
    """σ(W₂ ReLU(W₁ z)) of the means z."""

    def __init__(self, channels, reduction):
        super().__init__()
        hidden = channels // reduction
        layers = nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        self.fc = nn.Sequential(*layers, nn.Sigmoid())

    def gate(self, x):
        return self.fc(x.mean((2, 3)))[:, :, None, None]


class PopularECA(Gated):
    """σ of one kernel that slides over the channels' means."""

    def __init__(self, kernel_size, bias=False):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=bias)

    def gate(self, x):
        return self.conv(x.mean((2, 3)).unsqueeze(1)).sigmoid().squeeze(1)[:, :, None, None]


class PopularChannels(Gated):
    def __init__(self, channels, reduction):
        super().__init__()
        hidden = channels // reduction
        layers = nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        self.se = nn.Sequential(*layers)

    def gate(self, x):
        return (self.se(x.amax((2, 3), keepdim=True)) + self.se(x.mean((2, 3), keepdim=True))).sigmoid()


class PopularPositions(Gated):
    def __init__(self, kernel_size):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def gate(self, x):
        return self.conv(torch.stack([x.amax(1), x.mean(1)], 1)).sigmoid()


class PopularCBAM(nn.Module):
    """Both, one after the other, and the input added to the result."""

    def __init__(self, channels, reduction, kernel_size):
        super().__init__()
        self.ca, self.sa = PopularChannels(channels, reduction), PopularPositions(kernel_size)

    def forward(self, x):
        return x + self.sa(self.ca(x))


class PopularCA(Gated):
    """a_h from the means of the rows, a_w from those of the columns; h-swish is z · ReLU6(z + 3) / 6."""

    def __init__(self, channels, reduction):
        super().__init__()
        hidden = max(8, channels // reduction)
        self.conv1, self.bn1 = nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden)
        self.conv_h, self.conv_w = nn.Conv2d(hidden, channels, 1), nn.Conv2d(hidden, channels, 1)

    def gate(self, x):
        lines = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).mT], 2)  # (B, C, H + W, 1)
        z = self.bn1(self.conv1(lines))
        z = z * nn.functional.relu6(z + 3) / 6
        height = x.shape[2]
        a_h, a_w = self.conv_h(z[:, :, :height]).sigmoid(), self.conv_w(z[:, :, height:].mT).sigmoid()
        assert a_h.shape[2:] == (height, 1) and a_w.shape[2:] == (1, x.shape[3])
        return a_w * a_h


POPULAR = {  # for C = 4·n: the popular module, and ours
    "SEAttention": lambda n, k: (PopularSE(4 * n, 4), SqueezeExcitation(4 * n, 4)),
    "CBAMBlock": lambda n, k: (PopularCBAM(4 * n, 4, k), CBAM(4 * n, 4, k)),
    "eca_layer": lambda n, k: (PopularECA(k), EfficientChannelAttention(kernel_size=k)),
    "CoordAtt": lambda n, k: (PopularCA(4 * n, 2), CoordinateAttention(4 * n, 2)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", POPULAR)
@pytest.mark.filterwarnings("ignore:CBAMBlock adds its input")
@settings(max_examples=12, deadline=None)
@given(b=st.integers(1, 3), h=sizes, w=sizes, n=sizes, k=st.sampled_from([1, 3, 7]))
def test_with_the_weights_of_a_popular_module_ours_computes_the_same(name, training, b, h, w, n, k):
    theirs, ours = (module.double().train(training) for module in POPULAR[name](n, k))
    with torch.no_grad():
        for key, value in theirs.state_dict().items():  # statistics and scales as after a training
            if value.is_floating_point():
                value.uniform_(0.5, 2) if key.endswith("var") else value.normal_()
    load_popular(ours, theirs.state_dict())
    x = torch.randn(b, 4 * n, h, w, dtype=torch.float64)
    added = x if name == "CBAMBlock" else 0
    torch.testing.assert_close(ours(x) + added, theirs(x), rtol=0, atol=1e-11)


def test_cbam_says_that_the_popular_block_adds_its_input():
    with pytest.warns(UserWarning, match=r"x \+ cbam\(x\) gives what CBAMBlock gives"):
        load_popular(CBAM(16, 4), PopularCBAM(16, 4, 7).state_dict())


def test_loading_changes_neither_the_weights_handed_over_nor_ours_with_them():
    theirs, ours = PopularECA(3), EfficientChannelAttention(kernel_size=3)
    load_popular(ours, theirs.state_dict())
    with torch.no_grad():
        theirs.conv.weight.zero_()
    assert ours.conv.weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (SqueezeExcitation(64, 16), PopularSE(64, 8), ("'fc.0.weight': (4, 64)", "'fc.0.weight': (8, 64)")),
        (SqueezeExcitation(64, 16), PopularECA(3), ("'fc.2.weight': (64, 4)", "'conv.weight': (3,)")),
        (EfficientChannelAttention(64), PopularECA(3, bias=True), ("expected {'conv.weight': (3,)}", "'conv.bias'")),
        (CBAM(64), PopularCBAM(64, 16, 3), ("'sa.conv.weight': (2, 7, 7)", "'sa.conv.weight': (2, 3, 3)")),
        (CoordinateAttention(64), PopularSE(64, 16), ("'conv_h.weight': (64, 8)", "'fc.0.weight'")),
        (CoordinateAttention(64), nn.Identity(), ("'bn1.running_var': (8,)", "given {}")),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(ours, theirs, words):
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match="These weights do not fit") as raised:
        load_popular(ours, theirs.state_dict())
    assert all(word in str(raised.value) for word in words) and "\n" not in str(raised.value)
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_a_module_without_a_popular_relative_is_refused():
    with pytest.raises(TypeError, match=r"module=DeformableAttention has no popular names"):
        load_popular(DAttention(64), {})
