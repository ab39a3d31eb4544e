"""What is made of predictions, and the demonstration of all."""

from __future__ import annotations

from dataclasses import dataclass


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
        With two classes, the one whose sensitivity is meant. Default: that of the
        last probability column.
    sensitivity : float, optional
        The share of cases that the threshold is to find at least among validation images, as a
        test that rules out needs it: what it finds among test images, and at which specificity, is
        measured. Default: the threshold of Youden's J.
    specificity : float, optional
        In its place, the share of the others that it is to leave alone at least.
    against : str, optional
        The predictions.csv, or run folder, of another arm on the same images: says how much
        better or worse this one is than that, with intervals from the same resamples, in what
        needs no threshold.
    """

    predictions: str
    n_resamples: int = 2000
    seed: int = 0
    positive: str | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    against: str | None = None


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
