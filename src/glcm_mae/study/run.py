"""From settings to tables: deal the folds, run the cells, join their predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from glcm_mae.data import Manifest, read_manifest
from glcm_mae.data.fitting import check_image_size
from glcm_mae.errors import UserError
from glcm_mae.evaluation.bootstrap import LEAST_RESAMPLES
from glcm_mae.settings import (
    BaselineKind,
    CrossvalSettings,
    DataSettings,
    FinetuneSettings,
    HardwareSettings,
    PretrainSettings,
    ProbeSettings,
    height_and_width,
)
from glcm_mae.training.inputs import (
    check_cache,
    check_classes,
    check_readable,
    labelled,
    manifest_of,
)
from glcm_mae.training.progress import Meters

from .alone import alone_in
from .arms import Arm
from .cells import baseline_cells, cells, encoder_of, pretraining_cells
from .engine import run_all
from .finished import code_of_runs, finished_runs, refuse_other_settings
from .folds import Fold, add_unlabelled, write_folds, write_published_folds
from .in_turn import Failure
from .pinned import pin_images, pin_weights
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
    about_patients : str or None
        What stands where a patient should, if patients are not known or not kept together.
    code_of_runs : dict
        Which code made how many of its runs.
    comparison : dict, optional
        Of `compare`: the content of ``comparison.json``; None if the reference is not complete.
    external : dict, optional
        Of `compare`, with images of another source: that of ``external/comparison.json``.
    """

    folds: list[Fold]
    tables: dict[str, dict[str, ArmTables]]
    failures: list[Failure]
    about_patients: str | None
    code_of_runs: dict[str, int]
    comparison: dict[str, Any] | None = None
    external: dict[str, Any] | None = None


def run_study(
    settings: CrossvalSettings,
    arms: Sequence[Arm],
    baselines: Sequence[BaselineKind] = (),
    *,
    published: bool = False,
) -> Study:
    """Deal the folds, run every cell that is not finished, and join what is complete.

    Parameters
    ----------
    settings : CrossvalSettings
        See there.
    arms : sequence of Arm
        One at least.
    baselines : sequence of str
        Classifiers without a pre-training.
    published : bool
        Deal folds and pre-train as the release of GLCM-MAE does.

    Returns
    -------
    Study

    Raises
    ------
    UserError
        If the settings, recipes or images do not allow it.
    """
    check_study(settings, arms)
    out = Path(settings.out)
    reading = reading_of_arms(settings, arms)
    manifest = labelled(reading, may_cross=published)
    if settings.positive not in (None, *manifest.classes):
        raise UserError(
            f"positive is {settings.positive!r}, which is no class of {settings.images}: give one "
            f"of {', '.join(manifest.classes)}."
        )
    unlabelled = _unlabelled(settings, reading, published)
    hashes = _check_images(settings, arms, manifest, unlabelled)
    with alone_in(out):
        pin_images(hashes, out)
        pin_weights(arms, out)
        folds = _deal(settings, manifest, unlabelled, out / "folds", published)
        _check_folds(folds, manifest)
        shared = pretraining_cells(arms, folds, settings.seeds, out)
        of_arms = cells(arms, folds, settings.seeds, out, allow_seen=published)
        of_baselines = baseline_cells(baselines, reading, folds, out, _hardware(arms))
        refuse_other_settings([*shared, *of_baselines, *of_arms])
        failures = run_all(shared, settings.engine, out)
        # What stands on a shared pre-training that failed waits: another encoder may lie there.
        lacking = {run.out for cell in shared for run in cell.stages} - finished_runs(shared)
        chosen = of_baselines + [
            cell for cell in of_arms if lacking.isdisjoint(map(encoder_of, cell.stages))
        ]
        failures += run_all(chosen, settings.engine, out)
        finished = finished_runs([*shared, *chosen])
        about = _about_patients(manifest, published)
        tables = _tables(settings, arms, baselines, folds, finished, about)
    return Study(folds, tables, failures, about, code_of_runs(finished))


def _about_patients(manifest: Manifest, published: bool) -> str | None:
    if manifest.has_patients and not published:
        return None
    if manifest.tells_patients and not published:
        return (
            "the images of one person by their DICOM headers count as one, copies with them, for "
            "the data set names no patients"
        )
    return (
        f"an image {'alone' if published else 'with its copies'} counts as one, for patients are "
        "not known or not kept together; if patients have several images, the intervals are too "
        "narrow"
    )


