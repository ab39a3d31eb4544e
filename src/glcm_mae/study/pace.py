"""How long the cells to come will take, by how long those of their arms took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean


class Pace:
    """Times of cells, by arm: arms differ too much for one mean of all.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.took("mse", 60)
    >>> pace.left(["mse", "paper"])
    ''
    >>> pace.took("paper", 240)
    >>> pace.left(["mse", "paper"])
    '; about 5 min left'
    """

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def took(self, arm: str, seconds: float) -> None:
        """Note how long a cell took.

        Parameters
        ----------
        arm : str
            Its arm or baseline.
        seconds : float
            From its first stage to its last.
        """
        self._seconds[arm].append(seconds)

    def left(self, arms: Sequence[str]) -> str:
        """Say how long cells will take.

        Parameters
        ----------
        arms : sequence of str
            The arm of each.

        Returns
        -------
        str
            Empty as long as one of these arms has not been timed.
        """
        if not all(arm in self._seconds for arm in arms):
            return ""
        minutes = round(sum(fmean(self._seconds[arm]) for arm in arms) / 60)
        if minutes < 1:
            return ""
        hours, minutes = divmod(minutes, 60)
        return f"; about {f'{hours} h ' * (hours > 0)}{minutes} min left"
