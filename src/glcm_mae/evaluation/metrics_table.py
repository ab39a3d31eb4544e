"""Metrics with their intervals as plain text for a terminal."""

from typing import Any

from glcm_mae.evaluation.bootstrap import notes_on_intervals, with_interval
from glcm_mae.evaluation.evaluate import SEEN

_UNITS = {"by_image": "by image", "by_patient": "by patient"}
_CHOSEN = {
    "threshold": "threshold",
    "validation_sensitivity": "val. sensitivity",
    "validation_specificity": "val. specificity",
}
_ACROSS = 4  # columns of numbers that stand side by side


def format_table(metrics: dict[str, Any]) -> str:
    """Lay out the result of `evaluate` as plain text for a terminal.

    Parameters
    ----------
    metrics : dict
        What `evaluate` returned or wrote.

    Returns
    -------
    str
        By image and, where it says something else, by patient: a row for each metric, a column
        for all classes together and one for each, four columns side by side; numbers as
        ``0.812 [0.761, 0.858]``; notes below on what the intervals are and where they cannot be
        trusted.

    Examples
    --------
    >>> number = {"value": 0.812, "low": 0.761, "high": 0.858, "n_images": 80, "n_patients": 80}
    >>> metrics = {
    ...     "settings": {
    ...         "confidence": 0.95,
    ...         "n_resamples": 2000,
    ...         "seed": 0,
    ...         "positive": "cyst",
    ...         "threshold": None,
    ...     },
    ...     "n_images": 80,
    ...     "n_patients": 80,
    ...     "patients": "every patient has one image",
    ...     "by_image": {
    ...         "overall": {"auroc": number},
    ...         "per_class": {"cyst": {"auroc": number, "f1": number}},
    ...         "at_threshold": None,
    ...     },
    ...     "by_patient": None,
    ... }
    >>> print(format_table(metrics))
    by image  overall               cyst
    auroc     0.812 [0.761, 0.858]  0.812 [0.761, 0.858]
    f1                              0.812 [0.761, 0.858]
    <BLANKLINE>
    80 images, 80 patients: every patient has one image.
    Intervals: 95%, 2000 resamples of patients, seed 0.
    Overall auroc, auprc, sensitivity, specificity, ppv and npv are those of 'cyst', brier of both.
    ppv and npv are those of this mix of classes.
    Decisions are for the class of the highest probability: no validation.csv gives a threshold.
    """
    lines = []
    units = [(title, metrics[unit]) for unit, title in _UNITS.items() if metrics[unit]]
    for title, unit in units:
        lines += _table(title, [("overall", unit["overall"]), *unit["per_class"].items()])
        if unit["at_threshold"]:
            found = unit["at_threshold"].items()
            lines += [f"{title}, each class at the threshold of validation images:"]
            lines += _table(
                "",
                [(name, of_class["metrics"]) for name, of_class in found],
                {name: of_class["thresholds"] for name, of_class in found},
            )
    return "\n".join([*lines, *_notes(metrics, [unit for _, unit in units])])


def _table(
    corner: str,
    columns: list[tuple[str, dict[str, Any]]],
    thresholds: dict[str, list[dict[str, Any]]] | None = None,
) -> list[str]:
    """Lay out columns of numbers, as many as fit side by side, and an empty line below."""
    lines: list[str] = []
    for start in range(0, len(columns), _ACROSS):
        shown = columns[start : start + _ACROSS]
        names = dict.fromkeys(name for _, numbers in shown for name in numbers)
        rows = [[corner, *(" ".join(head.split()) for head, _ in shown)]]
        rows += [[name, *(_cell(numbers.get(name)) for _, numbers in shown)] for name in names]
        if thresholds:
            of_shown = [thresholds[head] for head, _ in shown]
            rows += [[title, *(_span(t, key) for t in of_shown)] for key, title in _CHOSEN.items()]
        lines += [*_aligned(rows), ""]
    return lines


def _cell(number: dict[str, Any] | None) -> str:
    return "" if number is None else with_interval(number)


def _span(thresholds: list[dict[str, Any]], key: str) -> str:
    """Write a number of each fold and seed as the least and the greatest."""
    found = [threshold[key] for threshold in thresholds if threshold[key] is not None]
    ends = dict.fromkeys(f"{end:.3f}" for end in (min(found), max(found))) if found else {}
    return " to ".join(ends)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Pad cells to columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _notes(metrics: dict[str, Any], units: list[dict[str, Any]]) -> list[str]:
    settings = metrics["settings"]
    over_seeds = " for other patients and other seeds" if metrics.get("n_seeds", 1) > 1 else ""
    notes = [
        f"{metrics['n_images']} images, {metrics['n_patients']} patients: {metrics['patients']}.",
        f"Intervals: {settings['confidence']:.0%}{over_seeds}, {settings['n_resamples']} resamples "
        f"of patients, seed {settings['seed']}.",
    ]
    if metrics.get(SEEN):
        notes.append(
            f"{metrics[SEEN]} of the test images, or others of their patients, were used in "
            "training before: these figures are too good."
        )
    positive = settings["positive"]
    notes.append(
        f"Overall auroc, auprc, sensitivity, specificity, ppv and npv are those of {positive!r}, "
        "brier of both."
        if positive
        else "Overall auroc, auprc, sensitivity, specificity, ppv, npv and macro_f1 are means over "
        "classes."
    )
    notes.append("ppv and npv are those of this mix of classes.")
    if metrics.get("n_folds", 1) > 1:
        notes.append("auroc and auprc rank images within folds; pooled_auroc ranks all of them.")
    notes.append(
        f"Decisions are for the class of the highest probability, or at a threshold: {threshold}."
        if (threshold := settings["threshold"])
        else "Decisions are for the class of the highest probability: no validation.csv gives a "
        "threshold."
    )
    numbers = [
        number
        for unit in units
        for group in (unit["overall"], *unit["per_class"].values())
        for number in group.values()
    ]
    return [*notes, *notes_on_intervals(numbers)]