def reading_of_arms(settings: CrossvalSettings, arms: Sequence[Arm]) -> DataSettings:
    """Say how the labelled images are read: as the first arm reads what it is tested on.

    Parameters
    ----------
    settings : CrossvalSettings
        The study's.
    arms : sequence of Arm
        One at least.

    Returns
    -------
    DataSettings

    Raises
    ------
    UserError
        If the arms' recipes find patients in different ways.
    """
    [tested, *_] = [stage.data for stage in (arms[0].probe, arms[0].finetune) if stage is not None]
    # Any section may name the patients. To overlook one would let them cross the folds.
    named = {stage.data.patient_regex for arm in arms for stage in _stages_of(arm)} - {None}
    if settings.patient_regex is None and len(named) > 1:
        raise UserError(
            f"the recipes have {len(named)} different values of data.patient_regex: give one by "
            "--patient_regex."
        )
    regex = settings.patient_regex or next(iter(named), None)
    return replace(tested, images=settings.images, patient_regex=regex)


def _hardware(arms: Sequence[Arm]) -> HardwareSettings:
    """Say where networks are trained: where the first arm is judged."""
    [first, *_] = [stage for stage in (arms[0].probe, arms[0].finetune) if stage is not None]
    return first.hardware


def _stages_of(arm: Arm) -> list[PretrainSettings | ProbeSettings | FinetuneSettings]:
    return [stage for stage in (arm.pretrain, arm.probe, arm.finetune) if stage is not None]


def _unlabelled(
    settings: CrossvalSettings, reading: DataSettings, published: bool
) -> Manifest | None:
    """List the images to pre-train on, if they are others than those that are tested."""
    if settings.pretrain_on is None:
        return None
    if published:
        raise UserError("protocol published pre-trains on all images: leave out pretrain_on.")
    return manifest_of(replace(reading, images=settings.pretrain_on), may_cross=True)


def _check_images(
    settings: CrossvalSettings,
    arms: Sequence[Arm],
    manifest: Manifest,
    unlabelled: Manifest | None,
) -> dict[str, str]:
    """Read every image as the arms will, so that a setting that does not fit is told once.

    Returns the fingerprint of each image's pixels.
    """
    learning = [arm.pretrain.data for arm in arms if arm.pretrain is not None]
    tested = [
        stage.data for arm in arms for stage in (arm.probe, arm.finetune) if stage is not None
    ]
    for data in learning + tested:
        for images in (settings.images, settings.pretrain_on):
            if images is not None:
                check_cache(data.cache, images, settings.out)
    if unlabelled is None:
        return _check_readable(learning + tested, manifest)
    return _check_readable(tested, manifest) | _check_readable(learning, unlabelled)


def _check_readable(ways: Sequence[DataSettings], manifest: Manifest) -> dict[str, str]:
    """Read the images once in each way that differs."""
    alike = [replace(data, patient_regex=None, fold=None) for data in ways]
    hashes: dict[str, str] = {}
    for data in {repr(data): data for data in alike}.values():
        hashes |= check_readable(data, manifest)
    return hashes


def _check_folds(folds: Sequence[Fold], whole: Manifest) -> None:
    """Refuse folds on which a classifier cannot be fitted, before anything is trained."""
    for fold in folds:
        manifest = read_manifest(fold.images, plane=whole.plane, may_lack=True)
        train = np.flatnonzero([record.split == "train" for record in manifest.records])
        check_classes(manifest, train, least=2)


