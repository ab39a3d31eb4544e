"""Groups of images that belong together by several relations at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["joined_groups"]


def joined_groups(
    first: Sequence[str] | Sequence[int] | np.ndarray,
    *others: Sequence[str] | Sequence[int] | np.ndarray | None,
    links: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Find the groups that remain when all relations hold together.

    Two images are in one group if they share a group of any relation, are linked, or are joined
    by a chain of such images: the connected components.

    Parameters
    ----------
    first, *others : sequence of length N
        The group of each image under one relation, such as its patient. Others may be None: not
        known.
    links : sequence of (int, int)
        Pairs of positions that belong together.

    Returns
    -------
    np.ndarray
        Group (N,) int64 of each image, numbered from 0 in the order of first appearance.

    Examples
    --------
    >>> joined_groups(["p1", "p1", "p2", "p3", "p4"], [0, 1, 1, 2, 3], links=[(3, 4)]).tolist()
    [0, 0, 0, 1, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(first)
    rows, columns = [np.array([pair[side] for pair in links], dtype=np.int64) for side in (0, 1)]
    for relation in (first, *(other for other in others if other is not None)):
        _, leader, group = np.unique(np.asarray(relation), return_index=True, return_inverse=True)
        rows = np.concatenate([rows, np.arange(n)])
        columns = np.concatenate([columns, leader[group]])
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    _, leader, number = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(leader))[number].astype(np.int64)
