"""Third-party scripts that slides and site need: fetched with npm into build/vendor, never committed."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WANTED = {
    "reveal.js@4.6.1": ["dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE"],
    "mathjax@3.2.2": ["es5/tex-svg.js", "LICENSE"],
}


def vendor(package: str) -> Path:
    """The folder of the package with this name; npm is called only the first time."""
    package = next(known for known in WANTED if known.split("@")[0] == package)
    folder = ROOT / "build" / "vendor" / package
    if folder.exists():
        return folder
    if not (npm := shutil.which("npm")):
        sys.exit(f"vendor: npm is needed once, to fetch {package}: install Node.js, then run the same command again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        done = subprocess.run([npm, "pack", "--silent", package], cwd=temporary, capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"vendor: {package} could not be fetched with npm; is there a network? {done.stderr[-300:].strip()}"
            )
        unpacked = Path(temporary) / "unpacked"
        with tarfile.open(next(Path(temporary).glob("*.tgz"))) as archive:
            for name in WANTED[package]:
                (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
                (unpacked / name).write_bytes(archive.extractfile(f"package/{name}").read())
        try:
            unpacked.rename(folder)  # at once or not at all
        except OSError:
            if not folder.exists():  # or another process was faster
                raise
    return folder
