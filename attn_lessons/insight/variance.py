"""How much of what varies goes along with a cause: gates by the colour of a chip, for example.

Introduced in lesson 02.
"""

import torch

from .localise import must_be_finite


def explained_variance(values: torch.Tensor, groups: torch.Tensor) -> float:
    """Which part of the variance of `values` lies between groups: 0 if groups do not matter, 1 if nothing else does.

    Parameters
    ----------
    values : torch.Tensor
        (n, channels), the gates of n images, for example.
    groups : torch.Tensor
        int64 (n,), the group of each image.

    Returns
    -------
    float
        Variance of the group means over the variance of all, added up over the channels.

    Raises
    ------
    ValueError
        If there is not one group per row, a value is not finite, or nothing varies.

    Examples
    --------
    >>> explained_variance(torch.tensor([[1.0], [1.0], [3.0], [3.0]]), torch.tensor([0, 0, 1, 1]))
    1.0
    """
    if values.dim() != 2 or groups.shape != values.shape[:1]:
        given = f"{tuple(values.shape)} and {tuple(groups.shape)}"
        raise ValueError(f"values must have shape (n, channels) and groups (n,); these have {given}.")
    must_be_finite(values, "values")
    total = values.var(0, correction=0).sum()
    if total == 0:
        raise ValueError("values do not vary at all: there is nothing to explain.")
    means = torch.empty_like(values)
    for group in groups.unique():
        means[groups == group] = values[groups == group].mean(0)
    return (means.var(0, correction=0).sum() / total).item()
