"""Several arms, tested on the same images, against one of them."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glcm_mae.errors import UserError
from glcm_mae.evaluation.aligned import AlignedArms, align_arms
from glcm_mae.evaluation.bootstrap import CONFIDENCE, patient_strata
from glcm_mae.evaluation.crossed import (
    ROUNDING,
    Crossed,
    crossed_bootstrap,
    crossed_interval,
    crossed_p,
    error_over_seeds,
    t_quantile,
)
from glcm_mae.evaluation.delong import delong_test
from glcm_mae.evaluation.evaluate import about_patients_of
from glcm_mae.evaluation.holm import holm
from glcm_mae.evaluation.mcnemar import mcnemar_test
from glcm_mae.evaluation.metrics import (
    CLASS_METRICS,
    FloatArray,
    IntArray,
    range_of,
    weighted_metrics,
)
from glcm_mae.evaluation.thresholds import (
    THRESHOLD_METRICS,
    ThresholdCalls,
    calls_at_threshold,
    threshold_metrics,
)
from glcm_mae.predictions import Predictions
from glcm_mae.provenance import made_by

_POWER = 0.8  # how often a study like this finds the smallest difference that it can show
_ERROR = ("standard_error", "degrees_of_freedom", "smallest")

_OVERALL = (
    "auroc",
    "pooled_auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "brier",
    "ece",
)

Tables = Mapping[str, Predictions]
Validation = Mapping[str, Predictions | None]


def compare_arms(
    tables: Tables,
    validation: Validation,
    reference: str,
    positive: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    baselines: Collection[str] = (),
    seed_of_model: Mapping[int, int] | None = None,
) -> dict[str, Any]:
    """Compare arms that were tested on the same images, in the same folds, with the reference arm.

    **Values** are the metrics of `weighted_metrics`: within folds for AUROC and AUPRC, the mean
    over seeds for all. **Intervals** are for other patients and other seeds, as for the cases and
    readers of a multi-reader study (`crossed_interval`, `error_over_seeds`); patients are drawn
    within folds, where each has several, the same for all arms and seeds. An interval of a
    difference that holds 0 says that these patients and seeds do not tell the two arms apart.

    **P-values** are for the AUROC and the accuracy, of the very differences in the table, and
    corrected by `holm` over the arms, and over the baselines apart from them. `crossed_p` asks, as
    the intervals do, about other patients and other seeds. `delong_test` and `mcnemar_test` take
    the trained models as given and ask about other patients alone: where theirs is small and that
    over seeds is not, the difference may be one of seeds.

    **The smallest difference** that the comparison could show is the true difference that a
    two-sided test at 5%, not corrected, finds in about 80 of 100 studies like this: the standard
    error, as estimated, times the sum of two quantiles of Student's t, at 97.5% and 80% [1]_, 2.80
    if seeds hardly matter (with 2 degrees of freedom it is 77 of 100). A difference that was not
    found says nothing about smaller ones.

    How often the intervals of differences cover the truth, simulated with 400 patients and 2, 3, 5
    or 10 seeds (``benchmarks/evidence/interval_coverage.py``, 1,500 studies each): 93 to 96 times
    in 100, whether the chance is in the patients, in the seeds, or in both alike, and up to always
    where each seed sees each patient in its own way and nothing else varies. (The percentiles of a
    bootstrap over patients and seeds cover it 75 times in 100 where three seeds are most of it.)
    That is of normal values: of AUROCs near 1 over few patients it is less. An arm of one seed
    stands for all seeds; what another training of it would change is in no interval.

    **Nor is it in any interval that other patients would also train the models.** No unbiased
    estimate of that can be had from one cross-validation [2]_. Two linear classifiers that know
    equally much, simulated in five folds (``benchmarks/evidence/training_coverage.py``, 300 studies
    each), differ 1.19 to 1.28 times as much as their standard error says, and the interval covers
    0 in 88 to 92 of 100, where classifiers that are not trained have 93 to 95: a difference whose
    interval barely excludes 0, or whose p is not far below 0.05, is worth a second study.

    Parameters
    ----------
    tables : mapping from str to Predictions
        Each arm's test predictions: over all folds and seeds, the images, labels, patients and
        folds the same in all. An arm with one seed stands for all seeds.
    validation : mapping from str to Predictions or None
        Each arm's predictions for its validation images, from which thresholds come
        (`calls_at_threshold`). An arm that is missing or None has no threshold.
    reference : str
        The arm that the others are compared with.
    positive : str, optional
        The class that is a case. With more than two classes, it is also compared against the rest.
        Default with two classes: the last.
    n_resamples, seed : int
        As for `crossed_bootstrap`.
    baselines : collection of str
        Arms that stand beside the others and are no part of what is tried: more of them must not
        make the others harder to tell from the reference.
    seed_of_model : mapping from int to int, optional
        Where several models of one training seed were tested on all images, as those of its folds
        on images of another source, each stands in the tables as a seed of its own, and this says
        of which it is. Figures are averaged over the models of a seed, and only then do seeds
        differ. Baselines are trained once: all their models are of one. Default: each is a seed.

    Returns
    -------
    dict
        Ready for JSON; None stands for undefined.

        - ``glcm_mae`` and ``code``: see `made_by`; ``settings``: what the numbers depend on.
        - ``classes``, ``n_images``, ``n_patients``, ``n_folds`` (None without folds), ``n_seeds``,
          and ``patients``, a sentence on what patients are here.
        - ``comparisons``: a list, for every task by image and, unless ``patients`` says why not, by
          patient. Each has ``task`` (a title), ``unit`` (``"image"`` or ``"patient"``),
          ``classes``, ``positive``, ``class_counts``, ``folds_without`` (class to number of folds
          that have none of it) and ``arms``.

        An arm has ``n_seeds``, ``metrics`` (name to ``value``, ``low``, ``high``, and
        ``undefined`` where some resamples were), ``thresholds`` (a list of ``fold``, ``seed``,
        ``threshold``, or None), and, except for the reference, ``differences`` (as ``metrics``,
        with ``standard_error``, ``degrees_of_freedom``, None where they are infinite, and
        ``smallest``) and ``tests``: ``auroc`` with ``test``, ``difference``, ``standard_error``,
        ``p``, ``p_holm`` and ``not_valid``, ``accuracy`` with ``test``, ``n_better``, ``n_worse``
        (patients), ``p`` and ``p_holm``, of several seeds also ``auroc_over_seeds`` and
        ``accuracy_over_seeds`` with ``test``, ``p``, ``p_holm`` and ``not_valid``, and in all
        ``n_tests``, over which Holm's correction went. The metrics are the overall ones of
        `compute_metrics`; for two classes ``f1``, ``sensitivity`` and ``specificity`` of the
        positive one, too; of one class against the rest those of that class, which is called
        where it has the highest probability of all classes; and with thresholds
        ``sensitivity_at_threshold`` and so on.

    Raises
    ------
    UserError
        If the arms do not fit each other (`align_arms`), a validation table does not fit its arm,
        or a setting is wrong.

    References
    ----------
    .. [1] Bloom, "Minimum detectable effects: a simple way to report the statistical power of
       experimental designs", Evaluation Review 19 (1995) 547-556.
    .. [2] Bengio, Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation",
       Journal of Machine Learning Research 5 (2004) 1089-1105.

    Examples
    --------
    >>> def arm(*malignant):
    ...     p = np.array(malignant)
    ...     images = ("1", "2", "3", "4")
    ...     labels = np.array([0, 0, 1, 1])
    ...     return Predictions(images, images, labels, ("b", "m"), np.stack([1 - p, p], 1))
    >>> arms = {"mse": arm(0.2, 0.6, 0.4, 0.9), "texture": arm(0.2, 0.3, 0.4, 0.9)}
    >>> result = compare_arms(arms, {}, reference="mse")
    >>> texture = result["comparisons"][0]["arms"]["texture"]
    >>> texture["metrics"]["auroc"]["value"], texture["differences"]["auroc"]["value"]
    (1.0, 0.25)
    """
    aligned = align_arms(tables, reference)
    seeds = np.array([(seed_of_model or {}).get(seed, seed) for seed in aligned.seeds])
    once = seeds if seed_of_model is None else np.zeros_like(seeds)
    groups = {name: once if name in baselines else seeds for name in tables}
    first = tables[reference]
    if positive is not None and positive not in first.classes:
        raise UserError(
            f"positive={positive!r} is not a class: choose one of "
            f"{', '.join(map(repr, first.classes))}."
        )
    validation = {name: validation.get(name) for name in tables}
    whys = (about_patients_of(first, table) for table in (None, *validation.values()))
    why_not_by_patient = next((why for why in whys if why), None)
    units = {"image": (tables, validation)}
    if not why_not_by_patient:
        units["patient"] = (
            {name: table.by_patient() for name, table in tables.items()},
            {name: table and table.by_patient() for name, table in validation.items()},
        )
    return {
        **made_by(),
        "settings": {
            "reference": reference,
            "positive": positive or (first.classes[-1] if len(first.classes) == 2 else None),
            "n_resamples": n_resamples,
            "seed": seed,
            "confidence": CONFIDENCE,
            "within_folds": _draws_within_folds(aligned),
        },
        "classes": list(first.classes),
        "n_images": first.n_images,
        "n_patients": first.n_patients,
        "n_folds": aligned.n_folds,
        "n_seeds": len(np.unique(seeds)),
        "patients": why_not_by_patient or "probabilities are averaged over the images of a patient",
        "comparisons": [
            {
                "task": title,
                "unit": unit,
                **_compared(
                    of_unit, validated, reference, case, n_resamples, seed, baselines, groups
                ),
            }
            for unit, (of_unit, validated) in units.items()
            for title, case in _tasks(first.classes, positive)
        ],
    }


def _draws_within_folds(aligned: AlignedArms) -> bool:
    _, first, patient_of_image = np.unique(aligned.patients, return_index=True, return_inverse=True)
    return len(np.unique(patient_strata(aligned.folds, first, patient_of_image))) > 1


def _tasks(classes: Sequence[str], positive: str | None) -> Iterator[tuple[str, str | None]]:
    """Title and case of each task: all classes, and one class against the others."""
    if len(classes) > 2:
        yield "all classes", None
        if positive is not None:
            yield f"{positive} against the rest", positive
        return
    case = positive or classes[-1]
    [other] = set(classes) - {case}
    yield f"{case} against {other}", case


def _compared(
    tables: Tables,
    validation: Validation,
    reference: str,
    case: str | None,
    n_resamples: int,
    seed: int,
    baselines: Collection[str],
    groups: Mapping[str, IntArray],
) -> dict[str, Any]:
    """Compare the arms in one task, by image or by patient."""
    aligned = align_arms(tables, reference)
    calls: dict[str, ThresholdCalls] = {}
    for name, table in validation.items():
        if case is not None and table is not None:
            calls[name] = _calls(name, tables[name], table, case)
    probabilities = {name: tables[name].probabilities[rows] for name, rows in aligned.rows.items()}
    called = {name: calls[name].is_called[aligned.rows[name]] for name in calls}  # (S, N)
    of_models = crossed_bootstrap(
        {
            name: [
                partial(
                    _metrics,
                    aligned=aligned,
                    probabilities=of_seed,
                    is_called=called[name][s] if name in called else None,
                    case=case,
                )
                for s, of_seed in enumerate(of_seeds)
            ]
            for name, of_seeds in probabilities.items()
        },
        aligned.patients,
        aligned.folds,
        n_resamples,
        seed,
    )
    measured = {
        name: {metric: found.averaged(groups[name]) for metric, found in of_arm.items()}
        for name, of_arm in of_models.items()
    }
    n_patients = len(np.unique(aligned.patients))
    over_seeds = any(len(np.unique(of_arm)) > 1 for of_arm in groups.values())
    tests = _tests(aligned, probabilities, measured, n_patients, reference, case, over_seeds)
    for beside in (False, True):
        _correct([test for name, test in tests.items() if (name in baselines) is beside])
    names, labels = _sides(aligned, case)
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return {
        "classes": list(names),
        "positive": case,
        "class_counts": dict(zip(names, counts, strict=True)),
        "folds_without": _folds_without(names, labels, aligned.folds),
        "arms": {
            name: {
                "n_seeds": len(next(iter(of_arm.values())).of_seeds),
                "metrics": {
                    metric: crossed_interval(of_metric, n_patients, range_of(metric)).to_json()
                    for metric, of_metric in of_arm.items()
                },
                "thresholds": calls[name].to_json() if name in calls else None,
                **(
                    {}
                    if name == reference
                    else {
                        "differences": {
                            metric: _difference(
                                of_arm[metric] - of_reference, n_patients, range_of(metric)[1]
                            )
                            for metric, of_reference in measured[reference].items()
                            if metric in of_arm
                        },
                        "tests": tests[name],
                    }
                ),
            }
            for name, of_arm in measured.items()
        },
    }


def _sides(aligned: AlignedArms, case: str | None) -> tuple[tuple[str, ...], IntArray]:
    """Say what is told apart in a task, and on which side each image is: (N,)."""
    if case is None or len(aligned.classes) == 2:
        return aligned.classes, aligned.labels
    is_case = aligned.labels == aligned.classes.index(case)
    return (f"not {case}", case), is_case.astype(np.int64)


def _calls(name: str, table: Predictions, validation: Predictions, case: str) -> ThresholdCalls:
    try:
        return calls_at_threshold(table, validation, case)
    except UserError as error:
        raise UserError(f"arm {name!r}: {error}") from None


def _metrics(
    weights: FloatArray,
    *,
    aligned: AlignedArms,
    probabilities: FloatArray,
    is_called: FloatArray | None,
    case: str | None,
) -> dict[str, FloatArray]:
    """Metrics (R,) of one arm and seed.

    Whatever the task, an image is called by the highest probability of all classes.
    """
    of_two = case is not None and len(aligned.classes) == 2
    measured = weighted_metrics(
        aligned.labels,
        probabilities,
        weights,
        classes=aligned.classes,
        positive=case if of_two else None,
        folds=aligned.folds,
    )
    if case is None or of_two:
        metrics = {name: measured[name] for name in _OVERALL if name in measured}
    else:
        metrics = {name: measured[f"{name}/{case}"] for name in CLASS_METRICS}
    if of_two:
        metrics |= {
            name: measured[f"{name}/{case}"] for name in ("f1", "sensitivity", "specificity")
        }
    if is_called is not None:
        is_case = aligned.labels == aligned.classes.index(str(case))
        at_threshold = threshold_metrics(is_case, is_called, weights)
        metrics |= {f"{name}_at_threshold": at_threshold[name] for name in THRESHOLD_METRICS}
    return metrics


def _difference(between: Crossed, n_patients: int, highest: float) -> dict[str, float | int | None]:
    ends = crossed_interval(between, n_patients, (-highest, highest))
    error, freedom = error_over_seeds(between)
    if math.isnan(ends.low) or error < ROUNDING:
        return {**ends.to_json(), **dict.fromkeys(_ERROR)}
    known = t_quantile((1 + CONFIDENCE) / 2, freedom) + t_quantile(_POWER, freedom)
    degrees = None if math.isinf(freedom) else freedom
    return {**ends.to_json(), **dict(zip(_ERROR, (error, degrees, known * error), strict=True))}


def _tests(
    aligned: AlignedArms,
    probabilities: Mapping[str, FloatArray],
    measured: Mapping[str, Mapping[str, Crossed]],
    n_patients: int,
    reference: str,
    case: str | None,
    over_seeds: bool,
) -> dict[str, dict[str, dict[str, Any]]]:
    """DeLong's and McNemar's test of every arm against the reference, and those over seeds."""
    against = probabilities[reference]
    asked = range(len(aligned.classes)) if case is None else [aligned.classes.index(case)]
    tests: dict[str, dict[str, dict[str, Any]]] = {}
    for name, of_arm in probabilities.items():
        if name == reference:
            continue
        auroc = delong_test(aligned.labels, against, of_arm, aligned.patients, aligned.folds, asked)
        accuracy = mcnemar_test(
            _is_right(against, aligned, case), _is_right(of_arm, aligned, case), aligned.patients
        )
        tests[name] = {
            "auroc": {
                "test": "DeLong",
                "difference": _or_none(auroc.difference),
                "standard_error": _or_none(auroc.standard_error),
                "p": _or_none(auroc.p),
                "not_valid": auroc.not_valid or None,
            },
            "accuracy": {
                "test": "McNemar, exact",
                "n_better": accuracy.n_better,
                "n_worse": accuracy.n_worse,
                "p": accuracy.p,
            },
        }
        if over_seeds:
            for metric in ("auroc", "accuracy"):
                between = measured[name][metric] - measured[reference][metric]
                tests[name][f"{metric}_over_seeds"] = _over_seeds(between, n_patients)
    return tests


def _over_seeds(between: Crossed, n_patients: int) -> dict[str, Any]:
    p = crossed_p(between, n_patients)
    same = math.isnan(p) and error_over_seeds(between)[0] < ROUNDING and n_patients > 1
    return {
        "test": "Obuchowski-Rockette, with a floor",
        "p": _or_none(p),
        "not_valid": "the arms differ by the same for all patients and seeds" if same else None,
    }


def _correct(family: list[dict[str, dict[str, Any]]]) -> None:
    """Write Holm's correction into the tests of a family of arms."""
    for kind in ("auroc", "accuracy", "auroc_over_seeds", "accuracy_over_seeds"):
        of_kind = [of_arm[kind] for of_arm in family if kind in of_arm]
        p_values = [np.nan if test["p"] is None else test["p"] for test in of_kind]
        for test, corrected in zip(of_kind, holm(p_values), strict=True):
            test["p_holm"] = _or_none(corrected)
            test["n_tests"] = int(np.sum(~np.isnan(p_values)))


def _is_right(
    probabilities: FloatArray, aligned: AlignedArms, case: str | None
) -> NDArray[np.bool_]:
    """Whether each seed (S, N) calls an image by its class, or rightly a case or none."""
    called = probabilities.argmax(2)
    if case is None:
        return called == aligned.labels
    index = aligned.classes.index(case)
    return (called == index) == (aligned.labels == index)


def _folds_without(names: Sequence[str], labels: IntArray, folds: IntArray) -> dict[str, int]:
    n_folds = len(np.unique(folds))
    return {
        name: n_folds - len(np.unique(folds[labels == index])) for index, name in enumerate(names)
    }


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number
