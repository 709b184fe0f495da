"""Where the recorded results are: in a checkout, or beside an installed package."""

import site
import sysconfig
from pathlib import Path

# Not under sys.prefix: Debian's Python, and so Colab's, puts data elsewhere, and so does `pip install --user`.
DATA = [sysconfig.get_path("data"), site.getuserbase()]
FOLDERS = [Path(__file__).parents[1] / "results", *(Path(data, "share", "attn_lessons", "results") for data in DATA)]


def find(kind: str, pattern: str, name: str) -> Path:
    """The file called `name`: it replaces the star of `pattern`. If there is none, the error names those that exist.

    Examples
    --------
    >>> find("recording", "*.csv", "glyphworld_gates").name
    'glyphworld_gates.csv'
    """
    for folder in FOLDERS:
        if (path := folder / pattern.replace("*", name)).exists():
            return path
    known = sorted({path.stem for folder in FOLDERS for path in folder.glob(pattern)})
    raise FileNotFoundError(f"there is no {kind} {name!r}; there are: {', '.join(known) or 'none'}.")
