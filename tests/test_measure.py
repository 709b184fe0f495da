"""Measuring: counts by formula, seconds side by side, bytes of tensors that are alive."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from attn_lessons import measure
from attn_lessons.measure import latency, macs, parameters, peak_memory
from attn_lessons.models import GlyphNet, SmallCNN


# ------------------------------------------------------------------------------------------ parameters
def test_parameters_are_those_that_are_trained():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Linear(7, 2))
    assert parameters(model) == (3 * 8 * 25 + 8) + (8 + 8) + (7 * 2 + 2)
    model[2].requires_grad_(False)
    assert parameters(model) == (3 * 8 * 25 + 8) + (8 + 8)


def test_a_module_without_parameters_costs_nothing():
    assert parameters(nn.ReLU()) == 0 and macs(nn.ReLU(), 2, 3, 4, 4) == 0


# ------------------------------------------------------------------------------------------ MACs
@pytest.mark.parametrize(("batch", "inputs", "outputs"), [(1, 10, 3), (5, 7, 11)])
@pytest.mark.parametrize("bias", [True, False])
def test_macs_of_a_linear_layer_by_formula(batch, inputs, outputs, bias):
    assert macs(nn.Linear(inputs, outputs, bias), batch, inputs) == batch * inputs * outputs


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 4), (3, 1, 8)])
def test_macs_of_a_convolution_by_formula(kernel, stride, groups):
    conv = nn.Conv2d(8, 16, kernel, stride, padding=kernel // 2, groups=groups)
    positions = (12 // stride) * (20 // stride)
    assert macs(conv, 2, 8, 12, 20) == 2 * positions * 16 * (8 // groups) * kernel**2


def test_macs_add_up_and_leave_no_gradients():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    assert macs(model, 3, 4) == 3 * (4 * 6 + 6 * 2)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("network", "size"), [(GlyphNet, 64), (SmallCNN, 32)])
def test_macs_are_the_same_in_every_dtype(network, size, dtype):
    assert macs(network().to(dtype), 1, 3, size, size) == macs(network(), 1, 3, size, size)


def test_macs_of_one_image_in_training_mode():
    assert macs(GlyphNet(), 1, 3, 64, 64) == macs(GlyphNet().eval(), 1, 3, 64, 64)


def test_macs_leave_a_network_as_it_was():
    model = SmallCNN()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    macs(model, 2, 3, 32, 32)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ------------------------------------------------------------------------------------------ seconds
def test_latency_by_a_clock_that_is_known(monkeypatch):
    """A machine that gets busier all the time: milliseconds rise, the ratio stays."""
    clock = SimpleNamespace(now=0.0, slow=1.0)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def work(ms):
        clock.now += 1e-3 * ms * clock.slow

    def slower_and_slower():
        clock.slow *= 1.0001
        work(2)

    table = latency({"fast": slower_and_slower, "slow": lambda: work(20)}, rounds=8)
    assert table.index.tolist() == ["fast", "slow"]
    assert table.columns.tolist() == ["ms", "times_first", "low", "high"]
    assert table.loc["fast", ["times_first", "low", "high"]].tolist() == [1.0, 1.0, 1.0]
    assert table.loc["slow", ["times_first", "low", "high"]].tolist() == pytest.approx([10] * 3, rel=0.01)
    assert table.ms.tolist() == pytest.approx([2, 20], rel=0.01)


def test_a_quick_function_is_called_several_times_per_timing():
    calls = {"quick": 0, "slow": 0}

    def quick():
        calls["quick"] += 1

    def slow():
        calls["slow"] += 1
        sum(range(400_000))

    latency({"quick": quick, "slow": slow}, rounds=2)
    assert calls["quick"] > 20 * calls["slow"]


def test_ten_times_the_work_takes_longer():
    table = latency({"little": lambda: sum(range(30_000)), "much": lambda: sum(range(300_000))}, rounds=7)
    assert table.times_first["little"] == 1.0 and table.times_first["much"] > 3
    assert (table.low <= table.times_first).all() and (table.times_first <= table.high).all()


def test_latency_uses_one_thread_and_gives_the_others_back():
    before, seen = torch.get_num_threads(), set()
    try:
        torch.set_num_threads(3)
        latency({"one": lambda: seen.add(torch.get_num_threads())}, rounds=1)
        assert seen == {1} and torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError):
            latency({"broken": lambda: 1 / 0})
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------ bytes
def held_together():
    kept = [torch.zeros(1000), torch.zeros(500, dtype=torch.float64), torch.zeros(7, dtype=torch.uint8)]
    return sum(len(tensor) for tensor in kept)


def one_after_the_other():
    for n in (1000, 3000, 2000):
        torch.zeros(n)


def seen_differently():
    x = torch.zeros(10, 100)
    return x.view(100, 10), x.t(), x[2:], x.unsqueeze(0).expand(50, 10, 100)


def changed_in_place():
    torch.zeros(1000).add_(1).mul_(2)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (held_together, 4000 + 4000 + 7),
        (one_after_the_other, 12_000),
        (seen_differently, 4000),
        (changed_in_place, 4000),
        (lambda: None, 0),
    ],
)
def test_peak_memory_of_known_tensors_twice(function, expected):
    assert peak_memory(function) == expected
    assert peak_memory(function) == expected


def test_peak_memory_does_not_count_what_was_there_before():
    x = torch.zeros(1000)
    assert peak_memory(lambda: x.view(10, 100)[3].t()) == 0
    assert peak_memory(lambda: x + 1) == 4000


def test_peak_memory_counts_what_is_kept_for_the_backward_pass():
    x = torch.zeros(1000, requires_grad=True)
    with torch.no_grad():
        assert peak_memory(lambda: x.exp().exp().exp().exp()) == 2 * 4000
    assert peak_memory(lambda: x.exp().exp().exp().exp()) == 4 * 4000


def test_peak_memory_of_attention_over_all_positions():
    x = torch.zeros(1, 100, 8)
    assert peak_memory(lambda: x @ x.transpose(1, 2)) == 4 * 100 * 100
