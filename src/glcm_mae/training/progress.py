"""What a long stage tells while it runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_PAUSE, _SILENCE = 5.0, 60.0  # least and greatest seconds between lines without a terminal


class Meter:
    """A progress bar with throughput, loss terms and time left.

    Parameters
    ----------
    title : str
        What is going on.
    total : int
        Number of steps.
    done : int
        Steps done before, by an interrupted run.
    enabled : bool
        Off on all processes but the first.

    Examples
    --------
    >>> with Meter("loading", total=2, enabled=False) as meter:
    ...     meter.advance(images=1)
    """

    def __init__(self, title: str, total: int, done: int = 0, *, enabled: bool = True) -> None:
        self._title, self._total, self._done = title, total, done
        self._first, self._said = done, done
        self._start = self._spoke = time.monotonic()
        self._images = 0
        self._enabled = enabled
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=Console(stderr=True),
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, news="")

    def __enter__(self) -> Meter:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def images_per_second(self) -> float:
        """Throughput since the start."""
        return self._images / max(1e-9, time.monotonic() - self._start)

    def advance(
        self, images: int = 0, terms: Mapping[str, float] | None = None, by: int = 1
    ) -> None:
        """Count steps.

        Parameters
        ----------
        images : int
            Images that it took.
        terms : mapping of str to float, optional
            What to show beside the bar.
        by : int
            How many steps.
        """
        self._done += by
        self._images += images
        news = " ".join(f"{name} {value:.4g}" for name, value in (terms or {}).items())
        news = f"{self.images_per_second:.0f} images/s {news}"
        self._bar.update(self._task, advance=by, news=news)
        # Where there is no terminal, a tenth of the way is worth a line if it took its time, and so
        # is a long silence.
        now = time.monotonic()
        tenth = (self._done - self._said) * 10 >= self._total
        due = now - self._spoke >= (_PAUSE if tenth else _SILENCE)
        if self._enabled and self._bar.disable and due:
            self._said, self._spoke = self._done, now
            pace = (now - self._start) / (self._done - self._first)
            left = pace * (self._total - self._done)
            print(f"{self._title}: {self._done}/{self._total}, {news}, {left:.0f} s left",
                  file=sys.stderr, flush=True)  # fmt: skip


class Meters:
    """A `Meter` for each part of what is done with the same images, one after the other.

    Parameters
    ----------
    total : int
        Number of images.

    Examples
    --------
    >>> with Meters(2) as progress:
    ...     progress("reading images", 2)
    ...     progress("comparing images", 1)
    """

    def __init__(self, total: int) -> None:
        self._total, self._title, self._done = total, "", 0
        self._shown = ExitStack()

    def __enter__(self) -> Meters:
        return self

    def __exit__(self, *raised: object) -> None:
        self._shown.close()

    def __call__(self, title: str, done: int) -> None:
        """Show how far it is, on a new meter where something else is being done."""
        if title != self._title:
            self._shown.close()
            self._meter = self._shown.enter_context(Meter(title, self._total))
            self._title, self._done = title, 0
        self._meter.advance(images=done - self._done, by=done - self._done)
        self._done = done
