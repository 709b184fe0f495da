"""Files from the Hugging Face Hub: below one folder, and only with the published checksum.

Plain plumbing: lesson 09 fetches CIFAR-100 with it.
"""

import hashlib
import os
from pathlib import Path


class DownloadError(OSError):
    """A file could not be fetched; the message says why, and what to do next."""


def data_folder() -> Path:
    """Where downloads land, and where files that are already there are found.

    The folder that the environment variable ``ATTN_LESSONS_DATA`` names; without it ``data/`` of the checkout, or
    ``~/.cache/attn_lessons`` where the course was installed without one.
    """
    if named := os.environ.get("ATTN_LESSONS_DATA"):
        return Path(named).expanduser()
    checkout = Path(__file__).parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").exists() else Path.home() / ".cache" / "attn_lessons"


def hub_file(repository: str, revision: str, file: str, sha256: str, folder: str = "", download: bool = True) -> Path:
    """A file of a dataset on the Hub: the one in `data_folder` if it is the right one, otherwise fetched.

    A connection that breaks is taken up again where it broke. Several processes may ask for the same file: one fetches
    it, the others wait. A file with another checksum is kept as ``file.broken``, for you to look at.

    Parameters
    ----------
    repository, revision, file : str
        "uoft-cs/cifar100", a commit or branch, and the path in it.
    sha256 : str
        64 hexadecimal digits.
    folder : str, default ""
        Folder in `data_folder` below which `file` lies.
    download : bool, default True
        Fetch it where it is not.

    Raises
    ------
    FileNotFoundError
        If the right file is not there, and `download` is False.
    DownloadError
        If it cannot be fetched or stored, or the Hub sends other bytes than were published.
    """
    root = data_folder() / folder
    path = root / file
    if is_published(path, sha256):  # before anything else: it needs no network, and no right to write
        return path
    if not download:
        lacks = "is not what was published (its checksum is wrong)" if path.exists() else "is not there"
        raise FileNotFoundError(f"{path} {lacks}, and download=False.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import WeakFileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(f"{path}.lock"):  # the Hub's own lock would have each process fetch the file in turn
            if not is_published(path, sha256):
                set_aside(path)
                hub = os.environ.get("HF_ENDPOINT")  # the library itself looks only when it is imported
                hf_hub_download(repository, file, repo_type="dataset", revision=revision, local_dir=root, endpoint=hub)
                if not is_published(path, sha256):
                    set_aside(path)
                    raise ValueError("its checksum is not the published one")
    except Exception as error:  # the Hub's, those of the library below it, and the disk's have no class in common
        of_disk = getattr(error, "strerror", None)
        reason = of_disk or str(error.__cause__ or error).partition("\n")[0] or type(error).__name__
        advice = "try again later, set HF_ENDPOINT to a mirror of the Hub"
        if of_disk:
            advice = "make room there, set ATTN_LESSONS_DATA to another folder"
        raise DownloadError(f"{path.name} could not be fetched from {repository} on the Hugging Face Hub ({reason}): "
                            f"{advice}, or put the file at {path} yourself.") from error  # fmt: skip
    return path


def is_published(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def set_aside(path: Path) -> None:
    """Make room for the right file, if there is a wrong one, and say so."""
    if path.exists():
        broken = path.replace(f"{path}.broken")
        print(f"{path} is not what was published (its checksum is wrong): kept as {broken.name}.")
