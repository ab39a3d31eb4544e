"""Running means for the log."""

from __future__ import annotations

from collections.abc import Mapping


class Means:
    """Mean of each loss term over the steps since the last line of the log.

    A term counts in the steps that computed it, so that one which sets in later is not diluted.

    Parameters
    ----------
    sums : mapping of str to (float, int), optional
        What `sums` was when the run was interrupted.

    Examples
    --------
    >>> means = Means()
    >>> means.add({"mse": 1.0})
    >>> means.add({"mse": 3.0, "glcm": 5.0})
    >>> means.take(), means.sums
    ({'mse': 2.0, 'glcm': 5.0}, {})
    """

    def __init__(self, sums: Mapping[str, tuple[float, int]] | None = None) -> None:
        self.sums = dict(sums or {})

    def add(self, terms: Mapping[str, float]) -> None:
        """Count the terms of one step."""
        for name, value in terms.items():
            total, steps = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, steps + 1)

    def take(self) -> dict[str, float]:
        """Return the means and start over."""
        means = {name: total / steps for name, (total, steps) in self.sums.items()}
        self.sums.clear()
        return means
