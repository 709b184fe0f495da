"""Mechanisms: equal to trusted libraries with the same weights, and their properties on random shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import SqueezeExcite
from torch import nn
from torchvision.ops import SqueezeExcitation as TorchvisionSE

from attn_lessons.attention import MECHANISMS, SEAttention, SqueezeExcitation, build_attention, watch
from attn_lessons.attention.se import start_in_pairs_

sizes = st.integers(1, 9)
TRAINABLE = [name for name in MECHANISMS if name != "none"]


def copy_linear(source: nn.Linear, target: nn.Conv2d) -> None:
    with torch.no_grad():
        target.weight.copy_(source.weight[:, :, None, None])
        if target.bias is not None:
            target.bias.copy_(torch.zeros(()) if source.bias is None else source.bias)


# ------------------------------------------------------------------------------------------ every mechanism
@pytest.mark.parametrize("name", MECHANISMS)
@settings(max_examples=25, deadline=None)
@given(b=sizes, h=sizes, w=sizes, dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_keeps_shape_and_dtype(name, b, h, w, dtype):
    x = torch.randn(b, 32, h, w, dtype=dtype)
    out = build_attention(name, 32).to(dtype)(x)
    assert out.shape == x.shape and out.dtype == dtype


@pytest.mark.parametrize("name", MECHANISMS)
def test_keeps_memory_format(name):
    x = torch.randn(2, 32, 5, 4).contiguous(memory_format=torch.channels_last)
    assert build_attention(name, 32)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", TRAINABLE)
def test_compiles_to_one_graph_and_exports(name):
    module, x = build_attention(name, 32).eval(), torch.randn(2, 32, 5, 4)
    expected = module(x)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")(x)
    assert torch.allclose(compiled, expected, atol=1e-6)
    assert torch.allclose(torch.export.export(module, (x,)).module()(x), expected, atol=1e-6)


@pytest.mark.parametrize("name", TRAINABLE)
def test_autocast_is_finite(name):
    module, x = build_attention(name, 32), 100 * torch.randn(2, 32, 5, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        module(x).float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("name", TRAINABLE)
def test_bad_input_is_one_clear_sentence(name):
    module = build_attention(name, 32)
    for bad, error, words in (
        (torch.rand(2, 32, 5), ValueError, "shape (2, 32, 5)"),
        (torch.rand(2, 16, 5, 5), ValueError, "channels=32"),
        (torch.ones(2, 32, 5, 5, dtype=torch.uint8), TypeError, "torch.uint8"),
    ):
        with pytest.raises(error) as raised:
            module(bad)
        assert words in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("channels", [0, -3, 2.5, "64", True])
def test_bad_channels(name, channels):
    with pytest.raises((ValueError, TypeError), match="channels="):
        build_attention(name, channels)


def test_unknown_mechanism_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'sse'.*'se'"):
        build_attention("sse", 64)


def test_your_own_class_is_a_mechanism():
    assert isinstance(build_attention(nn.BatchNorm2d, 8), nn.BatchNorm2d)


# ------------------------------------------------------------------------------------------ looking
def test_watching_shows_the_weights_and_leaves_nothing_behind():
    se, x = SqueezeExcitation(32), torch.rand(3, 32, 4, 4)
    with watch(nn.Sequential(nn.Identity(), se)) as seen:
        out = se(x)
    gate = seen["1"]["gate"]
    assert torch.equal(out, x * gate[:, :, None, None]) and not gate.requires_grad
    se(x + 1)
    assert torch.equal(seen["1"]["gate"], gate)  # the block is over
    assert se._record is None


def test_watching_ends_after_an_error():
    se = SqueezeExcitation(32)
    with pytest.raises(RuntimeError, match="stop"), watch(se):
        raise RuntimeError("stop")
    assert se._record is None


# ------------------------------------------------------------------------------------------ SE
@settings(max_examples=20, deadline=None)
@given(b=sizes, h=sizes, w=sizes, half=st.integers(1, 12), reduction=st.integers(1, 8), bias=st.booleans())
def test_se_equals_timm_and_torchvision(b, h, w, half, reduction, bias):
    channels = half * reduction
    ours = SqueezeExcitation(channels, reduction, bias=bias).double()
    timms = SqueezeExcite(channels, rd_channels=channels // reduction, bias=bias).double()
    visions = TorchvisionSE(channels, channels // reduction).double()
    for theirs in (timms, visions):
        copy_linear(ours.reduce, theirs.fc1)
        copy_linear(ours.expand, theirs.fc2)
    x = torch.randn(b, channels, h, w, dtype=torch.float64)
    torch.testing.assert_close(ours(x), timms(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours(x), visions(x), rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_se_gates_lie_between_0_and_1_and_ignore_where(b, h, w):
    se, x = SqueezeExcitation(32, 4).double(), torch.randn(b, 32, h, w, dtype=torch.float64)
    shuffled = x.flatten(2)[:, :, torch.randperm(h * w)].view_as(x)
    with watch(se) as seen:
        se(x)
        gate = seen[""]["gate"]
        se(shuffled)
    assert ((gate > 0) & (gate < 1)).all()
    torch.testing.assert_close(seen[""]["gate"], gate)


@pytest.mark.parametrize(("channels", "reduction"), [(512, 16), (64, 4), (48, 7), (3, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_se_parameters_by_formula(channels, reduction, bias):
    hidden = channels // reduction
    expected = 2 * channels * hidden + bias * (channels + hidden)
    assert sum(p.numel() for p in SqueezeExcitation(channels, reduction, bias).parameters()) == expected


def test_se_without_a_hidden_unit_is_refused():
    with pytest.raises(ValueError, match=r"reduction=16 .* from 1 to 8 .*channels=8"):
        SqueezeExcitation(8, reduction=16)


@pytest.mark.parametrize("channels", [16, 32, 48, 64])  # 1, 2, 3 and 4 hidden units
def test_no_se_is_born_dead(channels):
    x = torch.rand(64, channels, 4, 4)  # as behind a ReLU: never negative
    for seed in range(200):
        torch.manual_seed(seed)
        se = SqueezeExcitation(channels)
        se(x).square().sum().backward()
        assert se.reduce.weight.grad.abs().sum() > 0, seed


def test_pairs_start_opposite():
    weight = torch.randn(5, 7)
    first = weight.clone()
    start_in_pairs_(weight)
    assert torch.equal(weight[0:4:2], first[0:4:2]) and torch.equal(weight[1:4:2], -first[0:4:2])
    assert torch.equal(weight[4], first[4].abs())


def test_the_tutorials_call_works():
    se = SEAttention(channel=512, reduction=16)
    assert se(torch.rand(50, 512, 7, 7)).shape == (50, 512, 7, 7)
    assert sum(p.numel() for p in se.parameters()) == 32_768
