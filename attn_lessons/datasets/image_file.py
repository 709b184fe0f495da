"""One image file as a person sees it: upright, opaque, three colours of eight bits.

Plain plumbing: what reads folders, zips and single photographs reads files with it.
"""

import io
import os
from functools import cache
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

BACKGROUND = "white"  # what shows through transparent pixels
NO_PHOTOGRAPHS = {"BUFR", "EPS", "FLI", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow needs other programs, or they are films
BROKEN = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, Image.DecompressionBombError)


@cache
def endings() -> frozenset[str]:
    """Of the files that Pillow can read here."""
    Image.init()
    return frozenset(end for end, kind in Image.EXTENSION.items() if kind in Image.OPEN and kind not in NO_PHOTOGRAPHS)


def is_image(name: str, data: bytes | None = None) -> bool:
    """By the ending of its name; without one, by its first bytes, if `data` is given."""
    ending = PurePosixPath(name).suffix.lower()
    if ending or data is None:
        return ending in endings()
    try:
        Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, *BROKEN):
        return False
    return True


def read_image(data: bytes, size: tuple[int, int] | None = None) -> torch.Tensor:
    """The image in `data`, the first of several, as uint8 (3, H, W).

    Parameters
    ----------
    data : bytes
        Of a file of any kind that Pillow reads. It is turned as its EXIF orientation says. Transparent pixels show
        `BACKGROUND`. Of 16 bits the upper eight stay, or of 12, which is what levels below 4,096 are taken for; floats
        must be from 0 to 1.
    size : (int, int), optional
        Height and width to resize to, whatever the proportions. Default: as it is.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("it is of no kind that Pillow reads here") from None
    if size:
        image.draft("RGB", (2 * size[1], 2 * size[0]))  # a large JPEG is decoded at a fraction of its size
    image = opaque(eight_bits(ImageOps.exif_transpose(image)))
    if size:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def eight_bits(image: Image.Image) -> Image.Image:
    """Greys of 12, 16 or 32 bits as eight: Pillow's own `convert` would cut them off at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    most = 1 if image.mode == "F" else 65_535
    if not 0 <= low <= high <= most:  # not-a-number neither
        raise ValueError(f"its levels go from {low:g} to {high:g}: scale them to 0 to {most:,}")
    levels = 255 * levels if image.mode == "F" else levels >> (8 if high > 4_095 else 4)
    return Image.fromarray(levels.astype(np.uint8))


def opaque(image: Image.Image) -> Image.Image:
    """RGB: `BACKGROUND` where the image is transparent, not the colour that happens to be hidden there."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, BACKGROUND)
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def files_under(path: os.PathLike) -> list[str]:
    """All files and, ending in "/", folders below `path`, with "/" between them; folders that are links, too."""
    found, seen = [], set()
    for folder, folders, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add(real)
        below = PurePosixPath(os.path.relpath(folder, path).replace(os.sep, "/"))
        found += [str(below / name) for name in files] + [f"{below / name}/" for name in folders]
    return found
