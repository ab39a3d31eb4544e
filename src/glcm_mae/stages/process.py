"""Which of several processes speaks."""

from __future__ import annotations


def leads() -> bool:
    """Whether this process speaks and writes: the only one, or the first of several."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0)
