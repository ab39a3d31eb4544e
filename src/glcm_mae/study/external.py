"""Images of another source: what the models of a study say of them, arm by arm."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.predictions import Predictions
from glcm_mae.settings import CompareSettings, DataSettings, HardwareSettings, OthersSettings
from glcm_mae.training.inputs import check_readable, manifest_of
from glcm_mae.training.others import as_strangers
from glcm_mae.training.predict import named_after
from glcm_mae.training.seen import seen_by_any

from .asking import ask_runs
from .cells import baseline_folder, cell_folder
from .folds import Fold
from .tables import WAYS, ArmTables, mean_of_seeds, stack_predictions

Tables = dict[str, dict[str, ArmTables]]


@dataclass(frozen=True)
class External:
    """What a study's models say of images of another source.

    Parameters
    ----------
    tables : dict
        For each way of judging an encoder, and each arm and baseline, its tables. Each model, of a
        seed and a fold, stands there as if it were a seed: it is asked by itself, and has
        thresholds by the validation images of its own fold.
    together : dict
        The same of an arm's models together, a row an image: the mean of their probabilities, with
        thresholds by what models said of the study's images that they had not seen.
    seed_of_model : dict of int to int
        Of which seed each is.
    left_out : int
        How many others there were, on which, or on copies of which, a model was trained.
    named_alike : int
        How many there are of patients that are named as some of the study.
    lacking : tuple of str
        Classes of the study of which there is no image.
    apart : float or None
        How far their gray values were from those that the models were trained on, at most
        (`glcm_mae.data.gray_value_distance`); None where models do not tell.
    """

    tables: Tables
    together: Tables
    seed_of_model: dict[int, int]
    left_out: int
    named_alike: int
    lacking: tuple[str, ...]
    apart: float | None


def list_external(
    settings: CompareSettings, reading: DataSettings, classes: Sequence[str]
) -> Manifest:
    """List the images of another source, before a study is run, and see that they can be read.

    Parameters
    ----------
    settings : CompareSettings
        With ``external``.
    reading : DataSettings
        How the study's images are read.
    classes : sequence of str
        Theirs.

    Returns
    -------
    Manifest

    Raises
    ------
    UserError
        If they are the study's own, cannot be read so, lack a label, or are not of two of its
        classes.
    """
    source = str(settings.external)
    own = {os.path.realpath(path) for path in (settings.images, settings.pretrain_on) if path}
    if os.path.realpath(source) in own:
        raise UserError(f"external is {source}, the study's own images: give another source's.")
    if settings.protocol == "published":
        raise UserError(
            "protocol published is not for images of another source: leave external out."
        )
    # Whatever the recipe's on_error says: in the end models are asked about all images.
    data = replace(reading, images=source, patient_regex=None, fold=None, on_error="stop")
    manifest = manifest_of(data, may_cross=True)
    lacking = sum(record.label is None for record in manifest.records)
    if lacking:
        raise UserError(
            f"{source} has {lacking} of {len(manifest)} images without a label: leave them out, "
            "for here arms are compared."
        )
    others = [name for name in manifest.classes if name not in classes]
    if others:
        raise UserError(
            f"{source} has the class {others[0]!r}, which {settings.images} does not have: name "
            f"the classes as there, {', '.join(classes)} (glcm-mae data manifest --rename)."
        )
    if len(manifest.classes) < 2:
        raise UserError(f"{source} has images of {manifest.classes[0]!r} alone: give two classes.")
    check_readable(data, manifest)
    return manifest


class _Model(NamedTuple):
    """A run, which of the study's models it is, and where each way's table lies in it."""

    name: str
    number: int
    seed: int
    fold: int
    run: Path
    places: dict[str, str]


def ask_models(
    study: CompareSettings,
    manifest: Manifest,
    tables: Mapping[str, Mapping[str, ArmTables]],
    folds: Sequence[Fold],
    hardware: HardwareSettings,
    cache: str | None,
) -> External:
    """Ask every model of a study about images of another source.

    Parameters
    ----------
    study : CompareSettings
        Its settings. Tables are written to ``external`` in its folder; its baseline of shortcuts
        is passed over, which say nothing of another set.
    manifest : Manifest
        From `list_external`.
    tables : mapping
        What the study has come to: for each way, its complete arms and baselines.
    folds : sequence of Fold
        Its folds.
    hardware : HardwareSettings
        Where to compute.
    cache : str, optional
        The folder in which images are kept as they were read.

    Returns
    -------
    External

    Raises
    ------
    UserError
        If no image is left, or a run keeps no classifier.
    """
    external, baselines, out = str(study.external), study.baselines, Path(study.out)
    models = [*_arms(tables, baselines, folds, out), *_baselines(tables, baselines, folds, out)]
    settings = OthersSettings(
        run=str(out),
        images=external,
        cache=cache,
        match_gray_values=study.match_gray_values,
        hardware=hardware,
    )
    images, said, apart = ask_runs([model.run for model in models], settings, manifest)
    runs = sorted(map(str, said))
    known = np.array(seen_by_any(runs, as_strangers(images)), dtype=bool)
    alike = np.zeros_like(known)
    if manifest.tells_patients:
        alike = np.array(seen_by_any(runs, images), dtype=bool) & ~known
    if known.all():
        raise UserError(
            f"all {len(manifest)} images of {external}, or copies of them, are in the study: give "
            "images of another source."
        )
    left = manifest.subset(np.flatnonzero(~known))
    found: Tables = {way: {} for way in tables}
    together: Tables = {way: {} for way in tables}
    shutil.rmtree(out / "external", ignore_errors=True)  # of other images, or of other arms
    for way, of_arms in tables.items():
        for name in {model.name: None for model in models if way in model.places}:
            own = [model for model in models if model.name == name and way in model.places]
            found[way][name] = _joined(own, way, of_arms[name], left, ~known, said, out)
            place = f"baselines/{name}" if name in baselines else f"arms/{name}/{way}"
            found[way][name].test.write(out / "external" / place / "predictions.csv")
            found[way][name].validation.write(out / "external" / place / "validation.csv")
            together[way][name] = ArmTables(
                mean_of_seeds(found[way][name].test),
                named_after(out, mean_of_seeds(of_arms[name].test)),
            )
    [classes, *_] = [
        table.test.classes for of_arms in tables.values() for table in of_arms.values()
    ]
    there = {record.label for record in left.records}
    lacking = tuple(name for name in classes if name not in there)
    return External(
        found,
        together,
        {model.number: model.seed for model in models},
        int(known.sum()),
        int(alike.sum()),
        lacking,
        apart,
    )


def _joined(
    models: Sequence[_Model],
    way: str,
    of_study: ArmTables,
    left: Manifest,
    is_left: np.ndarray,
    said: Mapping[Path, Mapping[str, np.ndarray]],
    out: Path,
) -> ArmTables:
    """Join what an arm's models said of the images that are left, judged in one way."""
    test = [
        _named(left, of_study.test.classes, model, said[model.run][model.places[way]][is_left])
        for model in models
    ]
    validation = [_of_fold(out, of_study.validation, model) for model in models]
    return ArmTables(stack_predictions(test), stack_predictions(validation))


