"""A comparison of arms as tables that read well on a page and in a terminal."""

from collections.abc import Sequence
from typing import Any

from glcm_mae.evaluation.bootstrap import notes_on_intervals, with_interval

_NAMES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "calibration error",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "sensitivity_at_threshold": "sensitivity at threshold",
    "specificity_at_threshold": "specificity at threshold",
}


def format_comparison(comparison: dict[str, Any]) -> str:
    """Lay out the result of `compare_arms`.

    Parameters
    ----------
    comparison : dict
        What `compare_arms` returned.

    Returns
    -------
    str
        Markdown. For every task, by image and by patient: a table of differences to the reference
        arm, and tables of values, with 95% intervals; below them what the numbers are and where
        they cannot be trusted.

    Examples
    --------
    >>> import numpy as np
    >>> from glcm_mae.evaluation import Predictions, compare_arms
    >>> images = tuple(map(str, range(60)))
    >>> labels = np.arange(60) % 2
    >>> def arm(strength):
    ...     noise = np.random.default_rng(0).random(60)
    ...     p = (strength * labels + noise) / (1 + strength)
    ...     return Predictions(images, images, labels, ("b", "m"), np.stack([1 - p, p], 1))
    >>> result = compare_arms({"mse": arm(0.2), "texture": arm(0.6)}, {}, "mse")
    >>> lines = format_comparison(result).splitlines()
    >>> lines[0]
    '### m against b, by image (30 b, 30 m)'
    >>> lines[4][:44]
    '| arm     | AUROC                   | DeLong'
    >>> lines[6][:44]
    '| texture | +0.302 [+0.209, +0.408] | <0.001'
    """
    settings = comparison["settings"]
    parts = [_section(found, settings["reference"]) for found in comparison["comparisons"]]
    return "\n".join([*parts, *(f"- {note}" for note in _notes(comparison))]) + "\n"


def _section(found: dict[str, Any], reference: str) -> str:
    counts = ", ".join(f"{n} {_flat(name)}" for name, n in found["class_counts"].items())
    lines = [f"### {_flat(found['task'])}, by {found['unit']} ({counts})", ""]
    arms = found["arms"]
    others = {name: arm for name, arm in arms.items() if name != reference}
    if others:
        lines += [f"Difference to {_flat(reference)}:", "", *_tests_table(others), ""]
        further = _present(others, "differences", _further(found))
        for some in (further[:3], further[3:]):
            if some:
                lines += [*_numbers_table(others, "differences", some, signed=True), ""]
    lines += ["Values:", ""]
    named = _present(arms, "metrics", ("auroc", "accuracy", *_further(found)))
    for some in (named[:4], named[4:]):
        if some:
            lines += [*_numbers_table(arms, "metrics", some), ""]
    return "\n".join(lines)


def _further(found: dict[str, Any]) -> tuple[str, ...]:
    """Metrics beside AUROC and accuracy, with decisions at the threshold where there is one."""
    if found["positive"] is None:
        return ("balanced_accuracy", "macro_f1", "brier", "ece")
    has_threshold = any(arm["thresholds"] for arm in found["arms"].values())
    decided = "_at_threshold" if has_threshold else ""
    return (
        "balanced_accuracy",
        "f1",
        "brier",
        "ece",
        f"sensitivity{decided}",
        f"specificity{decided}",
    )


def _present(arms: dict[str, Any], group: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if any(name in arm[group] for arm in arms.values())]


def _tests_table(arms: dict[str, Any]) -> list[str]:
    over_seeds = any("auroc_over_seeds" in arm["tests"] for arm in arms.values())
    header = ["arm"]
    for title, test in (("AUROC", "DeLong"), ("accuracy", "McNemar")):
        header += [title, *(["p"] if over_seeds else []), test, "smallest"]
    rows = []
    for name, arm in arms.items():
        row = [_flat(name)]
        for metric in ("auroc", "accuracy"):
            difference, tests = arm["differences"][metric], arm["tests"]
            row += [
                _cell(difference, signed=True),
                *([_p(tests.get(f"{metric}_over_seeds"))] if over_seeds else []),
                _p(tests[metric]),
                "" if difference["smallest"] is None else f"{difference['smallest']:.3f}",
            ]
        rows.append(row)
    return _pipes(header, rows)


def _numbers_table(
    arms: dict[str, Any], group: str, names: Sequence[str], *, signed: bool = False
) -> list[str]:
    rows = [
        [_flat(name), *(_cell(arm[group].get(metric), signed=signed) for metric in names)]
        for name, arm in arms.items()
    ]
    return _pipes(["arm", *(_NAMES[metric] for metric in names)], rows)


