"""Files that commands read and write: nothing is overwritten, and what cannot be read is said."""

from pathlib import Path

from ..datasets.image_file import files_under, is_image


def must_be_new(path: Path, option: str) -> Path:
    """Refuse a file that is there already; its folder is made."""
    if path.exists():
        raise ValueError(f"{path} exists already: name another with {option}, or delete it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def photographs_in(paths: list[Path]) -> list[Path]:
    """Each file itself, and of each folder the images in it; a path without anything is one sentence."""
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no photograph and no folder at {path}.")
        inside = sorted(path / name for name in files_under(path) if is_image(name)) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path} holds no images.")
        found += inside
    return found