def check_study(settings: CrossvalSettings, arms: Sequence[Arm]) -> None:
    """Refuse what makes no study, before any image is read.

    Parameters
    ----------
    settings : CrossvalSettings
        The study's.
    arms : sequence of Arm
        One at least.

    Raises
    ------
    UserError
        If a setting, or one of an arm's recipe, cannot be so.
    """
    if settings.folds < 3:
        raise UserError(
            f"folds is {settings.folds}: set it to 3 or more (one to test, one to validate)."
        )
    for name, value, least in (
        ("seeds", settings.seeds, 1),
        ("engine.jobs", settings.engine.jobs, 1),
        ("n_resamples", settings.n_resamples, LEAST_RESAMPLES),
    ):
        if value < least:
            raise UserError(f"{name} is {value}: set it to {least} or more.")
    if not settings.by:
        raise UserError("by is empty: give one or more of linear, knn, linear_glcm, finetune.")
    if not 0 <= settings.split_seed < 2**32:
        raise UserError(f"split_seed is {settings.split_seed}: set it from 0 to {2**32 - 1}.")
    if Path(settings.out).exists() and not Path(settings.out).is_dir():
        raise UserError(f"{settings.out} is a file: choose a folder with --out.")
    for arm in arms:
        _check_reading(arm)
    if any(stage.hardware.devices != 1 for arm in arms for stage in _stages_of(arm)):
        raise UserError(
            "hardware.devices must be 1 in a study, whose cells take a device each: set it so in "
            "the recipe, and run several at a time by engine.jobs."
        )
    for arm in arms:
        _check_stages(arm)


def _check_reading(arm: Arm) -> None:
    """Refuse an encoder that would be tested on images read otherwise than those it learns from."""
    if arm.pretrain is None:
        return
    before = arm.pretrain.data
    for section, stage in (("probe", arm.probe), ("finetune", arm.finetune)):
        if stage is None:
            continue
        for name in ("image_size", "window", "plane", "resize", "spacing"):
            learnt, tested = getattr(before, name), getattr(stage.data, name)
            if learnt != tested and "none" not in (learnt, tested):
                raise UserError(
                    f"arm {arm.name}: pretrain.data.{name} is {learnt} and {section}.data.{name} "
                    f"{tested}: set both alike in the recipe."
                )


def _check_stages(arm: Arm) -> None:
    """Refuse what a stage would refuse, before hours of pre-training."""
    from glcm_mae.training import finetune, pretrain, probe

    for stage in _stages_of(arm):
        check_image_size(height_and_width(stage.data.image_size))
    if arm.pretrain is not None:
        with _naming("pretrain", arm):
            pretrain.check_settings(arm.pretrain)
    given = arm.pretrain.model if arm.pretrain is not None else None  # the network that is tested
    for probing in (arm.probe, arm.probe_glcm):
        if probing is not None:
            tested = replace(probing, model=given or probing.model, encoder=arm.encoder)
            with _naming("probe", arm):
                probe.check_settings(tested)
    if arm.finetune is not None:
        model = given or arm.finetune.model
        with _naming("finetune", arm):
            finetune.check_settings(replace(arm.finetune, model=model, encoder=arm.encoder))


@contextmanager
def _naming(stage: str, arm: Arm) -> Iterator[None]:
    """Say of which stage a complaint is, and of which arm, which may be a recipe's own."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{stage} ({arm.name}): {error}") from error


def _deal(
    settings: CrossvalSettings,
    manifest: Manifest,
    unlabelled: Manifest | None,
    folder: Path,
    published: bool,
) -> list[Fold]:
    if published:
        return write_published_folds(manifest, folder, settings.folds, settings.split_seed)
    with Meters(len(manifest)) as progress:
        folds = write_folds(manifest, folder, settings.folds, settings.split_seed, progress)
    if unlabelled is None:
        return folds
    with Meters(len(manifest) + len(unlabelled)) as progress:
        return add_unlabelled(folds, unlabelled, folder, progress)


def _tables(
    settings: CrossvalSettings,
    arms: Sequence[Arm],
    baselines: Sequence[BaselineKind],
    folds: Sequence[Fold],
    finished: set[str],
    about: str | None,
) -> dict[str, dict[str, ArmTables]]:
    """Join the tables of every arm and baseline that is complete."""
    out = Path(settings.out)
    beside: dict[str, ArmTables | None] = {
        kind: collect_baseline(out, kind, folds, finished, about) for kind in baselines
    }
    collected: dict[str, dict[str, ArmTables | None]] = {
        way: {
            arm.name: collect_arm(out, arm.name, way, folds, settings.seeds, finished, about)
            for arm in arms
        }
        for way in settings.by
    }
    return {
        way: {name: found for name, found in (of_arms | beside).items() if found is not None}
        for way, of_arms in collected.items()
    }
