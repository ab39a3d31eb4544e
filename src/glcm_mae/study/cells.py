"""The cells of a study: one arm, seed and fold, as the stages that it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glcm_mae.settings import (
    BaselineKind,
    BaselineSettings,
    DataSettings,
    FinetuneSettings,
    HardwareSettings,
    PretrainSettings,
    ProbeSettings,
)

from .arms import Arm
from .folds import Fold

Stage = PretrainSettings | ProbeSettings | FinetuneSettings | BaselineSettings


@dataclass(frozen=True)
class Cell:
    """One piece of a study that can be run by itself.

    Parameters
    ----------
    name : str
        What messages call it.
    arm : str
        Its arm or baseline.
    stages : tuple of settings
        What it runs, in this order. Each has a folder of its own.
    """

    name: str
    arm: str
    stages: tuple[Stage, ...]


def cells(
    arms: Sequence[Arm], folds: Sequence[Fold], seeds: int, out: Path, *, allow_seen: bool
) -> list[Cell]:
    """List the cells of a study: seed after seed, so that a part of them is a smaller study.

    Parameters
    ----------
    arms, folds : sequence of Arm, Fold
        Each arm is run on each fold.
    seeds : int
        How many; they count from 0.
    out : Path
        The study's folder.
    allow_seen : bool
        Whether encoders may have seen what they are tested on.

    Returns
    -------
    list of Cell
    """
    return [
        Cell(
            f"{arm.name}, seed {seed}, fold {fold.number}",
            arm.name,
            tuple(_stages(arm, seed, fold, folds, out, allow_seen)),
        )
        for seed in range(seeds)
        for fold in folds
        for arm in arms
    ]


def pretraining_cells(
    arms: Sequence[Arm], folds: Sequence[Fold], seeds: int, out: Path
) -> list[Cell]:
    """List the pre-trainings that all folds share: they must come before the other cells.

    Parameters
    ----------
    arms, folds, seeds, out
        As for `cells`.

    Returns
    -------
    list of Cell
        Empty where each fold pre-trains on images of its own.
    """
    if not _shared(folds):
        return []
    return [
        Cell(
            f"{arm.name}, seed {seed}, pre-training",
            arm.name,
            (_pretraining(arm, seed, folds[0], folds, out),),
        )
        for seed in range(seeds)
        for arm in arms
        if arm.pretrain is not None
    ]


def baseline_cells(
    kinds: Sequence[BaselineKind],
    reading: DataSettings,
    folds: Sequence[Fold],
    out: Path,
    hardware: HardwareSettings,
) -> list[Cell]:
    """List the baselines: they have no seeds.

    Parameters
    ----------
    kinds : sequence of str
        Which.
    reading : DataSettings
        How images are read.
    folds, out
        As for `cells`.
    hardware : HardwareSettings
        Where a network is trained.

    Returns
    -------
    list of Cell
    """
    return [
        Cell(
            f"{kind}, fold {fold.number}",
            kind,
            (
                BaselineSettings(
                    data=_data(reading, fold.images),
                    out=str(baseline_folder(out, kind, fold.number)),
                    kind=kind,
                    hardware=hardware if kind == "convolutional" else HardwareSettings(),
                ),
            ),
        )
        for kind in kinds
        for fold in folds
    ]


def cell_folder(out: Path, arm: str, seed: int, fold: int) -> Path:
    """Say where an arm's runs of one seed and fold lie.

    Parameters
    ----------
    out : Path
        The study's folder.
    arm : str
        The arm.
    seed, fold : int
        The cell.

    Returns
    -------
    Path

    Examples
    --------
    >>> cell_folder(Path("study"), "mse", 0, 2).as_posix()
    'study/arms/mse/seed0-fold2'
    """
    return out / "arms" / arm / f"seed{seed}-fold{fold}"


def baseline_folder(out: Path, kind: str, fold: int) -> Path:
    """Say where a baseline's run of one fold lies.

    Parameters
    ----------
    out : Path
        The study's folder.
    kind : str
        The baseline.
    fold : int
        The fold.

    Returns
    -------
    Path

    Examples
    --------
    >>> baseline_folder(Path("study"), "pixels", 2).as_posix()
    'study/baselines/pixels/fold2'
    """
    return out / "baselines" / kind / f"fold{fold}"


def encoder_of(stage: Stage) -> str | None:
    """Say on which weights a stage stands.

    Parameters
    ----------
    stage : settings
        Of any kind.

    Returns
    -------
    str or None
        The folder of a pre-training, or weights that were given; None if the stage needs none.
    """
    return stage.encoder if isinstance(stage, ProbeSettings | FinetuneSettings) else None


def _stages(
    arm: Arm, seed: int, fold: Fold, folds: Sequence[Fold], out: Path, allow_seen: bool
) -> Iterator[Stage]:
    encoder = arm.encoder
    if arm.pretrain is not None:
        pretraining = _pretraining(arm, seed, fold, folds, out)
        encoder = pretraining.out
        if not _shared(folds):
            yield pretraining
    tested = {"probe": arm.probe, "probe_glcm": arm.probe_glcm, "finetune": arm.finetune}
    for name, stage in tested.items():
        if stage is not None:
            yield replace(
                stage,
                data=_data(stage.data, fold.images),
                out=str(cell_folder(out, arm.name, seed, fold.number) / name),
                encoder=encoder,
                seed=seed,
                allow_seen=allow_seen,
            )


def _shared(folds: Sequence[Fold]) -> bool:
    """Whether all folds pre-train on the same images."""
    return folds[0].unlabelled is not None and len({fold.unlabelled for fold in folds}) == 1


def _pretraining(
    arm: Arm, seed: int, fold: Fold, folds: Sequence[Fold], out: Path
) -> PretrainSettings:
    assert arm.pretrain is not None
    of_fold = "" if _shared(folds) else f"-fold{fold.number}"
    return replace(
        arm.pretrain,
        data=_data(arm.pretrain.data, fold.unlabelled or fold.images),
        out=str(out / "arms" / arm.name / f"seed{seed}{of_fold}" / "pretrain"),
        seed=seed,
    )


def _data(reading: DataSettings, images: Path) -> DataSettings:
    """Read other images as the recipe says; their manifest tells side and patient."""
    return replace(reading, images=str(images), fold=None, patient_regex=None)
