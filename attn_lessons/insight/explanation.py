"""Where a trained network looks in a photograph, as a figure.

Imported by its own name, because pytorch-grad-cam takes seconds to import. Used in docs/your_images.md.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from .. import style
from ..attention import watch
from .cam import cam, overlay
from .localise import spatial_map
from .photographs import class_probabilities, read_photograph, size_of_images

ON_PAPER = 480  # pixels: the longer side of a photograph in a figure


def explained(network: nn.Module, photo: str | os.PathLike) -> tuple[Figure, str]:
    """Draw a photograph, Grad-CAM of its most probable class over it, and the gates of the attention.

    Parameters
    ----------
    network : nn.Module
        As for `attn_lessons.insight.classify`.
    photo : path
        Shown in its own proportions; the network sees it resized to a square.

    Returns
    -------
    (matplotlib.figure.Figure, str)
        The figure, and its alt text. The gates are the last spatial ones, over the photograph; of attention that has
        none, those of the channels, sorted.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image to read, or the network does not say how large its images are.
    """
    small = read_photograph(photo, size_of_images(network))[None]
    with watch(network) as seen:
        best = class_probabilities(network, small).iloc[0].nlargest(1)
    shown = for_paper(read_photograph(photo))
    answer = f"{best.index[0]}, {100 * best.iloc[0]:.0f} %"
    fig, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    style.show_image(shown, axes[0], Path(photo).name)
    overlay(shown, cam(network, small)[0], axes[1], f"Grad-CAM: {answer}")
    gates = draw_gates(shown, seen, axes[2])
    return fig, f"The photograph {Path(photo).name}; Grad-CAM of its class over it, {answer}; {gates}."


def for_paper(image: torch.Tensor) -> torch.Tensor:
    """No side longer than `ON_PAPER`, the proportions as they are."""
    height, width = (max(1, round(side * min(1, ON_PAPER / max(image.shape[1:])))) for side in image.shape[1:])
    resized = nn.functional.interpolate(image[None].float(), size=(height, width), mode="bilinear", antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def draw_gates(image: torch.Tensor, seen: dict[str, dict[str, torch.Tensor]], ax: Axes) -> str:
    """The last spatial gates over the image; where there are none, the gates of the channels, sorted; says what."""
    spatial = [name for name, weights in seen.items() if {"map", "row_gate"} & weights.keys()]
    channels = {name: weights["gate"][0].flatten() for name, weights in seen.items() if "gate" in weights}
    if spatial:
        gates = spatial_map({"": seen[spatial[-1]]})[0]
        scaled = (gates - gates.min()) / (gates.max() - gates.min()).clamp(min=1e-9)
        overlay(image, scaled, ax, f"spatial gates {gates.min():.2f} (dark) to {gates.max():.2f}")
        return "the spatial gates of its last attention over it"
    for i, (name, gate) in enumerate(channels.items()):
        position = torch.linspace(0, 100, len(gate))
        ax.plot(position, gate.sort().values.cpu(), color=str(0.75 - 0.75 * (i + 1) / len(channels)), label=name)
    if not channels:
        ax.set_axis_off()
        ax.set_title("attention without gates" if seen else "no attention")
        return "it has no gates"
    ax.set(title="gates of the channels", xlabel="% of the channels, by their gate", ylabel="gate")
    if len(channels) <= 4:
        ax.legend(fontsize=9)
    else:
        ax.text(0.02, 0.95, "light: first module · dark: last", transform=ax.transAxes, color=style.GREY)
    return "the gates of the channels of each module, sorted"
