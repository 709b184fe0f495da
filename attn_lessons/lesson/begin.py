"""The first line of every lesson."""

import os
import platform
import sys
from dataclasses import dataclass

import torch

from .. import __version__, style
from ..arguments import one_of


@dataclass(frozen=True)
class Lesson:
    """Where and how large this lesson runs.

    Attributes
    ----------
    profile : {"quick", "full"}
    device : torch.device
        The GPU if there is one, otherwise the CPU.
    """

    profile: str
    device: torch.device

    def pick(self, *, quick: object, full: object) -> object:
        """The setting for this profile. Both are written out in the lesson: nothing is shortened behind your back."""
        return quick if self.profile == "quick" else full


def start(profile: str = "quick") -> Lesson:
    """Set the house style and the seed, and say what the lesson runs on.

    Parameters
    ----------
    profile : {"quick", "full"}, default "quick"
        "quick" is what a laptop does in about a minute, and what is tested; "full" takes more images, epochs, seeds.
    """
    one_of("profile", profile, ("quick", "full"))
    style.use()
    torch.manual_seed(0)
    # The networks are small: one thread per physical core is plenty, and threads that find their core busy with
    # something else make all the others wait. os.cpu_count() mostly counts each physical core twice.
    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 2) // 2)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"attn-lessons {__version__} · Python {platform.python_version()} · torch {torch.__version__} · {hardware}")
    if profile == "full" and device.type == "cpu":
        print(f"profile='full' takes long without a GPU. {gpu_hint()}")
    return Lesson(profile, device)


def gpu_hint() -> str:
    """How to get a GPU here, in the words of the platform's own menus."""
    if "google.colab" in sys.modules:
        return "Menu Runtime → Change runtime type → choose a GPU, then run the lesson from the top."
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Menu Settings → Accelerator → choose a GPU, then run the lesson from the top."
    if "BINDER_SERVICE_HOST" in os.environ:
        return "Binder has none: open this lesson on Colab with the badge at the top."
    return "Without one, keep profile='quick', or open this lesson on Colab with the badge at the top."
