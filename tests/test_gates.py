"""SE, CBAM, ECA and coordinate attention: equal to trusted libraries with the same weights, and what their gates do."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import EcaModule, SqueezeExcite
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from torch import nn
from torchvision.ops import SqueezeExcitation as TorchvisionSE

from attn_lessons.attention import (
    CBAM,
    CAAttention,
    CBAMAttention,
    ChannelAttention,
    CoordinateAttention,
    EfficientChannelAttention,
    SEAttention,
    SpatialAttention,
    SqueezeExcitation,
    adaptive_kernel_size,
    watch,
)
from attn_lessons.attention.base import mean
from attn_lessons.attention.cbam import largest
from attn_lessons.attention.se import start_in_pairs_
from attn_lessons.measure import macs, parameters

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")

sizes = st.integers(1, 9)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def gates(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """All weights that the module used, whatever part they come from."""
    with watch(module) as seen:
        module(x)
    return {name: weight for weights in seen.values() for name, weight in weights.items()}


@torch.no_grad()
def copy_linear(source: nn.Module, target: nn.Module) -> None:
    """Weights of a linear layer or 1-d convolution into a 1×1 convolution, or of one convolution into another."""
    target.weight.copy_(source.weight.view_as(target.weight))
    if target.bias is not None:
        target.bias.copy_(torch.zeros(()) if source.bias is None else source.bias)


# ------------------------------------------------------------------------------------------ trusted references
def se_and_timm(b, h, w, n):
    ours = SqueezeExcitation(4 * n, 4).double()
    theirs = SqueezeExcite(4 * n, rd_channels=n, bias=False).double()
    copy_linear(ours.reduce, theirs.fc1)
    copy_linear(ours.expand, theirs.fc2)
    x = randn(b, 4 * n, h, w)
    return ours(x), theirs(x)


def cbam_channel_and_timm(b, h, w, n):
    ours, cbam = ChannelAttention(4 * n, 4).double(), CbamModule(4 * n, rd_channels=n).double()
    copy_linear(ours.reduce, cbam.channel.fc1)
    copy_linear(ours.expand, cbam.channel.fc2)
    x = randn(b, 4 * n, h, w)
    return ours(x), cbam.channel(x)


def cbam_and_timm(b, h, w, n, norm=False):
    """timm has a batch normalisation where ours has a bias; in evaluation mode the two can say the same."""
    kernel = 2 * (n % 4) + 1
    ours = CBAM(4 * n, 4, kernel).double()
    theirs = CbamModule(4 * n, rd_channels=n, spatial_kernel_size=kernel).double().eval()
    copy_linear(ours.channel.reduce, theirs.channel.fc1)
    copy_linear(ours.channel.expand, theirs.channel.fc2)
    copy_linear(ours.spatial.conv, theirs.spatial.conv.conv)
    with torch.no_grad():
        if norm:
            bn = theirs.spatial.conv.bn
            bn.weight.normal_(), bn.bias.normal_(), bn.running_mean.normal_(), bn.running_var.uniform_(0.5, 2)
            factor = bn.weight / (bn.running_var + bn.eps).sqrt()
            ours.spatial.conv.weight.mul_(factor)
            ours.spatial.conv.bias.copy_(bn.bias - bn.running_mean * factor)
        else:
            theirs.spatial.conv.bn = nn.Identity()
            ours.spatial.conv.bias.zero_()
    x = randn(b, 4 * n, h, w)
    return ours(x), theirs(x)


def cbam_and_timm_with_norm(b, h, w, n):
    return cbam_and_timm(b, h, w, n, norm=True)


def cbam_spatial_and_official_order(b, h, w, n):
    """The paper's code stacks the maximum first: the same module, with the two slices of the kernel swapped."""
    ours, x = SpatialAttention(kernel_size=2 * (n % 4) + 1).double(), randn(b, n, h, w)
    summary = torch.stack([x.amax(1), x.mean(1)], 1)
    gate = F.conv2d(summary, ours.conv.weight.flip(1), ours.conv.bias, padding=n % 4).sigmoid()
    return ours(x), x * gate


