"""Work on several threads, as many as torch uses."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import torch

# The smallest part of a work is a 16th of a thread's share.
_FINEST = 16


def in_threads(work: Callable[[slice], None], count: int) -> None:
    """Run ``work`` on parts of ``range(count)``, on as many threads as torch uses.

    Parts get smaller, so that threads end together: they get unequal shares of the cores, for those
    of torch's own operations wait for their next one for milliseconds, and are busy while they
    wait.
    """
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        work(slice(0, count))
        return
    parts = iter(_shrinking(count, threads))

    def work_off() -> None:
        for part in parts:
            work(part)

    pool = _pool(os.getpid())
    others = [pool.submit(work_off) for _ in range(threads - 1)]
    try:
        work_off()  # here, too: a thread takes longer to wake up than small parts to do
    finally:
        for _ in parts:  # what has failed is not finished by the others
            pass
        awake = [other for other in others if not other.cancel()]
        wait(awake)
    for other in awake:
        other.result()  # raises what the thread has raised


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads that sleep between works; each process has its own, for a fork has no threads."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="glcm_mae")


def _shrinking(count: int, threads: int) -> list[slice]:
    """Divide ``range(count)``: each part is half a thread's share of what is left."""
    least = -(-count // (_FINEST * threads))
    edges = [0]
    while edges[-1] < count:
        left = count - edges[-1]
        edges.append(edges[-1] + min(left, max(least, left // (2 * threads))))
    return [slice(start, end) for start, end in itertools.pairwise(edges)]
