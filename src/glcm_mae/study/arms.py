"""The arms of a study: what their stages are set to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glcm_mae.arguments import parse, sections
from glcm_mae.errors import UserError
from glcm_mae.settings import FinetuneSettings, PretrainSettings, ProbeSettings

RANDOM = "random"
"""The arm without pre-training: the control that every other must beat."""

_NONE = "none"  # stands where a stage wants images and a folder, until a cell gives its own


@dataclass(frozen=True)
class Arm:
    """One setting of a comparison: its stages, but for images, folder and seed.

    Parameters
    ----------
    name : str
        What tables call it.
    pretrain : PretrainSettings or None
        None for random weights.
    probe : ProbeSettings or None
        None if the study asks for neither linear nor knn.
    finetune : FinetuneSettings or None
        None if the study does not fine-tune.
    """

    name: str
    pretrain: PretrainSettings | None
    probe: ProbeSettings | None
    finetune: FinetuneSettings | None


def read_arms(names: Sequence[str], recipe: Sequence[str], by: Sequence[str]) -> list[Arm]:
    """Lay each arm's recipe over the one that all arms share.

    Parameters
    ----------
    names : sequence of str
        ``random``, names of the package's arms (``recipes/arms``), or YAML files.
    recipe : sequence of str
        Recipes that all arms share, each laid over those before it.
    by : sequence of {"linear", "knn", "finetune"}
        How encoders are judged.

    Returns
    -------
    list of Arm

    Raises
    ------
    UserError
        If a recipe cannot be read, or two arms have one name.
    """
    arms = [_read_arm(name, list(recipe), by) for name in names]
    taken = [arm.name for arm in arms]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise UserError(f"arms has {twice[0]} twice: give each arm's file a name of its own.")
    return arms


def recipe_arm(recipe: Sequence[str], by: Sequence[str]) -> Arm:
    """Take what a recipe itself says as the only arm.

    Parameters
    ----------
    recipe, by
        As for `read_arms`.

    Returns
    -------
    Arm
        Named as the last recipe, or ``default`` if there is none.
    """
    return _arm(Path(recipe[-1]).stem if recipe else "default", recipe, by)


def _read_arm(name: str, recipe: Sequence[str], by: Sequence[str]) -> Arm:
    if name == RANDOM:
        return replace(_arm(RANDOM, recipe, by), pretrain=None)
    own = name if Path(name).is_file() else f"arms/{name}"
    return _arm(Path(name).stem, [*recipe, own], by)


def _arm(name: str, recipes: Sequence[str], by: Sequence[str]) -> Arm:
    return Arm(
        name,
        _stage("pretrain", recipes),
        _stage("probe", recipes) if {"linear", "knn"} & set(by) else None,
        _stage("finetune", recipes) if "finetune" in by else None,
    )


def _stage(command: str, recipes: Sequence[str]) -> Any:
    words = [command, "--data.images", _NONE, "--out", _NONE]
    for recipe in recipes:
        if command in sections(recipe):
            words += ["--config", recipe]
    return parse(words)[1]


def recipes_in(options: str) -> list[str]:
    """List the recipes that ``--config`` options name, as a stage is given them."""
    return [word for word in shlex.split(options) if word != "--config"]
