"""How fast the course's modules are beside trusted ones: `make bench`. Writes ``results/bench_attention.csv``.

Gates: against timm's, forward and backward. Global attention: against softmax attention that holds its N × N matrix, at
N = 3,136, and against itself from N = 256 to 50,176. One thread, all rivals of a row interleaved in one process; a
ratio is the median over the rounds of one round's ratio, and above 1 the course's module is faster.

An N × N matrix of this size is memory that the operating system hands out anew, page by page and cleared, at every
step, which takes its own time. So softmax attention is timed twice: as it runs, and with the memory kept.
"""

import ctypes
import datetime
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from timm.layers import EcaModule, SqueezeExcite
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn

from attn_lessons.attention import SelfAttention, build_attention
from attn_lessons.measure import latency, peak_memory
from attn_lessons.training import progress_bar

RESULTS = Path(__file__).resolve().parent.parent / "results" / "bench_attention"
COMPILED = {  # how, and the compiler's options
    # Left alone, the compiler rearranges all of x in memory to please one small convolution.
    "compiled": {"layout_optimization": False},
    "compiled, 256 bits": {"layout_optimization": False, "cpp.simdlen": 256},  # a vector; 512 where the CPU has them
}
SHAPES = ((16, 256, 32, 32), (8, 64, 112, 112))
ROUNDS = 15
TIMM = {  # the same hidden widths and kernel sizes as the course's modules have
    "se": lambda channels: SqueezeExcite(channels, rd_channels=channels // 16, bias=False),
    "eca": lambda channels: EcaModule(channels),
    "cbam": lambda channels: CbamModule(channels, rd_channels=channels // 16),
    "ca": lambda channels: CoordAttn(channels, rd_channels=max(8, channels // 32), bias=True),
}
GLOBAL = ("self", "linear", "efficient", "performer", "linformer", "deformable", "deformable, stride 4")
SIDES = (16, 28, 56, 112, 224)  # N = 256 … 50,176
LINEAR = ("linear", "efficient", "performer", "linformer")
M_MMAP_MAX = -4  # of mallopt, in glibc's malloc.h: how many pieces of memory may come straight from the system


class ExplicitSoftmax(SelfAttention):
    """Self-attention as lesson 06 writes it down first."""

    def attend(self, q, k, v):
        return self.weights(q, k) @ v


def step(module: torch.nn.Module, x: torch.Tensor):
    """Forward and backward, without adding up gradients from step to step."""
    inputs, gradient = [x, *module.parameters()], torch.randn_like(x)
    return lambda: torch.autograd.grad(module(x), inputs, gradient)


def build(name: str, channels: int, side: int) -> torch.nn.Module:
    name, _, stride = name.partition(", stride ")
    options = {"size": (side, side)} if name == "linformer" else {"stride": int(stride)} if stride else {}
    return build_attention(name, channels, **options)


def gates(name: str, shape: tuple[int, ...]) -> pd.DataFrame:
    torch.compiler.reset()  # or a second shape looks like one of many to the compiler, which then prepares for any size
    x = torch.randn(shape, requires_grad=True)
    ours = build_attention(name, shape[1])
    rivals = {"timm": TIMM[name](shape[1]), "eager": ours}
    rivals |= {how: torch.compile(ours, options=options) for how, options in COMPILED.items()}
    return latency({how: step(module, x) for how, module in rivals.items()}, ROUNDS)


def beside_softmax(name: str, side: int = 56, channels: int = 64) -> pd.DataFrame:
    x = torch.randn(1, channels, side, side, requires_grad=True)
    rivals = {"softmax": ExplicitSoftmax(channels), name: build(name, channels, side)}
    return latency({how: step(module, x) for how, module in rivals.items()}, 5)


def scaling(name: str, channels: int = 64) -> list[dict]:
    """Milliseconds and bytes against N; every round times all sizes."""
    steps = {}
    for side in SIDES:
        x = torch.randn(1, channels, side, side, requires_grad=True)
        steps[side] = step(build(name, channels, side), x)
    times = latency(steps, 5)
    return [{"N": side * side, "ms": times.ms[side], "MiB": peak_memory(steps[side]) / 2**20} for side in SIDES]


def slope(rows: list[dict]) -> float:
    """Of log(ms) against log(N), over all sizes: 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log([row["N"] for row in rows]), np.log([row["ms"] for row in rows]), 1)[0])


def keep_memory() -> bool:
    """Have the C library keep what is freed, however large, and hand it out again. False where it cannot: not glibc."""
    try:
        return bool(ctypes.CDLL("libc.so.6").mallopt(M_MMAP_MAX, 0))
    except OSError:
        return False


def measure() -> pd.DataFrame:
    rows = []
    with progress_bar(2 * len(GLOBAL) + len(LINEAR) + len(TIMM) * len(SHAPES), "bench") as bar:

        def against_softmax(what: str) -> None:
            for name in GLOBAL:
                rows.append(row(name, "eager", what, "N = 3,136", beside_softmax(name).loc[name]))
                bar.update()

        against_softmax("× softmax")  # first of all: what other rows leave behind would serve for some of its matrices
        for name in LINEAR:
            sizes = scaling(name)
            rows += [{"module": name, "how": "eager", "what": "scaling", "at": f"N = {r['N']:,}", **r} for r in sizes]
            rows.append({"module": name, "what": "slope", "at": "N = 256 … 50,176", "median": slope(sizes)})
            bar.update()
        for name in TIMM:
            for shape in SHAPES:
                table = gates(name, shape)
                for how in ("eager", *COMPILED):
                    rows.append(row(name, how, "× timm", "×".join(map(str, shape)), table.loc[how]))
                bar.update()
        if keep_memory():
            against_softmax("× softmax, memory kept")
        else:
            bar.write("bench: only glibc can be told to keep memory, so there are no rows with the memory kept.")
    return pd.DataFrame(rows).drop(columns="N").round(3)


def row(name: str, how: str, what: str, where: str, timed: pd.Series) -> dict:
    ratios = {"median": 1 / timed.times_first, "low": 1 / timed.high, "high": 1 / timed.low}
    return {"module": name, "how": how, "what": what, "at": where, "ms": timed.ms, **ratios}


def main() -> None:
    torch.set_num_threads(1)
    table = measure()
    header = {
        "command": "make bench",
        "date": datetime.date.today().isoformat(),
        "hardware": f"CPU ({platform.machine()}), one thread",
        "rounds": ROUNDS,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__},
    }
    table.to_csv(RESULTS.with_suffix(".csv"), index=False)
    RESULTS.with_suffix(".json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
    for what, part in table.groupby("what", sort=False):
        print(f"\n{what}\n{part.drop(columns='what').dropna(axis=1, how='all').round(2).to_string(index=False)}")


if __name__ == "__main__":
    main()
