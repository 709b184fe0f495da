"""The one progress bar of the course."""

import sys

from tqdm import tqdm


def progress_bar(total: int, text: str, show: bool = True, **looks) -> tqdm:
    """A bar that is plain text and goes away when it is done: a saved notebook keeps no half-full bar."""
    return tqdm(total=total, desc=text, disable=not show, leave=False, file=sys.stdout, ncols=88, **looks)
