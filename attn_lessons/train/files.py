"""Files that commands read and write: nothing is overwritten, and what cannot be read is said."""

from pathlib import Path

from ..datasets.folder import hidden, say_what_was_skipped
from ..datasets.image_file import files_under, is_image


def must_be_new(path: Path, option: str) -> Path:
    """Refuse a file that is there already; its folder is made."""
    if path.exists():
        raise ValueError(f"{path} exists already: name another with {option}, or delete it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def photographs_in(paths: list[Path]) -> list[Path]:
    """Each file itself, and of each folder the images in it."""
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no photograph and no folder at {path}.")
        found += photographs_under(path) if path.is_dir() else [path]
    return found


def photographs_under(folder: Path) -> list[Path]:
    """The images in a folder, sorted; what is skipped is said."""
    files = [name for name in files_under(folder) if not name.endswith("/") and not hidden(name)]
    names = sorted(filter(is_image, files))
    if not names:
        raise ValueError(f"{folder} holds no images.")
    say_what_was_skipped(folder, files, names)
    return [folder / name for name in names]