def _arms(
    tables: Mapping[str, Mapping[str, ArmTables]],
    baselines: Sequence[str],
    folds: Sequence[Fold],
    out: Path,
) -> Iterator[_Model]:
    """List the models of complete arms: those of one stage once, however it is judged."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for way, of_arms in tables.items():
        stage, *below = Path(WAYS[way]).parts
        for name in of_arms.keys() - set(baselines):
            places.setdefault((name, stage), {})[way] = below[0] if below else "."
    for (name, stage), by_way in sorted(places.items()):
        seeds = _seeds([tables[way][name] for way in by_way])
        for number, seed, fold in _numbered(seeds, folds):
            run = cell_folder(out, name, seed, fold) / stage
            yield _Model(name, number, seed, fold, run, by_way)


def _baselines(
    tables: Mapping[str, Mapping[str, ArmTables]],
    baselines: Sequence[str],
    folds: Sequence[Fold],
    out: Path,
) -> Iterator[_Model]:
    """List the baselines' models: beside each seed of the arms the same ones, of its folds."""
    seeds = _seeds([found for of_arms in tables.values() for found in of_arms.values()])
    for name in baselines:
        ways = [way for way, of_arms in tables.items() if name in of_arms]
        if ways and name != "shortcuts":
            for number, seed, fold in _numbered(seeds, folds):
                run = baseline_folder(out, name, fold)
                yield _Model(name, number, seed, fold, run, dict.fromkeys(ways, "."))


def _seeds(tables: Sequence[ArmTables]) -> list[int]:
    seeds = [found.test.seeds for found in tables if found.test.seeds is not None]
    return sorted(set(np.concatenate(seeds).tolist()))


def _numbered(seeds: Sequence[int], folds: Sequence[Fold]) -> Iterator[tuple[int, int, int]]:
    """Count the models of an arm, and say of which seed and fold each is."""
    pairs = [(seed, fold.number) for seed in seeds for fold in folds]
    return ((number, *pair) for number, pair in enumerate(pairs))


def _named(
    manifest: Manifest, classes: tuple[str, ...], model: _Model, chances: np.ndarray
) -> Predictions:
    """Name what a model said of images."""
    return Predictions(
        paths=tuple(record.name for record in manifest.records),
        patients=tuple(record.patient for record in manifest.records),
        labels=np.array([classes.index(str(record.label)) for record in manifest.records]),
        classes=classes,
        probabilities=chances,
        folds=np.zeros(len(chances), dtype=np.int64),
        seeds=np.full(len(chances), model.number),
    )


def _of_fold(out: Path, validation: Predictions, model: _Model) -> Predictions:
    """Take the validation images of a model's own fold, by which its thresholds are chosen."""
    assert validation.folds is not None  # as `collect_arm` has written them
    assert validation.seeds is not None
    seeds = set(validation.seeds.tolist())
    seed = model.seed if model.seed in seeds else min(seeds)  # a baseline has but one
    rows = np.flatnonzero((validation.folds == model.fold) & (validation.seeds == seed))
    own = Predictions(
        paths=tuple(validation.paths[i] for i in rows),
        patients=tuple(validation.patients[i] for i in rows),
        labels=validation.labels[rows],
        classes=validation.classes,
        probabilities=validation.probabilities[rows],
        folds=np.zeros(len(rows), dtype=np.int64),
        seeds=np.full(len(rows), model.number),
    )
    return named_after(out, own)
