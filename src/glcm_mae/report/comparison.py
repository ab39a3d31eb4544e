"""A picture of a comparison: each arm's AUROC, and how it differs from the reference."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glcm_mae.files import write_atomically

from .figures import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {
    "linear": "linear probe",
    "knn": "nearest neighbours",
    "linear_glcm": "linear probe beside GLCMs",
    "finetune": "fine-tuning",
}
_UNKNOWN: dict[str, float | None] = {"value": None, "low": None, "high": None}
_ROW, _WIDTH = 0.28, 3.0  # inches: height of an arm, width of a panel


def draw_comparison(comparison: dict[str, Any], path: Path) -> None:
    """Draw the AUROC by image: above of each arm, below its difference to the reference.

    A dashed line marks the reference; baselines are gray.

    Parameters
    ----------
    comparison : dict
        What `glcm_mae.study.compare` writes as ``comparison.json``.
    path : Path
        The picture to write (PNG).
    """
    from matplotlib.figure import Figure

    ways = comparison["results"]
    found = {way: result["comparisons"][0] for way, result in ways.items()}
    reference = comparison["settings"]["reference"]
    names = list(dict.fromkeys(name for one in found.values() for name in one["arms"]))
    baselines = comparison["settings"]["baselines"]
    others = [name for name in names if name != reference]
    height = _ROW * (len(names) + len(others)) + 1.6
    figure = Figure(figsize=(_WIDTH * len(found) + 1.4, height), layout="constrained")
    panels = figure.subplots(
        2,
        len(found),
        sharex="row",
        sharey="row",
        squeeze=False,
        height_ratios=(len(names), max(1, len(others))),
    )
    for (way, one), (above, below) in zip(found.items(), panels.T, strict=True):
        arms = one["arms"]  # an arm may be complete in one way of judging and not in another
        values = {n: arms[n]["metrics"]["auroc"] if n in arms else _UNKNOWN for n in names}
        _draw_intervals(above, values, baselines)
        _draw_level(above, values[reference]["value"])
        above.set_title(_TITLES[way], fontsize=9)
        above.set_xlabel("AUROC", fontsize=8)
        differences = {
            n: arms[n]["differences"]["auroc"] if n in arms else _UNKNOWN for n in others
        }
        _draw_intervals(below, differences, baselines)
        _draw_level(below, 0.0)
        below.set_xlabel(f"AUROC minus that of {reference}", fontsize=8, parse_math=False)
    task = next(iter(found.values()))
    seeds = max(result["n_seeds"] for result in ways.values())
    drawn = "patients" if seeds == 1 else "patients and seeds"
    title = f"{task['task']}, by image; 95% intervals over {drawn}"
    figure.suptitle(title, fontsize=9, parse_math=False)
    write_atomically(path, png(figure, dpi=150))


def _draw_level(axes: Axes, value: float | None) -> None:
    if value is not None:
        axes.axvline(value, color="0.5", linewidth=0.8, linestyle="--", zorder=0)


def _draw_intervals(
    axes: Axes, values: dict[str, dict[str, float | None]], baselines: Collection[str]
) -> None:
    """Draw a point and its interval for each name, from above; nothing where it is undefined."""
    for row, (name, value) in enumerate(values.items()):
        if value["value"] is None:
            continue
        color = "0.4" if name in baselines else "C0"
        axes.plot(value["value"], row, "o", color=color, markersize=4)
        if value["low"] is not None and value["high"] is not None:
            axes.plot([value["low"], value["high"]], [row, row], color=color, linewidth=1.5)
    labels = [name.replace("_", " ") for name in values]
    axes.set_yticks(range(len(values)), labels, fontsize=8, parse_math=False)
    axes.set_ylim(max(1, len(values)) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.9")
