"""What GlyphWorld's puzzles draw with: chance that is the same on every machine, sprites, and scenes.

Everything is drawn with integers, from the words of a bit generator, so that one seed gives the same bytes on every
machine. Lesson 01 introduces the images.
"""

from functools import cache
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SIZE = 64  # pixels along each side
SHAPES = ("disc", "plus", "triangle", "moon", "star")
DISC, PLUS, TRIANGLE, MOON, STAR = range(5)  # the star is only ever a cue
CLASSES = SHAPES[:4]
ORANGE, SKY, GREEN, YELLOW, RED, PINK, BLUE = COLORS = np.array(  # Okabe and Ito: safe for the colour-blind
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178)]
)
WHITE = np.array((255, 255, 255))
CHIP_COLORS = np.stack([RED, SKY, GREEN, YELLOW])
NIGHT = (25, 28, 51)  # darkest level of red, green and blue in the background


# ------------------------------------------------------------------------------------------------ chance
class Draw:
    """Random numbers for images `first` to `first` + `n` − 1, the same on every machine and with every numpy.

    numpy promises that the raw words of a bit generator never change, and promises nothing for its distributions: hence
    words and integer arithmetic only. Every call opens a stream of its own, and every image reads it at its own
    position: an image stays what it is, however many are drawn, and in whatever chunks.
    """

    def __init__(self, key: list[int], first: int, n: int):
        self.key, self.first, self.n, self.calls = key, first, n, 0

    def words(self, *shape: int) -> np.ndarray:
        """uint64 (n, *shape), all 64 bits random."""
        each = int(np.prod(shape))
        stream = np.random.PCG64([*self.key, self.calls]).advance(self.first * each)
        self.calls += 1
        return stream.random_raw(self.n * each).reshape(self.n, *shape)

    def bytes(self, count: int) -> np.ndarray:
        """uint8 (n, count), from 0 to 255; `count` is a multiple of 8."""
        return self.words(count // 8).astype("<u8").view(np.uint8)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """int64 (n, *shape), uniform from `low` to `high` − 1."""
        half = np.uint64(32)
        return ((self.words(*shape) >> half) * np.uint64(high - low) >> half).astype(np.int64) + low

    def shuffled(self, k: int) -> np.ndarray:
        """int64 (n, k): in each row 0 to k − 1, in random order."""
        return self.words(k).argsort(axis=1, kind="stable")


# ------------------------------------------------------------------------------------------------ sprites
def depth(shape: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How deep (x, y) lies inside a shape of radius 1 around the origin; negative outside. y points down."""
    if shape == DISC:
        return 0.85 - np.hypot(x, y)
    if shape == PLUS:
        return np.minimum(0.9 - np.maximum(abs(x), abs(y)), 0.3 - np.minimum(abs(x), abs(y)))
    if shape == TRIANGLE:
        return np.minimum.reduce([0.6 - y, 0.42 + 0.91 * x + 0.5 * y, 0.42 - 0.91 * x + 0.5 * y])
    if shape == MOON:
        return np.minimum(0.9 - np.hypot(x, y), np.hypot(x - 0.45, y + 0.1) - 0.62)
    angles = 2 * np.pi * (np.arange(5) / 5 + 0.25)  # the star: within four of the five lines of a pentagram
    return np.sort([0.35 - x * np.cos(a) - y * np.sin(a) for a in angles], axis=0)[1]


def rounded_box(x: np.ndarray, y: np.ndarray, width: float, height: float, radius: float) -> np.ndarray:
    """`depth` for a box with round corners, in pixels."""
    dx, dy = abs(x) - width / 2 + radius, abs(y) - height / 2 + radius
    return radius - np.hypot(dx.clip(0), dy.clip(0)) - np.maximum(dx, dy).clip(max=0)


def grid(height: int, width: int, fine: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """x and y, in pixels from the centre, of fine × fine samples in every pixel.

    A small shift keeps every sample off every edge, so that no rounding can decide what is inside.
    """
    y = (np.arange(height * fine) + 0.5) / fine - height / 2 + np.sqrt(2) / 1000
    x = (np.arange(width * fine) + 0.5) / fine - width / 2 + np.sqrt(3) / 1000
    return x[None, :], y[:, None]


def coverage(inside: np.ndarray, fine: int = 8) -> np.ndarray:
    """Which part of each pixel is inside, from 0 to 256."""
    return inside.reshape(len(inside) // fine, fine, -1, fine).sum((1, 3)) * 256 // fine**2


def flat(covered: np.ndarray) -> np.ndarray:
    """A sprite without light: (2, h, w). A pixel becomes (old · sprite[0] + color · sprite[1]) / 256."""
    return np.stack([256 - covered, covered]).astype(np.int32)


def lit(covered: np.ndarray) -> np.ndarray:
    """A sprite lit from above: darker towards its lower edge, with a soft shadow below it."""
    size = len(covered)
    light = 256 - 56 * np.arange(size)[:, None] // (size - 1)
    above = np.pad(covered, ((3, 0), (1, 1)))
    shadow = sum(above[i : i + size, j : j + size] for i in range(3) for j in range(3)) // 16
    return np.stack([(256 - covered) * (256 - shadow) // 256, covered * light // 256]).astype(np.int32)


@cache
def glyph_sprites(radii: tuple[float, ...], turns: tuple[float, ...], size: int, fine: int = 8) -> np.ndarray:
    """A lit sprite of each shape with each radius in pixels, turned clockwise by each angle in degrees.

    (5, len(radii) · len(turns), 2, size, size)
    """
    x, y = grid(size, size, fine)
    sprites = []
    for shape, radius, turn in product(range(len(SHAPES)), radii, np.deg2rad(turns)):
        c, s = np.cos(turn) / radius, np.sin(turn) / radius
        sprites.append(lit(coverage(depth(shape, x * c + y * s, y * c - x * s) > 0, fine)))
    return np.reshape(sprites, (len(SHAPES), -1, 2, size, size))


GLYPHS = {"radii": (5.6, 6.1, 6.6), "turns": (-20, -10, 0, 10, 20), "size": 17}
CHIP = flat(coverage(rounded_box(*grid(11, 11), 11, 11, 2) > 0))
ROW_TICK = flat(coverage(rounded_box(*grid(13, 5), 4, 13, 1.5) > 0))
COLUMN_TICK = ROW_TICK.swapaxes(1, 2)
FRAME = flat(coverage((rounded_box(*grid(31, 31), 31, 31, 4) > 0) & (rounded_box(*grid(31, 31), 29, 29, 3) < 0)))


def backdrop() -> np.ndarray:
    """Weights that spread a 4×4 grid smoothly over the image: (16, 64 · 64), whole numbers that add up to 1024."""
    cell, step = np.divmod(np.arange(SIZE)[:, None], 21)
    weight = 32 * step**2 * (63 - 2 * step) // 21**3
    knot = np.arange(4)
    along = (32 - weight) * (knot == cell) + weight * (knot == cell + 1)  # (64, 4)
    return np.kron(along, along).T.astype(np.float32)


BACKDROP = backdrop()


# ------------------------------------------------------------------------------------------------ a scene
class Scene:
    """`n` images that a puzzle draws on, all at once: what stands for one image is an array with n rows.

    Attributes
    ----------
    n : int
    draw : Draw
        The only source of chance a puzzle may use.
    classes : tuple of str
        The four shapes; a puzzle that uses fewer says so here.
    has_cue : bool
        A puzzle of several candidates without a cue, whose label nothing in the image tells, sets this to False.
    """

    def __init__(self, draw: Draw, swap_cue: bool = False):
        self.n, self.draw, self.swap_cue, self.classes, self.has_cue = draw.n, draw, swap_cue, CLASSES, True
        colors = 4 * np.array(NIGHT)[:, None] + draw.integers(0, 104, 3, 16)  # in quarters of a level
        smooth = colors.reshape(-1, 16).astype(np.float32) @ BACKDROP  # whole and below 2**24: exact in any order
        smooth = (smooth * 2**-11).astype(np.int16).reshape(self.n, 3, -1)  # in halves of a level
        draws = draw.bytes(SIZE * SIZE)[:, None]
        grain = (draws >> 4).astype(np.int16) + (draws & 15) - 15  # two dice: −15 to 15, most often 0
        self.pixels = ((smooth + grain) >> 1).astype(np.uint8).reshape(self.n, 3, SIZE, SIZE)
        self.owner = np.zeros((self.n, 1, SIZE, SIZE), np.int8)  # 0 background, −1 cue, k + 1 candidate k
        self.drawn = {}  # candidate → how many of its pixels were drawn in each image, also if covered later

    def choose(self, shapes: np.ndarray) -> np.ndarray:
        """Which candidate the cue names, at random; with a swapped cue, another one, of another shape.

        `shapes` (n, K) are the shapes of the candidates; returns (n,), each from 0 to K − 1.
        """
        order = self.draw.shuffled(shapes.shape[1])
        if not self.swap_cue:
            return order[:, 0]
        differs = np.take_along_axis(shapes, order, 1) != pick(shapes, order[:, 0])[:, None]
        if not differs.any(1).all():
            raise ValueError("swap_cue=True needs candidates of at least two shapes in every image.")
        return pick(order, differs.argmax(1))

    def tint(self, color: np.ndarray, most: int = 24) -> np.ndarray:
        """`color`, (3,) or (n, 3), with up to `most` levels more or less in each channel."""
        return (color + self.draw.integers(-most, most + 1, 3)).clip(0, 255)

    def positions(self, k: int, low: int, high: int, gap: int) -> np.ndarray:
        """k points (row, column) per image, from `low` to `high` − 1, at least `gap` pixels apart: (n, k, 2).

        Each point is the first of 64 throws that keeps its distance; should none do, the one that keeps the most.
        """
        throws = self.draw.integers(low, high, k, 64, 2)
        chosen = throws[:, 0, :1]  # (n, 1, 2)
        for j in range(1, k):
            away = ((throws[:, j, :, None] - chosen[:, None]) ** 2).sum(-1).min(-1)  # (n, 64)
            best = np.minimum(away, gap * gap).argmax(1)
            chosen = np.concatenate([chosen, pick(throws[:, j], best)[:, None]], 1)
        return chosen

    def glyph(self, shape: np.ndarray | int, color: np.ndarray, position: np.ndarray, candidate: int | None = None):
        """Draw a glyph in one of 15 sizes and orientations.

        `shape` is a number (DISC, …, STAR) or (n,); the other arguments are those of `stamp`.
        """
        self.stamp(glyph_sprites(**GLYPHS)[shape, self.draw.integers(0, 15)], color, position, candidate)

    def stamp(self, sprite: np.ndarray, color: np.ndarray, position: np.ndarray, candidate: int | None = None):
        """Draw a sprite.

        Parameters
        ----------
        sprite : (2, h, w) or (n, 2, h, w)
            See `flat`; h and w are odd.
        color : (3,) or (n, 3)
            Levels from 0 to 255.
        position : (2,) or (n, 2)
            Row and column of its centre, in pixels.
        candidate : int, optional
            Which candidate this is or belongs to. Without it, it is the cue, and is drawn after all candidates.

        Raises
        ------
        ValueError
            If a part of the sprite would lie outside the image.
        """
        h, w = sprite.shape[-2:]
        corner = np.broadcast_to(position, (self.n, 2)) - (h // 2, w // 2)  # (n, 2), the first row and column
        if (corner < 0).any() or (corner > (SIZE - h, SIZE - w)).any():
            rows, columns = (f"{side // 2} to {SIZE - 1 - side // 2}" for side in (h, w))
            raise ValueError(f"position must keep the sprite inside the image: rows {rows}, columns {columns}.")
        pixels, owner = (sliding_window_view(of, (h, w), (2, 3), writeable=True) for of in (self.pixels, self.owner))
        spot = np.arange(self.n), slice(None), *corner.T  # pixels[spot] is (n, 3, h, w), owner[spot] (n, 1, h, w)
        keep, gain = np.broadcast_to(sprite, (self.n, 2, h, w)).swapaxes(0, 1)[:, :, None]  # (n, 1, h, w) each
        color = np.broadcast_to(color, (self.n, 3)).astype(np.int32)[:, :, None, None]
        pixels[spot] = (pixels[spot] * keep + color * gain) >> 8
        mark, drawn = (-1, keep < 256) if candidate is None else (candidate + 1, gain > 0)  # a cue owns its shadow too
        owner[spot] = np.where(drawn, mark, owner[spot])
        pixels_drawn = np.broadcast_to(drawn, (self.n, 1, h, w)).sum((1, 2, 3))
        self.drawn[candidate] = self.drawn.get(candidate, 0) + pixels_drawn


def pick(table: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Entry ``which[i]`` of row ``table[i]``, for every i."""
    return table[np.arange(len(table)), which]
