"""Data sets before training: audit, splits, manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class DataCheckSettings:
    """Audit a data set: damaged images, copies, shortcuts, leaks (then the exit code is 1).

    Exits with 0 if a split made as asked would not leak, with 1 if it would: if the given split
    has a patient or a copy on two sides, or, where none is given, if copies are of two patients.

    Parameters
    ----------
    images : str
        A folder or a manifest, as for training.
    out : str, optional
        Folder for audit.json and audit.html. Default: only the terminal.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    plane : str
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices: axial, coronal or sagittal.
    folds : int
        Folds that every class shall allow, and those in which shortcuts are tested.
    seed : int
        Seed of these folds and of the bootstrap.
    """

    images: str
    out: str | None = None
    patient_regex: str | None = None
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    folds: int = 5
    seed: int = 0


@dataclass
class DataSplitSettings:
    """Split a data set so that neither a patient nor a copy stands on two sides.

    Parameters
    ----------
    images : str
        A folder or a manifest, as for training. A split that it gives is kept and lacks at most
        its validation part.
    out : str
        The manifest to write (CSV); for kfold one for each fold, with -fold0 and so on behind
        its name.
    method : str
        holdout (a fold for testing, one for validation, the rest for training) or kfold (each
        fold for testing in turn).
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    plane : str
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices: axial, coronal or sagittal.
    folds : int
        Folds, stratified by class and grouped by patient and copies together.
    fold : int
        The fold that holdout tests on.
    seed : int
        Seed of the folds.
    """

    images: str
    out: str
    method: Literal["holdout", "kfold"] = "holdout"
    patient_regex: str | None = None
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    folds: int = 5
    fold: int = 0
    seed: int = 0


@dataclass
class DataManifestSettings:
    """Build a manifest from folders, file names, any CSV, DICOM headers or a known set.

    Parameters
    ----------
    images : str
        A folder of images (or a CSV that lists them, or the .npz file of a MedMNIST set).
    out : str
        The manifest to write (CSV).
    layout : str, optional
        A public set by name: busi, chest_xray, covid_ct, gbcu or medmnist.
    pattern : str, optional
        Regular expression with groups named label, patient or split, searched in each path below
        the folder, as in '(?P<label>[^/]+)/(?P<patient>p[0-9]+)'.
    leave_out : str, optional
        Regular expression; files whose path it finds are left out.
    columns : list of str
        What the columns of a CSV of another make are, each the name of a column or a text with
        names in braces: 'path=images/{id}.png,label=diagnosis,patient=id' (also split, frame). All
        other columns are left out.
    rename : list of str
        Classes by other names: Benign=benign,Cancer=malignant,Other= (two of one new name become
        one, one with nothing behind the = is left out).
    dicom_patients : bool
        Take the patients from the DICOM headers; needs key_file.
    key_file : str, optional
        A secret with which patients are turned into codes; made if it does not exist. It must
        lie outside the manifest's folder.
    official_split : bool
        Keep the split that folders or a layout give.
    plane : str
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices: axial, coronal or sagittal. The
        manifest keeps it, and later commands must name it, too.
    """

    images: str
    out: str
    layout: Literal["busi", "chest_xray", "covid_ct", "gbcu", "medmnist"] | None = None
    pattern: str | None = None
    leave_out: str | None = None
    columns: list[str] = field(default_factory=list)
    rename: list[str] = field(default_factory=list)
    dicom_patients: bool = False
    key_file: str | None = None
    official_split: bool = True
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
