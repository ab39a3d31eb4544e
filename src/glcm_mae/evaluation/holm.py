"""Holm's correction for several tests."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values so that the chance of any false alarm among them stays below the level.

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on; none becomes
    smaller than the one before it, or larger than 1 [1]_. Uniformly more powerful than
    Bonferroni's correction, and like it valid however the tests depend on each other.

    Parameters
    ----------
    p_values : sequence of float
        NaN stands for a test that was not valid: it stays NaN and does not count.

    Returns
    -------
    list of float
        In the same order.

    References
    ----------
    .. [1] Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
       Statistics 6 (1979) 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.array(p_values, dtype=np.float64)
    valid = np.flatnonzero(~np.isnan(p))
    order = valid[np.argsort(p[valid], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    p[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return p.tolist()