def eca_and_timm(b, h, w, n):
    kernel = 2 * (n % 4) + 1
    ours, theirs = EfficientChannelAttention(n, kernel).double(), EcaModule(kernel_size=kernel).double()
    copy_linear(ours.conv, theirs.conv)
    x = randn(b, n, h, w)
    return ours(x), theirs(x)


def ca_and_timm(b, h, w, n, training=True):
    ours = CoordinateAttention(8 * n, n).double()
    theirs = CoordAttn(8 * n, rd_channels=8, bias=True).double()
    copy_linear(ours.reduce, theirs.conv1)
    copy_linear(ours.expand_rows, theirs.conv_h)
    copy_linear(ours.expand_columns, theirs.conv_w)
    nn.init.normal_(ours.norm.weight), nn.init.normal_(ours.norm.bias)
    ours.norm.running_mean.normal_(), ours.norm.running_var.uniform_(0.5, 2)
    theirs.bn1.load_state_dict(ours.norm.state_dict())
    x = randn(b, 8 * n, h, w)
    pair = ours.train(training)(x), theirs.train(training)(x)
    for name, value in ours.norm.state_dict().items():  # training moves the statistics alike
        torch.testing.assert_close(value, theirs.bn1.state_dict()[name], rtol=0, atol=1e-10)
    return pair


def ca_and_timm_in_evaluation(b, h, w, n):
    return ca_and_timm(b, h, w, n, training=False)


AGREEMENTS = {
    "SE | timm SqueezeExcite": se_and_timm,
    "CBAM channel | timm CbamModule.channel": cbam_channel_and_timm,
    "CBAM spatial | written out, maximum first": cbam_spatial_and_official_order,
    "CBAM | timm CbamModule without norm": cbam_and_timm,
    "CBAM | timm CbamModule, norm folded": cbam_and_timm_with_norm,
    "ECA | timm EcaModule": eca_and_timm,
    "CA, training | timm CoordAttn": ca_and_timm,
    "CA, evaluation | timm CoordAttn": ca_and_timm_in_evaluation,
}


@pytest.mark.parametrize("pair", AGREEMENTS)
@settings(max_examples=15, deadline=None)
@given(b=sizes, h=sizes, w=sizes, n=st.integers(1, 8))
def test_equals_a_trusted_reference_with_the_same_weights(pair, b, h, w, n):
    ours, theirs = AGREEMENTS[pair](b, h, w, n)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(b=sizes, h=sizes, w=sizes, half=st.integers(1, 12), reduction=st.integers(1, 8))
