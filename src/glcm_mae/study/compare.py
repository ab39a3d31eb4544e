"""Cross-validation and comparison: run the cells, join their predictions, compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import glcm_mae
from glcm_mae.data import Manifest, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.evaluation import compare_arms
from glcm_mae.files import write_atomically
from glcm_mae.settings import BaselineKind, CompareSettings, CrossvalSettings, DataSettings
from glcm_mae.training.inputs import labelled
from glcm_mae.training.progress import Meter
from glcm_mae.training.run import flat

from .arms import Arm, read_arms, recipe_arm
from .cells import Failure, baseline_cells, cells, pretraining_cells
from .engine import run_all
from .folds import Fold, add_unlabelled, write_folds, write_published_folds
from .page import format_page
from .tables import ArmTables, collect_arm, collect_baseline


@dataclass(frozen=True)
class Study:
    """What a study has come to.

    Parameters
    ----------
    folds : list of Fold
        Its folds.
    tables : dict
        For each way of judging an encoder, and each arm and baseline that is complete, its tables.
    failures : list of Failure
        Cells that did not come to their end.
    comparison : dict, optional
        Of `compare`: the content of ``comparison.json``; None if the reference is not complete.
    """

    folds: list[Fold]
    tables: dict[str, dict[str, ArmTables]]
    failures: list[Failure]
    comparison: dict[str, Any] | None = None


def crossval(settings: CrossvalSettings, recipe: Sequence[str]) -> Study:
    """Cross-validate one recipe.

    Parameters
    ----------
    settings : CrossvalSettings
        See there.
    recipe : sequence of str
        Recipes, each laid over those before it.

    Returns
    -------
    Study
        Its only arm is named as the last recipe.

    Raises
    ------
    UserError
        If the settings, recipes or images do not allow it.
    """
    return _run(settings, [recipe_arm(recipe, settings.by, settings.set)])


def compare(settings: CompareSettings, recipe: Sequence[str]) -> Study:
    """Compare arms, and baselines beside them; write ``comparison.json`` and ``comparison.md``.

    Parameters
    ----------
    settings : CompareSettings
        See there.
    recipe : sequence of str
        Recipes that all arms share, each laid over those before it.

    Returns
    -------
    Study

    Raises
    ------
    UserError
        If the settings, recipes or images do not allow it.
    """
    arms = read_arms(settings.arms, recipe, settings.by, settings.set)
    names = [arm.name for arm in arms]
    if settings.reference not in names:
        raise UserError(
            f"reference is {settings.reference}, which is none of the arms: set it to one of "
            f"{', '.join(names)}."
        )
    published = settings.protocol == "published"
    study = _run(settings, arms, settings.baselines, published=published)
    complete = {way: tables for way, tables in study.tables.items() if settings.reference in tables}
    if not complete:
        return study
    comparison = {
        "glcm_mae": glcm_mae.__version__,
        "settings": {**asdict(settings), "recipe": list(recipe)},
        "left_out_of_pretraining": [fold.left_out for fold in study.folds],
        "failed": [asdict(failure) for failure in study.failures],
        "differences": _differences(arms, settings.reference),
        "results": {way: _compared(tables, settings) for way, tables in complete.items()},
    }
    text = json.dumps(comparison, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(Path(settings.out) / "comparison.json", text)
    write_atomically(Path(settings.out) / "comparison.md", format_page(comparison))
    return replace(study, comparison=comparison)


def _run(
    settings: CrossvalSettings,
    arms: Sequence[Arm],
    baselines: Sequence[BaselineKind] = (),
    *,
    published: bool = False,
) -> Study:
    """Deal the folds, run every cell that is not finished, and join what is complete."""
    _check(settings, arms)
    out = Path(settings.out)
    stages = [stage for stage in (arms[0].probe, arms[0].finetune) if stage is not None]
    reading = replace(
        stages[0].data,
        images=settings.images,
        patient_regex=settings.patient_regex or stages[0].data.patient_regex,
    )
    manifest = labelled(reading, may_cross=published)
    if settings.positive not in (None, *manifest.classes):
        raise UserError(
            f"positive is {settings.positive!r}, which is no class of {settings.images}: give one "
            f"of {', '.join(manifest.classes)}."
        )
    folds = _deal(settings, manifest, reading, out / "folds", published)
    failures = run_all(pretraining_cells(arms, folds, settings.seeds, out), settings.engine, out)
    chosen = baseline_cells(baselines, stages[0].data, folds, out)
    chosen += cells(arms, folds, settings.seeds, out, allow_seen=published)
    failures += run_all(chosen, settings.engine, out)
    return Study(folds, _tables(settings, arms, baselines, folds, out), failures)


def _check(settings: CrossvalSettings, arms: Sequence[Arm]) -> None:
    """Refuse what makes no study, before any image is read."""
    if settings.folds < 3:
        raise UserError(
            f"folds is {settings.folds}: set it to 3 or more (one to test, one to validate)."
        )
    for name, value, least in (
        ("seeds", settings.seeds, 1),
        ("engine.jobs", settings.engine.jobs, 1),
        ("n_resamples", settings.n_resamples, 1),
    ):
        if value < least:
            raise UserError(f"{name} is {value}: set it to {least} or more.")
    if not settings.by:
        raise UserError("by is empty: give one or more of linear, knn, finetune.")
    if not 0 <= settings.split_seed < 2**32:
        raise UserError(f"split_seed is {settings.split_seed}: set it from 0 to {2**32 - 1}.")
    if Path(settings.out).exists() and not Path(settings.out).is_dir():
        raise UserError(f"{settings.out} is a file: choose a folder with --out.")
    stages = [stage for arm in arms for stage in (arm.pretrain, arm.finetune) if stage is not None]
    if any(stage.hardware.devices != 1 for stage in stages):
        raise UserError(
            "hardware.devices must be 1 in a study, whose cells take a device each: set it so in "
            "the recipe, and run several at a time by engine.jobs."
        )


def _deal(
    settings: CrossvalSettings,
    manifest: Manifest,
    reading: DataSettings,
    folder: Path,
    published: bool,
) -> list[Fold]:
    if published:
        if settings.pretrain_on is not None:
            raise UserError("protocol published pre-trains on all images: leave out pretrain_on.")
        return write_published_folds(manifest, folder, settings.folds, settings.split_seed)
    with Meter("looking for copies", len(manifest)) as meter:
        folds = write_folds(
            manifest, folder, settings.folds, settings.split_seed, lambda _: meter.advance(images=1)
        )
    if settings.pretrain_on is None:
        return folds
    unlabelled = read_manifest(
        settings.pretrain_on, reading.patient_regex, reading.plane, may_cross=True
    )
    with Meter("looking for tested images", len(manifest) + len(unlabelled)) as meter:
        return add_unlabelled(folds, unlabelled, folder, lambda _: meter.advance(images=1))


def _tables(
    settings: CrossvalSettings,
    arms: Sequence[Arm],
    baselines: Sequence[BaselineKind],
    folds: Sequence[Fold],
    out: Path,
) -> dict[str, dict[str, ArmTables]]:
    """Join the tables of every arm and baseline that is complete."""
    beside: dict[str, ArmTables | None] = {
        kind: collect_baseline(out, kind, folds) for kind in baselines
    }
    collected: dict[str, dict[str, ArmTables | None]] = {
        way: {arm.name: collect_arm(out, arm.name, way, folds, settings.seeds) for arm in arms}
        for way in settings.by
    }
    return {
        way: {name: found for name, found in (of_arms | beside).items() if found is not None}
        for way, of_arms in collected.items()
    }


def _compared(tables: dict[str, ArmTables], settings: CompareSettings) -> dict[str, Any]:
    return compare_arms(
        {name: found.test for name, found in tables.items()},
        {name: found.validation for name, found in tables.items()},
        settings.reference,
        positive=settings.positive,
        n_resamples=settings.n_resamples,
    )


def _differences(arms: Sequence[Arm], reference: str) -> dict[str, dict[str, Any]]:
    """List for each arm the pre-training settings in which it differs from the reference."""
    settings = {arm.name: flat(asdict(arm.pretrain)) for arm in arms if arm.pretrain is not None}
    base: dict[str, Any] = settings.get(reference, {})
    return {
        name: {key: value for key, value in own.items() if key not in base or base[key] != value}
        for name, own in settings.items()
        if name != reference
    }
