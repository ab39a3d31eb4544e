"""A fitted classifier as a file of numbers, which is read without executing code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically

from .classifiers import Boosting, Linear, Neighbours, Rule, Standardized

CLASSIFIER = "classifier.safetensors"
"""Its name, beside the table of what it predicts."""

_KNOWN: tuple[type[Rule], ...] = (Linear, Neighbours, Boosting)
_RULES = {rule.__name__.lower(): rule for rule in _KNOWN}


def keep(classifier: Standardized, folder: Path) -> None:
    """Write a classifier beside the tables of what it predicts.

    Parameters
    ----------
    classifier : Standardized
        What was fitted: `Linear`, `Neighbours` or `Boosting`. The latter two are the features and
        labels of their training images.
    folder : Path
        Where to.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    rule = classifier.rule
    arrays = {
        "centre": classifier.centre,
        "spread": classifier.spread,
        **rule.to_keep(),
    }
    plain = {name: np.array(value, order="C") for name, value in arrays.items()}
    told = {
        "format": "glcm-mae classifier",
        "version": __version__,
        "rule": type(rule).__name__.lower(),
    }
    write_atomically(folder / CLASSIFIER, save(plain, told))


def read_kept(folder: Path, n_classes: int, rule: type[Rule] | None = None) -> Standardized:
    """Read a classifier again.

    Parameters
    ----------
    folder : Path
        Where `keep` has written it.
    n_classes : int
        How many it tells apart.
    rule : type of Rule, optional
        What it must be. Default: any.

    Returns
    -------
    Standardized

    Raises
    ------
    UserError
        If it is broken, another one, or not one of ours; or if it predicts other than it did.
    """
    path = folder / CLASSIFIER
    try:
        with safe_open(path, framework="np") as file:
            found = _RULES[(file.metadata() or {})["rule"]]
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        learnt = {
            field.name: array.item() if array.ndim == 0 else array
            for field in fields(found)
            for array in [arrays[field.name]]
        }
        classifier = Standardized(arrays["centre"], arrays["spread"], found(**learnt))
        is_whole = rule in (None, found) and _predicts(classifier, n_classes)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        is_whole = False
    if not is_whole:
        raise UserError(f"{path} is not a whole classifier: copy the run anew.")
    if isinstance(classifier.rule, Boosting) and not classifier.rule.grows_as_before():
        raise UserError(
            f"{path} grows other trees by the scikit-learn that is installed than it did: run the "
            "baseline again, or install the one that made it."
        )
    return classifier


def _predicts(classifier: Standardized, n_classes: int) -> bool:
    """Whether it says of its own mean image how probable each class is."""
    if classifier.centre.ndim != 1 or not (classifier.spread > 0).all():
        return False
    chances = classifier.chances(classifier.centre[None])
    return chances.shape == (1, n_classes) and bool(np.isfinite(chances).all())
