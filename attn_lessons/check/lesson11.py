"""Exercises of lesson 11: a verdict from seeds, causes read from numbers, and attention that a hook runs."""

from collections.abc import Callable

import torch
from torch import nn

from .core import call, exercise, expect, guarded, run, same

ANSWERS = ("helps", "hurts", "cannot tell")


def verdicts(mean: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """Positions in `ANSWERS`, for mean and half of the interval."""
    return torch.where(mean - half > 0, 0, torch.where(mean + half < 0, 1, 2))


def wrong_verdicts(ours: torch.Tensor, theirs: torch.Tensor, t: float) -> dict[str, torch.Tensor]:
    """What an idea that is wrong says of each row of (rows, n) accuracies."""
    d = ours - theirs
    n, mean, sd = d.shape[1], d.mean(1), d.std(1)
    half, unpaired = t * sd / n**0.5, t * (ours.var(1) + theirs.var(1)).sqrt() / n**0.5
    right, low, high = verdicts(mean, half), mean - half, mean + half
    return {
        "the sign of the mean is not enough: look where the interval lies.": (mean < 0).long(),
        "an interval that lies below 0 as a whole hurts.": torch.where(low > 0, 0, 2),
        "an interval that lies above 0 as a whole helps.": torch.where(high < 0, 1, 2),
        "helps and hurts have changed places: above 0, ours is better.": torch.tensor([1, 0, 2])[right],
        "where the interval reaches decides nothing: it helps if all of it lies above 0.": torch.where(high > 0, 0, 1),
        "the runs are pairs: take the standard deviation of the differences.": verdicts(mean, unpaired),
        "you leave out √n: a mean of n differences scatters less than one.": verdicts(mean, t * sd),
        "you divide by n: the spread of a mean falls with √n.": verdicts(mean, t * sd / n),
        "you leave out t: half of the interval is t times the spread of the mean.": verdicts(mean, sd / n**0.5),
        "your factor does not depend on the number of seeds: t is given.": verdicts(mean, 1.96 * sd / n**0.5),
        "your standard deviation divides by n: take n − 1.": verdicts(mean, t * d.std(1, correction=0) / n**0.5),
    }


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("the verdict follows from where the interval of the paired differences lies.")
def check_decide(attempt: Callable) -> None:
    """Check exercise 1 of lesson 11: ``decide(ours (n,), theirs (n,), t) → "helps", "hurts" or "cannot tell"``."""
    for n, t in ((3, 4.303), (7, 2.447), (12, 2.201)):
        theirs = 70 + 0.5 * torch.randn(300, n)
        ours = theirs + torch.linspace(-2, 2, 300)[:, None] + 0.7 * torch.randn(300, n)
        answers = [run(attempt, a, b, t) for a, b in zip(ours, theirs, strict=True)]
        for answer in answers:
            told = f"your code returned {answer!r}; one of {', '.join(map(repr, ANSWERS))} is wanted."
            expect(isinstance(answer, str) and answer in ANSWERS, told)
        result, d = torch.tensor([ANSWERS.index(answer) for answer in answers]), ours - theirs
        for idea, told in wrong_verdicts(ours, theirs, t).items():
            expect(not torch.equal(result, told), idea)
        right = torch.equal(result, verdicts(d.mean(1), t * d.std(1) / n**0.5))
        expect(right, "some verdicts are others: compute mean ± t · sd / √n of the differences, and see on which side "
               "of 0 the whole interval lies.")  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
CAUSES = ("gates stuck", "signal fades", "disturbed start", "weights not loaded", "wrong slot", "not trained",
          "sees everything", "within noise")  # fmt: skip
FAULTS = {
    "A": ("gates stuck", "which part of the gates moves from image to image?"),
    "B": ("not trained", "how many of the attention's tensors does the optimizer know?"),
    "C": ("sees everything", "how much of the image does one position depend on, before there is any attention?"),
}


@exercise("each network's number that is out of the ordinary names its cause.")
def check_cause(attempt: Callable) -> None:
    """Check exercise 2 of lesson 11: ``cause(network) → a cause``, for "A", "B" and "C"."""
    for name, (right, question) in FAULTS.items():
        answer = guarded(attempt, name, given=f"{name!r}")
        expect(answer is not None, "your code returned None: does its last line say return?")
        expect(answer in CAUSES, f"{answer!r} is none of the eight causes: {', '.join(CAUSES)}.")
        expect(answer == right, f"network {name}: {answer!r} is not what its numbers say; {question}")


# --------------------------------------------------------------------------------------------------- exercise 3
class Halved(nn.Module):
    """Stands for attention: what it gives is easy to tell."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.weight * x


def through(layers: list[nn.Module], x: torch.Tensor, at: int, times: int) -> torch.Tensor:
    """The output of the layers, halved so many times after layer `at`."""
    for i, layer in enumerate(layers):
        x = layer(x) * (0.5**times if i == at else 1)
    return x


@exercise("a hook runs the module, every name stays, and the new one is found by optimizers.")
def check_attach_to(attempt: Callable) -> None:
    """Check exercise 3 of lesson 11: ``attach_to(network, name, module)`` for an nn.Sequential."""
    for at in range(3):
        network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 7, 3))
        names, layers, x, module = list(network.state_dict()), list(network), torch.randn(2, 3, 9, 8), Halved()
        never, once, twice = (through(layers, x, at, times).detach() for times in (0, 1, 2))
        guarded(attempt, network, str(at), module, given=f"a Sequential of three layers and name='{at}'")
        kept = list(network) == layers
        expect(kept, "the layers have changed: a Sequential runs all its children, so make the module a child of the "
               "layer that it follows.")  # fmt: skip
        lost = [name for name in names if name not in network.state_dict()]
        expect(not lost, f"{lost and lost[0]} is gone from the state dict: no name may change.")
        known = any(p is module.weight for p in network.parameters())
        expect(known, "network.parameters() does not have the module's weight: make it a child, too (add_module).")
        result = call(network, x)
        if not same(result, once):
            expect(
                not same(result, never), "the module never runs, or what it gives is dropped: return it from the hook."
            )
            expect(not same(result, twice), "the module runs twice.")
            expect(False, f"the module does not run right after layer {at}: register the hook on that layer.")
