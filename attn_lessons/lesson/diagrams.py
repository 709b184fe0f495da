"""Block diagrams: what a module computes, with shapes at the arrows, and where it stands in a network."""

from itertools import pairwise

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .. import style

Point = tuple[float, float]
FILL = {"data": "white", "layer": "#E8E8E8", "learned": "#CFE6F3", "module": "#F7DFA8"}
WIDE, HIGH, ROUND, STEP = 1.75, 0.8, 0.27, (2.45, 1.35)  # a box, a circle; from one column and row to the next


def diagram(boxes: dict[str, tuple], arrows: list[tuple], size: tuple[float, float], ax: Axes | None = None) -> Figure:
    """Draw boxes and the arrows between them.

    Parameters
    ----------
    boxes : dict
        Name → (column, row, text, kind). Columns count from the left and rows from the top, fractions are fine; a text
        of one character, such as "×", becomes a circle. Kinds: "data", "layer", "learned" (has weights), "module".
    arrows : list of tuple
        (from, to) or (from, to, shape) or (from, to, shape, bend); `shape` is written at the arrow. `bend` is "" for a
        straight line, which turns once where columns and rows differ, and "over" or "under" for a way around.
    size : (width, height)
        Of the figure in inches.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Figure
        For `attn_lessons.style.show`, with a text that says what it shows.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=size)
    at = {name: (column * STEP[0], -row * STEP[1]) for name, (column, row, *_) in boxes.items()}
    half = {name: half_size(text, kind) for name, (*_, text, kind) in boxes.items()}
    for name, (*_, text, kind) in boxes.items():
        (x, y), (wide, high), pad = at[name], half[name], ROUND if half[name] == (ROUND, ROUND) else 0.08
        ax.add_patch(FancyBboxPatch(
            (x - wide + pad, y - high + pad), 2 * (wide - pad), 2 * (high - pad), boxstyle=f"round,pad={pad}", zorder=2,
            facecolor=FILL[kind], edgecolor="none" if kind == "data" else "black",
        ))  # fmt: skip
        ax.text(x, y, text, ha="center", va="center", fontsize=18 if len(text) == 1 else 12, zorder=3)
    for start, end, *rest in arrows:
        shape, bend = (*rest, "", "")[:2]
        path, (x, y) = way(at[start], at[end], half[start], half[end], bend)
        ax.plot(*zip(*path[:-1], strict=True), color="black", lw=1.6, zorder=1)
        line = {"arrowstyle": "-|>", "color": "black", "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", path[-1], path[-2], arrowprops=line, zorder=1)
        upright = at[start][0] == at[end][0] and not bend
        align = {"ha": "left", "va": "center"} if upright else {"ha": "center", "va": "bottom"}
        ax.text(x + 0.1 * upright, y + 0.07 * (not upright), shape, fontsize=12, color=style.BLUE, **align)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.autoscale_view()
    return ax.figure


def half_size(text: str, kind: str) -> Point:
    if len(text) == 1 and kind != "data":
        return ROUND, ROUND
    wide = 0.09 * max(map(len, text.split("\n"))) + 0.12 if kind == "data" else WIDE / 2
    return wide, HIGH / 2


def way(start: Point, end: Point, half_start: Point, half_end: Point, bend: str) -> tuple[list[Point], Point]:
    """The corners of an arrow from one box to another, and where its shape is written."""
    (x0, y0), (x1, y1) = start, end
    if bend:  # out at the top (or bottom), along, and in from there
        up = 1 if bend == "over" else -1
        along = up * (max(up * y0, up * y1) + 1.0)
        return [(x0, y0 + up * half_start[1]), (x0, along), (x1, along), (x1, y1 + up * half_end[1])], (
            (x0 + x1) / 2,
            along,
        )
    right, up = (1 if x1 > x0 else -1), (1 if y1 > y0 else -1)
    if y0 == y1:
        path = [(x0 + right * half_start[0], y0), (x1 - right * half_end[0], y1)]
    elif x0 == x1:
        path = [(x0, y0 + up * half_start[1]), (x1, y1 - up * half_end[1])]
    else:  # along the row first, then up or down
        path = [(x0 + right * half_start[0], y0), (x1, y0), (x1, y1 - up * half_end[1])]
    (xa, ya), (xb, yb) = path[:2]
    return path, ((xa + xb) / 2, (ya + yb) / 2)


def placements(module: str, resnet: str = "branch", mobilenet: str = "depthwise", title: str = "") -> None:
    """Show where a module stands in a VGG block, a ResNet block and an inverted bottleneck of a MobileNet.

    Parameters
    ----------
    module : str
        What is written into its box, such as "SE".
    resnet : {"branch", "3×3"}, default "branch"
        At the end of the residual branch, as SE, CBAM and ECA; or after the 3 × 3 convolution of a bottleneck, as
        coordinate attention.
    mobilenet : {"depthwise", "branch"}, default "depthwise"
        After the depthwise convolution, as SE in MobileNetV3; or at the end of the residual branch, as ECA in the
        MobileNetV2 of its authors.
    title : str, optional
        Of the figure.
    """
    new = (module, "module")
    vgg = [("conv 3×3\nBN, ReLU", "learned"), ("conv 3×3\nBN, ReLU", "learned"), new, ("max\npooling", "layer")]
    first, middle, last = (
        ("conv 1×1\nBN, ReLU", "learned"),
        ("conv 3×3\nBN, ReLU", "learned"),
        ("conv 1×1\nBN", "learned"),
    )
    block = [first, middle, last, new] if resnet == "branch" else [first, middle, new, last]
    mobile = [("conv 1×1\nexpands", "learned"), ("depthwise\nconv 3×3", "learned"), ("conv 1×1\nprojects", "learned")]
    mobile.insert(3 if mobilenet == "branch" else 2, new)
    boxes, arrows = {}, []
    for row, (family, parts) in enumerate({"VGG": vgg, "ResNet": block, "MobileNet": mobile}.items()):
        skip = family != "VGG"
        add = [("+", "layer")] * skip + [("ReLU", "layer")] * (family == "ResNet")
        parts = [(f"{family}\nblock, x", "data"), *parts, *add, ("out", "data")]
        names = [f"{family} {i}" for i in range(len(parts))]
        boxes |= {name: (i, 1.6 * row, *part) for i, (name, part) in enumerate(zip(names, parts, strict=True))}
        arrows += pairwise(names)
        if skip:
            arrows.append((names[0], names[parts.index(("+", "layer"))], "skip: x itself", "over"))
    where = {
        "VGG": "before the pooling",
        "ResNet": "before the addition",
        "MobileNet": "after the depthwise convolution",
    }
    if resnet == "3×3":
        where["ResNet"] = "after the 3 × 3 convolution"
    if mobilenet == "branch":
        where["MobileNet"] = "after the projection, before the addition"
    stands = ", ".join(f"in a {family} block {place}" for family, place in where.items())
    figure = diagram(boxes, arrows, (12, 7))
    figure.axes[0].set_title(title, fontsize=16)
    style.show(figure, f"Block diagrams of where {module} stands: {stands}.")
