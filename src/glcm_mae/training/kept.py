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
        **{field.name: getattr(rule, field.name) for field in fields(rule)},
    }
    plain = {name: np.array(value, order="C") for name, value in arrays.items()}
    told = {
        "format": "glcm-mae classifier",
        "version": __version__,
        "rule": type(rule).__name__.lower(),
    }
    write_atomically(folder / CLASSIFIER, save(plain, told))


def read_kept(folder: Path) -> Standardized:
    """Read a classifier again.

    Parameters
    ----------
    folder : Path
        Where `keep` has written it.

    Returns
    -------
    Standardized

    Raises
    ------
    UserError
        If it is broken, or not one of ours.
    """
    path = folder / CLASSIFIER
    try:
        with safe_open(path, framework="np") as file:
            rule = _RULES[(file.metadata() or {})["rule"]]
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        learnt = {
            field.name: array.item() if array.ndim == 0 else array
            for field in fields(rule)
            for array in [arrays[field.name]]
        }
        return Standardized(arrays["centre"], arrays["spread"], rule(**learnt))
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path} is not a whole classifier: copy the run anew.") from error
