"""Cross-validation and comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .training import BaselineKind


@dataclass
class EngineSettings:
    """Where the cells of a study run.

    Parameters
    ----------
    name : str
        here (one after another in this process); local or slurm (jobs of submitit, an extra:
        pip install 'glcm-mae[cluster]').
    jobs : int
        Of local and slurm: jobs among which the cells are shared out, at work at the same time.
    hours : float
        Of local and slurm: time after which a job is ended. The same command goes on.
    options : list of str
        Of slurm: further parameters of submitit, each as name=value, such as slurm_partition=gpu
        or gpus_per_node=1.
    """

    name: Literal["here", "local", "slurm"] = "here"
    jobs: int = 1
    hours: float = 24.0
    options: list[str] = field(default_factory=list)


@dataclass
class CrossvalSettings:
    """Cross-validate a recipe: pre-train, probe and fine-tune in each fold, over several seeds.

    The recipe's sections pretrain, probe and finetune say how (--config). The same command goes on
    with what was stopped, and takes up more seeds.

    Parameters
    ----------
    images : str
        Labelled images: a folder or a manifest. A split that it gives is the only fold.
    out : str
        The study's folder.
    folds : int
        Folds, stratified by class, in which patients and copies stay together.
    seeds : int
        How many trainings of each fold; they differ in initial weights, order and masks.
    split_seed : int
        Seed of the folds.
    by : list of str
        How encoders are judged: linear, knn (on frozen features), linear_glcm (on them and the
        baseline glcm_local's side by side), finetune.
    set : list of str
        Settings that win over the recipe's and the arms': data.resize=crop for every stage,
        pretrain.optimizer.epochs=50 for one.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    pretrain_on : str, optional
        Images to pre-train on. Those that a fold tests, as copies or by their patient, are left
        out there and counted. Default: the fold's training part.
    positive : str, optional
        The class whose sensitivity is meant; of more than two, it is also told from the rest.
    n_resamples : int
        Bootstrap samples.
    engine : EngineSettings
        Where the cells run.
    """

    images: str
    out: str
    folds: int = 5
    seeds: int = 3
    split_seed: int = 0
    by: list[Literal["linear", "knn", "linear_glcm", "finetune"]] = field(
        default_factory=lambda: ["linear", "knn", "linear_glcm", "finetune"]
    )
    set: list[str] = field(default_factory=list)
    patient_regex: str | None = None
    pretrain_on: str | None = None
    positive: str | None = None
    n_resamples: int = 2000
    engine: EngineSettings = field(default_factory=EngineSettings)


@dataclass
class CompareSettings(CrossvalSettings):
    """Compare pre-trainings: arms x folds x seeds on the same splits, and baselines beside them.

    The recipe (--config) is what all arms share; an arm is a recipe laid over it. The same command
    goes on with what was stopped, tries again what failed, and takes up more arms and seeds.

    Parameters
    ----------
    arms : list of str
        random (no pre-training), init (pretrain.init as it is), names of the package's arms (mse,
        paper, prediction_neighbourhood and so on), or YAML files with a section pretrain.
    reference : str
        The arm, or the baseline, that the others are compared with.
    baselines : list of str
        Classifiers without a pre-training: on hand-made features glcm_logistic, glcm_boosting,
        glcm_local, pixels, histogram and shortcuts; and convolutional, a small network trained with
        the labels alone, once a fold. See glcm-mae baseline.
    external : str, optional
        Labelled images of another source, a folder or a manifest: every model is asked about them,
        too, and the arms are compared there. Those on which a model was trained, or on copies of
        which, are left out and counted; one that cannot be read is refused at the start.
    match_gray_values : bool
        Bring these images to the gray scale of each model's own (see glcm-mae predict).
    protocol : str
        leak_free; or published: folds image by image and one pre-training on all images for all
        folds, as in the release of GLCM-MAE, to see what its leaks are worth.
    """

    arms: list[str] = field(
        default_factory=lambda: [
            "random",
            "mse",
            "paper",
            "gaussian_pooled",
            "prediction_neighbourhood",
        ]
    )
    reference: str = "mse"
    baselines: list[BaselineKind] = field(
        default_factory=lambda: [
            "glcm_logistic",
            "glcm_boosting",
            "glcm_local",
            "pixels",
            "histogram",
            "shortcuts",
        ]
    )
    external: str | None = None
    match_gray_values: bool = False
    protocol: Literal["leak_free", "published"] = "leak_free"
