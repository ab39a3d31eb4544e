"""Images of another source: what the models of a study say of them, arm by arm."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.predictions import Predictions
from glcm_mae.settings import HardwareSettings, OthersSettings
from glcm_mae.training.fabric import launch
from glcm_mae.training.inputs import Images
from glcm_mae.training.others import Trained, known_to, list_for, read_listed
from glcm_mae.training.predict import named_after, read_trained
from glcm_mae.training.seen import SEEN

from .cells import baseline_folder, cell_folder
from .folds import Fold
from .tables import WAYS, ArmTables, stack_predictions

Tables = dict[str, dict[str, ArmTables]]


@dataclass(frozen=True)
class External:
    """What a study's models say of images of another source.

    Parameters
    ----------
    tables : dict
        For each way of judging an encoder, and each arm and baseline, its tables: of each seed the
        mean over its folds, and the study's validation images, by which thresholds are chosen.
    left_out : int
        How many others there were, on which, or on copies of which, a model was trained.
    has_patients : bool
        Whether it is known which images are of one patient.
    """

    tables: Tables
    left_out: int
    has_patients: bool


class _Model(NamedTuple):
    """An arm's runs of one seed, one a fold, and where each way's table lies in them."""

    name: str
    seed: int
    runs: list[Path]
    places: dict[str, str]


def ask_models(
    external: str,
    tables: Mapping[str, Mapping[str, ArmTables]],
    baselines: Sequence[str],
    folds: Sequence[Fold],
    out: Path,
    hardware: HardwareSettings,
) -> External:
    """Ask every model of a study about images of another source.

    Parameters
    ----------
    external : str
        A folder or a manifest, with labels.
    tables : mapping
        What the study has come to: for each way, its complete arms and baselines.
    baselines : sequence of str
        Which of these are baselines; shortcuts are passed over, which say nothing of another set.
    folds : sequence of Fold
        Its folds.
    out : Path
        Its folder. Tables are written to ``external`` below.
    hardware : HardwareSettings
        Where to compute.

    Returns
    -------
    External

    Raises
    ------
    UserError
        If the images cannot be read as the study's, lack a label or have another class, if none is
        left, or if a run of an earlier version keeps no classifier.
    """
    models = [*_arms(tables, baselines, folds, out), *_baselines(tables, baselines, folds, out)]
    asked = _Asked(OthersSettings(run=str(out), images=external, hardware=hardware))
    said: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for number, model in enumerate(models, start=1):
        told = f"[{number}/{len(models)}] {model.name}, seed {model.seed}, asked about {external}"
        print(told, file=sys.stderr, flush=True)
        for way, chances in asked.mean_over_folds(model).items():
            said.setdefault((way, model.name), {})[model.seed] = chances
    found: Tables = {way: {} for way in tables}
    for (way, name), by_seed in said.items():
        test = stack_predictions([asked.table(seed, by_seed[seed]) for seed in sorted(by_seed)])
        validation = named_after(out, tables[way][name].validation)
        whole = replace(validation, folds=np.zeros_like(validation.labels))
        found[way][name] = ArmTables(test, whole)
        place = f"baselines/{name}" if name in baselines else f"arms/{name}/{way}"
        test.write(out / "external" / place / "predictions.csv")
        whole.write(out / "external" / place / "validation.csv")
    return External(found, int(asked.known.sum()), asked.has_patients)


def _arms(
    tables: Mapping[str, Mapping[str, ArmTables]],
    baselines: Sequence[str],
    folds: Sequence[Fold],
    out: Path,
) -> Iterator[_Model]:
    """List the models of complete arms: those of one stage together, which reads features once."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for way, of_arms in tables.items():
        stage, *below = Path(WAYS[way]).parts
        for name in of_arms.keys() - set(baselines):
            places.setdefault((name, stage), {})[way] = below[0] if below else "."
    for (name, stage), by_way in sorted(places.items()):
        [of_way, *_] = [tables[way][name].test for way in by_way]
        assert of_way.seeds is not None  # as `collect_arm` has written them
        for seed in np.unique(of_way.seeds).tolist():
            runs = [cell_folder(out, name, seed, fold.number) / stage for fold in folds]
            yield _Model(name, seed, runs, by_way)


def _baselines(
    tables: Mapping[str, Mapping[str, ArmTables]],
    baselines: Sequence[str],
    folds: Sequence[Fold],
    out: Path,
) -> Iterator[_Model]:
    for name in baselines:
        ways = [way for way, of_arms in tables.items() if name in of_arms]
        if ways and name != "shortcuts":
            runs = [baseline_folder(out, name, fold.number) for fold in folds]
            yield _Model(name, 0, runs, dict.fromkeys(ways, "."))


class _Asked:
    """The images, read as each model's own were, and which of them a model was trained on."""

    def __init__(self, settings: OthersSettings) -> None:
        self._settings = settings
        self._fabric = launch(settings.hardware)
        self._read: dict[str, Images] = {}
        self._told: set[bytes] = set()
        self._classes: tuple[str, ...] = ()
        self.known = np.zeros(0, dtype=bool)

    @property
    def has_patients(self) -> bool:
        """Whether it is known which images are of one patient."""
        return next(iter(self._read.values())).manifest.has_patients

    def mean_over_folds(self, model: _Model) -> dict[str, np.ndarray]:
        """Class probabilities (N, K) of all images, for each way."""
        said = [self._say(run) for run in model.runs]
        return {
            way: np.mean([of_fold[place] for of_fold in said], axis=0)
            for way, place in model.places.items()
        }

    def _say(self, run: Path) -> dict[str, np.ndarray]:
        trained = read_trained(run)
        images = self._images(trained)
        told = (run / SEEN).read_bytes()
        if told not in self._told:  # most arms and all seeds of a fold have seen the same
            self._told.add(told)
            self.known |= np.array([seen is True for seen in known_to(run, images)])
        return trained.chances(images, self._fabric)

    def _images(self, trained: Trained) -> Images:
        way = repr(trained.reading)
        if way not in self._read:
            manifest = list_for(trained, self._settings)
            lacking = sum(record.label is None for record in manifest.records)
            if lacking:
                raise UserError(
                    f"{self._settings.images} has {lacking} of {len(manifest)} images without a "
                    "label: leave them out, for here arms are compared."
                )
            self._read[way] = read_listed(self._settings, trained.reading, manifest)
            self._classes = trained.classes
            self.known = np.zeros(len(manifest), dtype=bool) if not len(self.known) else self.known
        return self._read[way]

    def table(self, seed: int, chances: np.ndarray) -> Predictions:
        """Name what was said of the images that no model was trained on."""
        manifest = next(iter(self._read.values())).manifest
        strange = np.flatnonzero(~self.known)
        if not len(strange):
            raise UserError(
                f"all {len(manifest)} images of {self._settings.images}, or copies of them, are "
                "in the study: give images of another source."
            )
        records = [manifest.records[i] for i in strange]
        return Predictions(
            paths=tuple(record.name for record in records),
            patients=tuple(record.patient for record in records),
            labels=np.array([self._classes.index(str(record.label)) for record in records]),
            classes=self._classes,
            probabilities=chances[strange],
            folds=np.zeros(len(records), dtype=np.int64),
            seeds=np.full(len(records), seed),
        )
