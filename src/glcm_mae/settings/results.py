"""What is made of a run: measures, pictures, and the demonstration of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .reading import DataSettings
from .training import HardwareSettings


@dataclass
class EvaluateSettings:
    """Measure predictions, each metric with an interval from a bootstrap over patients.

    Parameters
    ----------
    predictions : str
        A predictions.csv, or a run folder that holds one or several.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Seed of the bootstrap.
    positive : str, optional
        With two classes, the one whose sensitivity is meant. Default: the last by name.
    against : str, optional
        The predictions.csv, or run folder, of another arm on the same images: says how much
        better or worse this one is than that, with intervals from the same resamples.
    """

    predictions: str
    n_resamples: int = 2000
    seed: int = 0
    positive: str | None = None
    against: str | None = None


@dataclass
class PredictSettings:
    """Classify other images by a fine-tuned run, as for an external validation.

    Parameters
    ----------
    run : str
        The run folder of a fine-tuning. It tells how images are read.
    images : str
        A folder or manifest, as for data.images of the other commands; with or without labels. All
        of them are classified, whatever side of a split they stand on.
    out : str
        Folder for predictions.csv and, if all images have labels, metrics.json.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    on_error : str
        stop at the first unreadable image, or skip and report it.
    hardware : HardwareSettings
        Where and in which precision to compute.
    """

    run: str
    images: str
    out: str
    patient_regex: str | None = None
    on_error: Literal["stop", "skip"] = "stop"
    hardware: HardwareSettings = field(default_factory=HardwareSettings)


@dataclass
class ExplainSettings:
    """Show which parts of images a fine-tuned run goes by, and whether that is true.

    Parameters
    ----------
    run : str
        The run folder of a fine-tuning. It tells how images are read.
    images : str
        A folder or manifest, with or without labels.
    out : str
        Folder for explanations.png, explanations.csv and finished.json.
    n_images : int
        How many images, evenly spread over the set.
    window : int
        Side of the square that is left out, in patches: an odd number. Of 8 x 8 patches, single
        ones make the truest maps (docs/results.md); where an image has many, one may tell little.
    seed : int
        Fixes the random orders that the maps are compared with, and the bootstrap.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    on_error : str
        stop at the first unreadable image, or skip and report it.
    hardware : HardwareSettings
        Where and in which precision to compute.
    """

    run: str
    images: str
    out: str
    n_images: int = 8
    window: int = 1
    seed: int = 0
    patient_regex: str | None = None
    on_error: Literal["stop", "skip"] = "stop"
    hardware: HardwareSettings = field(default_factory=HardwareSettings)


@dataclass
class ReconstructSettings:
    """Draw what a pre-trained model makes of images: input, masked, redrawn, and their GLCMs.

    Parameters
    ----------
    run : str
        The run folder of a pre-training.
    data : DataSettings
        Images; must be read as in pre-training.
    out : str
        The picture to write (PNG).
    n_images : int
        How many images, evenly spread over the set.
    mask_ratio : float
        Share of patches removed.
    seed : int
        Fixes the masks.
    """

    run: str
    data: DataSettings
    out: str
    n_images: int = 4
    mask_ratio: float = 0.75
    seed: int = 0


@dataclass
class DemoSettings:
    """Run the whole of it on a simulated ultrasound phantom: two arms, probed side by side.

    Parameters
    ----------
    out : str
        Folder for data, runs and pictures.
    epochs : int
        Epochs of pre-training of each arm.
    unlabelled_patients : int
        Simulated patients per class whose images are for pre-training alone.
    labelled_patients : int
        Simulated patients per class whose images are for probing.
    images_per_patient : int
        Images of each.
    seed : int
        Fixes everything.
    """

    out: str = "demo"
    epochs: int = 20
    unlabelled_patients: int = 150
    labelled_patients: int = 60
    images_per_patient: int = 4
    seed: int = 0