def _cell(number: dict[str, Any] | None, *, signed: bool = False) -> str:
    return "no threshold" if number is None else with_interval(number, signed=signed)


def _p(test: dict[str, Any] | None) -> str:
    """Give the corrected p-value of a test; nothing where there is no such test."""
    if test is None:
        return ""
    p = test["p_holm"]
    if p is None:
        return "not valid"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _pipes(header: list[str], rows: list[list[str]]) -> list[str]:
    """Give the lines of a pipe table, padded so that its columns also stand in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return [line(header), line(["-" * width for width in widths]), *map(line, rows)]


def _flat(name: str) -> str:
    """Put a name on one line, and keep it from ending a cell."""
    return " ".join(name.split()).replace("|", "/")


def _notes(comparison: dict[str, Any]) -> list[str]:
    settings, found = comparison["settings"], comparison["comparisons"]
    n_folds, n_seeds = comparison["n_folds"] or 1, comparison["n_seeds"]
    notes = [
        f"{comparison['n_images']} images of {comparison['n_patients']} patients "
        f"({comparison['patients']}); {n_folds if n_folds > 1 else 'no'} folds; "
        f"{n_seeds} {'seed' if n_seeds == 1 else 'seeds'}."
    ]
    within = ", within folds" if settings["within_folds"] else ""
    of_seeds = " and other seeds (Obuchowski and Rockette's analysis)" if n_seeds > 1 else ""
    notes.append(
        f"In brackets: {settings['confidence']:.0%} intervals for other patients{of_seeds}, from "
        f"{settings['n_resamples']} resamples of patients{within}, "
        f"the same for all arms, seed {settings['seed']}."
    )
    if n_folds > 1:
        notes.append(
            "Not in them: that other patients would also train the models. Simulated, differences "
            "then vary 1.2 to 1.3 times as much, and 95% intervals cover the truth 88 to 92 times "
            "in 100: where one barely excludes 0, a second study should decide."
        )
    if n_seeds == 1:
        notes.append("One seed: nothing here tells how far another training would differ.")
    single = [name for name, arm in found[0]["arms"].items() if arm["n_seeds"] < n_seeds]
    if single:
        notes.append(
            f"One seed stands for all in: {', '.join(map(_flat, single))}. What another training "
            "of these would change is in no interval."
        )
    if n_seeds > 1:
        notes.append("p: for other patients and other seeds, as the intervals.")
    notes.append(
        "DeLong's test for the AUROC and McNemar's exact test for the accuracy: p for other "
        "patients alone, patients as units, for these trained models. All p are two-sided, with "
        "Holm's correction over the arms of a table, and over its baselines apart from them."
    )
    notes.append(
        "smallest: the true difference that a study like this finds about 80 times in 100 "
        "(two-sided test of one arm at 5%). A difference not found says nothing of smaller ones."
    )
    return [*notes, *_caveats(comparison)]


def _caveats(comparison: dict[str, Any]) -> list[str]:
    """Say what in these tables needs care."""
    found = comparison["comparisons"]
    arms = [arm for one in found for arm in one["arms"].values()]
    notes = []
    if (comparison["n_folds"] or 1) > 1:
        notes.append("AUROC ranks images within folds only: models share no scale of scores.")
    without = {name: n for one in found for name, n in one["folds_without"].items() if n}
    for name, n in without.items():
        have = "1 fold has" if n == 1 else f"{n} folds have"
        notes.append(f"{have} no {_flat(name)} and no say in its AUROC.")
    if len(comparison["classes"]) == 2:
        notes.append("The Brier score adds up both classes: 0 to 2, twice that of either.")
    whys = sorted(
        {
            test["not_valid"]
            for arm in arms
            for test in arm.get("tests", {}).values()
            if test.get("not_valid")
        }
    )
    notes += [f"Not valid: {why}." for why in whys]
    if any(arm["thresholds"] for arm in arms):
        notes.append(
            "Thresholds: Youden's J on validation images, for each fold and seed; accuracy, "
            "balanced accuracy and F1 are for the class of the highest probability."
        )
    else:
        notes.append(
            "Decisions are for the class of the highest probability: there are no thresholds from "
            "validation images."
        )
    numbers = [
        number
        for arm in arms
        for number in (*arm["metrics"].values(), *arm.get("differences", {}).values())
    ]
    return [*notes, *notes_on_intervals(numbers)]
