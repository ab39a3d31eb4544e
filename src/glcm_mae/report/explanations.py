"""What a classifier goes by in images: a picture, a table, and whether it is true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glcm_mae.evaluation import Interval, patient_bootstrap, with_interval
from glcm_mae.files import csv_text
from glcm_mae.training.explain import SHARES, Explanations

from .figures import png, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# That five patients all have the same sign happens by chance 1 time in 16.
_FEWEST_PATIENTS = 6
_DRAWN = 16  # rows of a picture that one can still look at
_COLUMNS = ("path", "label", "predicted", "probability", "row", "column", "fall")


def faithfulness(found: Explanations, seed: int = 0) -> Interval:
    """Measure how much sooner log-odds fall by the maps than at random.

    Parameters
    ----------
    found : Explanations
        What was found.
    seed : int
        Of the bootstrap over patients.

    Returns
    -------
    Interval
        Mean over the images. Above 0 if the patches that the maps mark are those that count.
    """
    gains = found.gains.numpy().astype(float)

    def mean(labels: np.ndarray, values: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"gain": weights @ values[:, 0] / weights.sum(axis=1)}

    nothing = np.zeros(len(gains), dtype=int)
    intervals = patient_bootstrap(
        nothing, gains[:, None], list(found.manifest.patients), mean, seed=seed
    )
    return intervals["gain"]


def in_words(measured: Mapping[str, Any], images: int, patients: int) -> str:
    """Say whether the maps tell what a classifier goes by.

    Parameters
    ----------
    measured : mapping
        What `faithfulness` has found, as `Interval.to_json` gives it.
    images, patients : int
        How many there are. Of fewer than six patients nothing is decided.

    Returns
    -------
    str
        A sentence.

    Examples
    --------
    >>> in_words({"value": 1.2, "low": 0.9, "high": 1.5}, 8, 8)
    'The maps tell what the run goes by: without the patches that they mark the log-odds of its \
answer are lower than without as many random ones, by 1.200 [0.900, 1.500] (mean over 8 images).'
    """
    low, high = measured["low"], measured["high"]
    verdict = "Whether the maps tell what the run goes by is not decided"
    if patients < _FEWEST_PATIENTS:
        verdict += " by so few patients"
    elif low is not None and round(low, 3) > 0:
        verdict = "The maps tell what the run goes by"
    elif high is not None and round(high, 3) < 0:
        verdict = "The maps are wrong"
    fall = with_interval(measured)
    return (
        f"{verdict}: without the patches that they mark the log-odds of its answer are lower than "
        f"without as many random ones, by {fall} (mean over {images} image{'s' * (images != 1)})."
    )


def explanation_files(found: Explanations) -> dict[str, str | bytes]:
    """Write a row for each patch of each image, and draw what can be looked at.

    Of many images, 16 are drawn, evenly spread.

    Parameters
    ----------
    found : Explanations
        What was found.

    Returns
    -------
    dict
        The content of ``explanations.csv`` and of ``explanations.png``.
    """
    rows = (
        (record.name, record.label or "", *_answer(found, n), *place, value)
        for n, record in enumerate(found.manifest.records)
        for place, value in np.ndenumerate(found.maps[n].numpy())
    )
    return {
        "explanations.csv": csv_text(_COLUMNS, rows),
        "explanations.png": _picture(found),
    }


def _answer(found: Explanations, n: int) -> tuple[str, float]:
    """Name the class that is explained, and its probability."""
    number = int(found.predicted[n])
    return found.classes[number], float(found.probabilities[n, number])


def _picture(found: Explanations) -> bytes:
    """Draw a row for each image: itself, the map over it, and the test of the map."""
    from matplotlib.figure import Figure

    rows = min(len(found.maps), _DRAWN)
    drawn = np.linspace(0, len(found.maps) - 1, rows).astype(int)
    figure = Figure(figsize=(9.0, 2.6 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for (picture, overlay, test), n in zip(axes, drawn, strict=True):
        record, (name, probability) = found.manifest.records[n], _answer(found, n)
        show_image(picture, found.pixels[n])
        picture.set_title(Path(record.name).name, fontsize=8, parse_math=False)
        _show_map(overlay, found, n)
        label = f", labelled {record.label}" if record.label not in (None, name) else ""
        overlay.set_title(f"{name} {probability:.2f}{label}", fontsize=8, parse_math=False)
        _show_test(test, found, n)
    axes[0, 2].legend(
        fontsize=7, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0)
    )
    axes[-1, 2].set_xlabel("share of patches left out", fontsize=8)
    return png(figure, dpi=110)


def _show_map(axes: Axes, found: Explanations, n: int) -> None:
    height, width = found.pixels.shape[-2:]
    values = found.maps[n].numpy()
    most = float(np.abs(values).max()) or 1.0
    show_image(axes, found.pixels[n])
    drawn = axes.imshow(
        values,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        alpha=0.5,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    scale = axes.figure.colorbar(drawn, ax=axes, fraction=0.046)
    scale.set_label("fall of log-odds", fontsize=8)
    scale.ax.tick_params(labelsize=7)


def _show_test(axes: Axes, found: Explanations, n: int) -> None:
    axes.plot(SHARES, found.by_map[n], color="tab:red", label="first what the map marks")
    axes.plot(SHARES, found.at_random[n], color="gray", label="at random")
    axes.axhline(0, color="lightgray", linewidth=0.8, zorder=0)
    axes.set_ylabel("log-odds", fontsize=8)
    axes.tick_params(labelsize=7)