def test_se_equals_timm_and_torchvision(b, h, w, half, reduction):
    channels = half * reduction
    ours = SqueezeExcitation(channels, reduction).double()
    timms = SqueezeExcite(channels, rd_channels=channels // reduction, bias=False).double()
    visions = TorchvisionSE(channels, channels // reduction).double()
    for theirs in (timms, visions):
        copy_linear(ours.reduce, theirs.fc1)
        copy_linear(ours.expand, theirs.fc2)
    x = randn(b, channels, h, w)
    torch.testing.assert_close(ours(x), timms(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours(x), visions(x), rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------ gates
GATES = {
    "se": lambda: SqueezeExcitation(32, 4),
    "cbam_channel": lambda: ChannelAttention(32, 4),
    "cbam_spatial": lambda: SpatialAttention(32, 3),
    "cbam": lambda: CBAM(32, 4, 3),
    "eca": lambda: EfficientChannelAttention(32),
    "ca": lambda: CoordinateAttention(32),
}


@pytest.mark.parametrize("name", GATES)
@settings(max_examples=15, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_gates_lie_between_0_and_1_and_are_what_x_is_multiplied_by(name, b, h, w):
    module, x = GATES[name]().double().eval(), randn(b, 32, h, w)
    seen = gates(module, x)
    assert all(((gate > 0) & (gate < 1)).all() for gate in seen.values())
    product = x
    for kind, gate in seen.items():
        shape = {"gate": (b, 32, 1, 1), "map": (b, 1, h, w), "row_gate": (b, 32, h, 1), "column_gate": (b, 32, 1, w)}
        product = product * gate.reshape(shape[kind])
    torch.testing.assert_close(module(x), product, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["se", "cbam_channel", "eca"])
@settings(max_examples=15, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_channel_gates_do_not_know_where_anything_is(name, b, h, w):
    module, x = GATES[name]().double(), randn(b, 32, h, w)
    shuffled = x.flatten(2)[:, :, torch.randperm(h * w)].view_as(x)
    torch.testing.assert_close(gates(module, shuffled)["gate"], gates(module, x)["gate"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cbam_spatial", "cbam", "ca"])
def test_the_others_know_where_things_are(name):
    module, x, order = GATES[name]().double().eval(), randn(2, 32, 5, 4), torch.randperm(20)
    shuffled, out = (t.flatten(2)[:, :, order] for t in (x, module(x)))
    assert (module(shuffled.view_as(x)).flatten(2) - out).norm() > 0.01 * out.norm()


def test_spatial_gates_do_not_know_which_channel_is_which():
    module, x = SpatialAttention(32).double(), randn(2, 32, 5, 4)
    shuffled = x[:, torch.randperm(32)]
    torch.testing.assert_close(gates(module, shuffled)["map"], gates(module, x)["map"], rtol=0, atol=1e-12)


def test_rows_and_columns_are_told_apart_and_change_places_with_the_image():
    """Coordinate attention of the mirrored image, with its two gates swapped, is the mirrored output."""
    module, x = CoordinateAttention(32).double().eval(), randn(2, 32, 5, 4)
    expected = module(x).mT
    assert (module(x.mT.contiguous()) - expected).norm() > 0.001 * expected.norm()
    module.expand_rows, module.expand_columns = module.expand_columns, module.expand_rows
    torch.testing.assert_close(module(x.mT.contiguous()), expected, rtol=0, atol=1e-12)


def test_coordinate_gates_move_with_their_rows_and_columns():
    module, x = CoordinateAttention(32).double().eval(), randn(2, 32, 5, 4)
    rows, columns = torch.randperm(5), torch.randperm(4)
    torch.testing.assert_close(module(x[:, :, rows][..., columns]), module(x)[:, :, rows][..., columns])


# ------------------------------------------------------------------------------------------ channels
def test_se_knows_every_channel_by_its_weights_only():
    se, x, order = SqueezeExcitation(32, 4).double(), randn(2, 32, 5, 4), torch.randperm(32)
    expected = se(x)[:, order]
    assert (se(x[:, order]) - expected).norm() > 0.001 * expected.norm()
    with torch.no_grad():
        se.reduce.weight.copy_(se.reduce.weight[:, order])
        se.expand.weight.copy_(se.expand.weight[order])
    torch.testing.assert_close(se(x[:, order]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_eca_depends_on_which_channels_are_neighbours(kernel_size):
    eca, x, order = EfficientChannelAttention(32, kernel_size).double(), randn(2, 32, 5, 4), torch.randperm(32)
    error = (eca(x[:, order]) - eca(x)[:, order]).norm() / x.norm()
    assert error < 1e-12 if kernel_size == 1 else error > 0.001


def test_eca_shifts_with_the_channels_except_at_the_ends():
    """Beyond the first and the last channel lies zero; those who want a circle have to close it themselves."""
    eca, x = EfficientChannelAttention(kernel_size=5).double(), randn(2, 32, 5, 4)
    expected, shifted = eca(x).roll(7, 1), eca(x.roll(7, 1))
    torch.testing.assert_close(shifted[:, 9:30], expected[:, 9:30], rtol=0, atol=1e-12)
    assert (shifted - expected).norm() > 1e-4 * expected.norm()
    closed, closed_shifted = (eca(torch.cat([x[:, -2:], x, x[:, :2]], 1))[:, 2:-2] for x in (x, x.roll(7, 1)))
    torch.testing.assert_close(closed_shifted, closed.roll(7, 1), rtol=0, atol=1e-12)


def test_each_eca_gate_sees_its_channel_and_as_many_on_either_side():
    eca, x = EfficientChannelAttention(32, 5).double(), randn(1, 32, 3, 3)
    for channel in (0, 1, 10, 31):
        changed = x.clone()
        changed[:, channel] += 1
        moved = (gates(eca, changed)["gate"] != gates(eca, x)["gate"])[0].nonzero().flatten().tolist()
        assert moved == list(range(max(0, channel - 2), min(31, channel + 2) + 1))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        *((c, 1) for c in (1, 2, 4, 7)),
        *((c, 3) for c in (8, 16, 32, 64, 127)),
        *((c, 5) for c in (128, 256, 512, 1024, 2047)),
        *((c, 7) for c in (2048, 4096, 32767)),
    ],
)
def test_adaptive_kernel_sizes_of_the_papers_formula(channels, expected):
    assert adaptive_kernel_size(channels) == expected
    assert EfficientChannelAttention(channels).conv.kernel_size == (expected,)
    assert parameters(EfficientChannelAttention(channels)) == expected


# ------------------------------------------------------------------------------------------ at the start
@pytest.mark.parametrize("channels", [16, 32, 48, 64])  # 1, 2, 3 and 4 hidden units
def test_no_se_is_born_dead(channels):
    x = torch.rand(64, channels, 4, 4)  # as behind a ReLU: never negative
    for seed in range(200):
        torch.manual_seed(seed)
        se = SqueezeExcitation(channels)
        se(x).square().sum().backward()
        assert se.reduce.weight.grad.abs().sum() > 0, seed


BORN = {
    "cbam_channel, 1 hidden unit": (16, ChannelAttention, "reduce.weight"),
    "cbam_channel, 2 hidden units": (32, ChannelAttention, "reduce.weight"),
    "cbam, 2 hidden units": (32, CBAM, "channel.reduce.weight"),
    "cbam_spatial": (32, SpatialAttention, "conv.weight"),
    "eca": (32, EfficientChannelAttention, "conv.weight"),
    "ca": (32, CoordinateAttention, "reduce.weight"),
}


@pytest.mark.parametrize("name", BORN)
def test_no_gate_is_born_dead(name):
    channels, mechanism, first = BORN[name]
    x = torch.rand(8, channels, 3, 3)
    for seed in range(200):
        torch.manual_seed(seed)
        module = mechanism(channels)
        with watch(module) as seen:
            module(x).square().sum().backward()
        assert module.get_parameter(first).grad.abs().sum() > 0, seed
        for weights in seen.values():
            assert all(gate.std(0).max() > 0 for gate in weights.values()), seed  # images differ in their gates


def test_pairs_start_opposite():
    weight = torch.randn(5, 7)
    first = weight.clone()
    start_in_pairs_(weight)
    assert torch.equal(weight[0:4:2], first[0:4:2]) and torch.equal(weight[1:4:2], -first[0:4:2])
    assert torch.equal(weight[4], first[4].abs())


# ------------------------------------------------------------------------------------------ costs
@pytest.mark.parametrize(("channels", "reduction"), [(512, 16), (64, 4), (48, 7), (3, 3)])
@pytest.mark.parametrize("mechanism", [SqueezeExcitation, ChannelAttention])
def test_channel_gates_cost_by_formula(mechanism, channels, reduction):
    hidden, module = channels // reduction, mechanism(channels, reduction)
    assert parameters(module) == 2 * channels * hidden
    times = 1 if mechanism is SqueezeExcitation else 2  # the mean, and the maximum
    assert macs(module, 3, channels, 5, 4) == 3 * times * 2 * channels * hidden


@pytest.mark.parametrize(("channels", "reduction", "kernel"), [(512, 16, 7), (64, 4, 3), (48, 7, 1)])
def test_cbam_costs_by_formula(channels, reduction, kernel):
    hidden, module = channels // reduction, CBAM(channels, reduction, kernel)
    assert parameters(module) == 2 * channels * hidden + 2 * kernel**2 + 1
    assert macs(module, 3, channels, 5, 4) == 3 * (4 * channels * hidden + 2 * kernel**2 * 20)
    assert parameters(module.spatial) == 2 * kernel**2 + 1


@pytest.mark.parametrize(("channels", "kernel"), [(512, 5), (64, 3), (9, 7)])
def test_eca_costs_by_formula(channels, kernel):
    module = EfficientChannelAttention(channels, kernel)
    assert parameters(module) == kernel and macs(module, 3, channels, 5, 4) == 3 * channels * kernel


@pytest.mark.parametrize(("channels", "reduction"), [(512, 32), (512, 16), (64, 32), (33, 2)])
def test_coordinate_attention_costs_by_formula(channels, reduction):
    hidden, module = max(8, channels // reduction), CoordinateAttention(channels, reduction)
    assert parameters(module) == 3 * channels * hidden + 3 * hidden + 2 * channels
    assert macs(module, 3, channels, 5, 4) == 3 * 2 * channels * hidden * (5 + 4)


def test_counts_that_papers_and_libraries_give():
    assert parameters(CBAM(512)) == 32_867
    assert parameters(CoordinateAttention(512)) == 25_648
    assert parameters(SqueezeExcitation(512)) == 32_768
    assert parameters(EfficientChannelAttention(512)) == 5


# ------------------------------------------------------------------------------------------ what others get wrong
def test_se_without_a_hidden_unit_is_refused():
    with pytest.raises(ValueError, match=r"reduction=16 .* from 1 to 8 .*channels=8"):
        SqueezeExcitation(8, reduction=16)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_fault_elsewhere_se_with_too_few_channels_silently_halves_everything():
    """Written as popular tutorials have it, C // r = 0 hidden units give σ(0) = 0.5 for every image, for ever."""
    fc = nn.Sequential(nn.Linear(8, 8 // 16, bias=False), nn.ReLU(), nn.Linear(8 // 16, 8, bias=False), nn.Sigmoid())
    x = torch.randn(3, 8, 5, 4)
    assert torch.equal(x * fc(x.mean((2, 3)))[:, :, None, None], 0.5 * x)
    assert sum(p.numel() for p in fc.parameters()) == 0


def test_fault_elsewhere_se_with_two_hidden_units_is_often_born_dead():
    """Drawn independently, both hidden units are zero for every image in about a quarter of all draws; see above."""
    x, dead = torch.rand(64, 32, 32, 32).mean((2, 3)), 0
    for seed in range(200):
        torch.manual_seed(seed)
        dead += bool((nn.Linear(32, 2, bias=False)(x) <= 0).all())
    assert 0.15 < dead / 200 < 0.35


@pytest.mark.parametrize("kernel_size", [2, 4, 6])
def test_fault_elsewhere_an_even_window_changes_the_size_of_the_map(kernel_size):
    """A tutorial's demo takes the window from the input's height; with 8 rows there is no gate for any position."""
    x = torch.randn(2, 2, 8, 8)
    gate = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)(x)
    assert gate.shape == (2, 1, 9, 9)
    with pytest.raises(RuntimeError):
        x * gate
    for mechanism in (SpatialAttention, EfficientChannelAttention):
        with pytest.raises(ValueError, match=f"kernel_size={kernel_size} is even"):
            mechanism(32, kernel_size=kernel_size)


# ------------------------------------------------------------------------------------------ the faster formulations
def same_values_and_gradients(ours, plain, inputs):
    y, expected = ours(*inputs), plain(*inputs)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
    weights = torch.randn_like(y)
    for a, b in zip(*(torch.autograd.grad(out, inputs, weights) for out in (y, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), sizes, sizes, sizes, st.sampled_from([(2, 3), (1,), (2,), (3,)]))
def test_mean_is_mean(b, c, h, w, dims):
    x = randn(b, c, h, w).requires_grad_()
    same_values_and_gradients(lambda x: mean(x, *dims), lambda x: x.mean(dims), [x])


def test_means_gradient_is_a_view_and_half_precision_does_not_overflow():
    x = torch.full((2, 3, 112, 112), 6.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(mean(x, 2, 3).sum(), x)
    assert gradient.untyped_storage().nbytes() == 2 * 3 * 4
    for dtype in (torch.float16, torch.bfloat16):
        assert mean(x.detach().to(dtype), 2, 3).dtype == dtype
        assert (mean(x.detach().to(dtype), 2, 3) == 6).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.sampled_from([1, 3, 9]))
def test_windows_times_the_kernel_are_conv1d(b, c, k):
    conv, line = EfficientChannelAttention(kernel_size=k).double().conv, randn(b, 1, c).requires_grad_()
    inputs = [line, *conv.parameters()]
    same_values_and_gradients(lambda line, *_: conv(line), lambda line, *_: nn.Conv1d.forward(conv, line), inputs)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), sizes, st.integers(1, 20))
def test_a_matrix_product_is_a_convolution_with_a_kernel_of_1(b, half, n):
    layer, x = CoordinateAttention(2 * half).double().reduce, randn(b, 2 * half, n).requires_grad_()
    inputs = [x, *layer.parameters()]
    same_values_and_gradients(lambda x, *_: layer(x), lambda x, *_: nn.Conv1d.forward(layer, x), inputs)


def tied(*shape: int) -> torch.Tensor:
    """Maps as they come from a ReLU: whole numbers, many of them equal, a dead channel, and one that is constant."""
    x = torch.randint(-2, 3, shape).relu().double()
    x[:, 0], x[:, 1] = 0, 1
    return x.requires_grad_()


@pytest.mark.parametrize("name", ["cbam", "cbam_channel", "cbam_spatial"])
def test_equally_large_values_get_the_same_gradients_eager_and_compiled(name):
    torch.compiler.reset()
    module, x = GATES[name]().double(), tied(2, 32, 5, 4)
    inputs, weights = [x, *module.parameters()], torch.randn_like(x)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for a, b in zip(*(torch.autograd.grad(way(x), inputs, weights) for way in (module, compiled)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), sizes, sizes, st.sampled_from([(2, 3), (1,), (2,)]))
def test_largest_is_amax_and_equally_large_values_share_its_gradient(b, h, w, dims):
    x = tied(b, 3, h, w)
    same_values_and_gradients(lambda x: largest(x, *dims), lambda x: x.amax(dims), [x])
    assert torch.autograd.gradgradcheck(lambda x: largest(x, *dims), randn(b, 3, h, w).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_gradient_shared_by_very_many_does_not_overflow(dtype):
    x = torch.zeros(1, 1, 300, 300, dtype=dtype, requires_grad=True)  # 90,000: more than fp16 can hold
    (gradient,) = torch.autograd.grad(largest(x, 2, 3), x, torch.full((1, 1), 900, dtype=dtype))
    torch.testing.assert_close(gradient, torch.full_like(x, 0.01))


# ------------------------------------------------------------------------------------------ the reduction left out
@pytest.mark.parametrize("channels", [*range(1, 41), 48, 64, 100, 512])
def test_a_reduction_that_is_left_out_works_for_every_number_of_channels(channels):
    x = torch.rand(2, channels, 3, 2)
    for mechanism, hidden in (
        (SqueezeExcitation, max(1, channels // 16)),
        (SEAttention, max(1, channels // 16)),
        (ChannelAttention, max(1, channels // 16)),
        (CoordinateAttention, max(8, channels // 32)),
        (CAAttention, max(8, channels // 16)),
    ):
        module = mechanism(channels)
        assert len(module.reduce.weight) == hidden and module(x).shape == x.shape
    for mechanism in (CBAM, CBAMAttention):
        module = mechanism(channels)
        assert len(module.channel.reduce.weight) == max(1, channels // 16) and module(x).shape == x.shape


# ------------------------------------------------------------------------------------------ other ways to run them
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_symbolic_trace_computes_the_same_for_maps_of_any_size(name, dtype):
    module = GATES[name]().eval().to(dtype)
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Identity(), module))
    traced.graph.lint()
    for shape in ((2, 32, 5, 4), (1, 32, 7, 9)):
        x = torch.randn(shape, dtype=dtype)
        assert torch.equal(traced(x), module(x))
