"""How fast the course's modules are beside trusted ones: `make bench`.

Same shapes, same input, forward and backward, one thread, interleaved in one process. A ratio above 1 means that the
course's module is faster; medians of the ratios of every round, with their quartiles.
"""

import pandas as pd
import torch
from timm.layers import SqueezeExcite
from torchvision.ops import SqueezeExcitation as TorchvisionSE

from attn_lessons.attention import SqueezeExcitation
from attn_lessons.measure import latency

SHAPES = ((16, 256, 32, 32), (8, 64, 112, 112))
ROUNDS = 15


def forward_and_backward(module: torch.nn.Module, x: torch.Tensor):
    def step():
        module(x).backward(torch.ones_like(x))

    return step


def rivals(channels: int) -> dict[str, torch.nn.Module]:
    """The reference of the ratios comes first."""
    hidden = channels // 16
    return {
        "timm": SqueezeExcite(channels, rd_channels=hidden, bias=False),
        "torchvision": TorchvisionSE(channels, hidden),
        "attn_lessons": SqueezeExcitation(channels, 16),
        "attn_lessons, compiled": torch.compile(SqueezeExcitation(channels, 16)),
    }


def main() -> None:
    torch.set_num_threads(1)
    for shape in SHAPES:
        x = torch.randn(shape, requires_grad=True)
        table = latency({name: forward_and_backward(m, x) for name, m in rivals(shape[1]).items()}, ROUNDS)
        faster = pd.DataFrame(
            {"ms": table.ms, "× timm": 1 / table.times_first, "low": 1 / table.high, "high": 1 / table.low}
        )
        print(
            f"SE at {'×'.join(map(str, shape))}, forward + backward, {ROUNDS} rounds\n{faster.round(2)}\n", flush=True
        )


if __name__ == "__main__":
    main()
