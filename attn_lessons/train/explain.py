"""Show where a trained network looks in photographs: Grad-CAM and gates over each, as a PNG."""

from dataclasses import dataclass
from pathlib import Path

from ..models import trained
from .files import must_be_new, photographs_in
from .options import Command, argument, option


@dataclass(kw_only=True)
class Settings(Command):
    run: str = argument("folder of a run, a weights file, or the name of a network of the course")
    photo: list[Path] = argument("image files, or folders of them", type=Path, nargs="+")
    out: Path = option(
        "folder of the PNGs, each named after its photograph (default: explained)", Path("explained"), type=Path
    )


def main(settings: Settings) -> None:
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    from .. import style
    from ..insight.explanation import explained

    photos, (network, _) = photographs_in(settings.photo), trained(settings.run)
    files = [must_be_new(settings.out / f"{photo.stem}.png", "--out") for photo in photos]
    if len(set(files)) < len(files):
        raise ValueError("two of these photographs have the same name: explain them one after the other.")
    style.use()
    for photo, file in zip(photos, files, strict=True):
        figure, alt = explained(network, photo)
        style.save(figure, file, Description=alt)
        print(f"{file}: {alt}")
