"""What a comparison comes to, in sentences."""

from collections.abc import Collection, Iterator
from typing import Any

from glcm_mae.evaluation.bootstrap import with_interval

_SIGNIFICANT = 0.05


def verdict(comparison: dict[str, Any], baselines: Collection[str] = ()) -> list[str]:
    """Say of each arm whether it is better than the reference, by the AUROC by image.

    An arm is better or worse where the interval of the difference excludes 0 and the p-value, which
    pays for the number of arms, is below 0.05, too; where they disagree, nothing is decided. Both
    ask about other patients and, of several seeds, other seeds; of one seed the p-value is
    DeLong's.

    Parameters
    ----------
    comparison : dict
        What `compare_arms` returned.
    baselines : collection of str
        Arms that are classifiers without a pre-training. The one with the highest AUROC is set
        beside the best of the others.

    Returns
    -------
    list of str
        A sentence for each arm but the reference and the baselines, and one for the baselines.

    Examples
    --------
    >>> difference = {"value": 0.04, "low": 0.01, "high": 0.07, "smallest": 0.04}
    >>> arms = {
    ...     "mse": {"metrics": {"auroc": {"value": 0.73}}},
    ...     "texture": {
    ...         "metrics": {"auroc": {"value": 0.77}},
    ...         "differences": {"auroc": difference},
    ...         "tests": {"auroc": {"p_holm": 0.002}},
    ...     },
    ... }
    >>> found = {"settings": {"reference": "mse"}, "comparisons": [{"arms": arms}]}
    >>> verdict(found)
    ['texture is better than mse: +0.040 [+0.010, +0.070].']
    """
    reference, arms = comparison["settings"]["reference"], comparison["comparisons"][0]["arms"]
    own = [name for name in arms if name not in baselines]
    said = [_said_of(name, arms[name], reference) for name in own if name != reference]
    known = [name for name in arms if name in baselines]
    return [*said, *_beside(arms, own, known, reference)]


def _said_of(name: str, arm: dict[str, Any], reference: str) -> str:
    difference, tests = arm["differences"]["auroc"], arm["tests"]
    p = tests.get("auroc_over_seeds", tests["auroc"])["p_holm"]
    if difference["value"] is None or difference["low"] is None:
        return f"{name} cannot be compared with {reference}: the difference is undefined."
    shown = with_interval(difference, signed=True)
    excludes = difference["low"] > 0 or difference["high"] < 0
    significant = p is not None and p < _SIGNIFICANT
    if excludes and significant:
        return (
            f"{name} is {'better' if difference['low'] > 0 else 'worse'} than {reference}: {shown}."
        )
    if excludes or significant:
        test = "without a valid test" if p is None else f"p {p:.3f} after Holm's correction"
        return f"{name} against {reference} is not decided: {shown}, {test}."
    if difference["smallest"] is None:
        return f"{name} cannot be told from {reference}: no resample sets them apart."
    return (
        f"{name} cannot be told from {reference}: {shown}; a test of this arm alone would have "
        f"found a true difference of {difference['smallest']:.3f} about 80 times in 100."
    )


def _beside(
    arms: dict[str, Any], own: list[str], baselines: list[str], reference: str
) -> Iterator[str]:
    found = {name: arm["metrics"]["auroc"] for name, arm in arms.items()}
    known = {name: auroc["value"] for name, auroc in found.items() if auroc["value"] is not None}
    best = max((n for n in own if n in known), key=known.__getitem__, default=None)
    bar = max((n for n in baselines if n in known), key=known.__getitem__, default=None)
    if best is None or bar is None:
        return
    where = " is said above" if bar == reference else f", --reference {bar} tells"
    yield (
        f"The best arm, {best}, has {with_interval(found[best])}, the best baseline, {bar}, "
        f"{with_interval(found[bar])}: whether they differ{where}."
    )
