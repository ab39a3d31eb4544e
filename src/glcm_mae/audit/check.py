"""The whole audit of a data set, and its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glcm_mae.audit.findings import Finding, class_findings, image_findings
from glcm_mae.audit.identifiers import count_identifiers
from glcm_mae.audit.inspection import Look, inspect, places
from glcm_mae.audit.leaks import leak_findings
from glcm_mae.audit.shortcuts import SUSPICIOUS, Shortcut, rank_shortcuts
from glcm_mae.data import Manifest, kept_together, one_line
from glcm_mae.data.duplicates import Progress, copy_groups, near_duplicates
from glcm_mae.files import write_atomically
from glcm_mae.provenance import made_by

__all__ = ["Audit", "check", "write_audit"]

_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Audit:
    """What is known of a data set before training.

    Parameters
    ----------
    source : str
        The folder or manifest.
    manifest : Manifest
        Its images.
    looks : tuple of Look
        What each image is.
    names : tuple of str
        What the report calls each image: its path below the folder that all share, or
        ``image 17`` where that path holds a patient's identifier.
    findings : tuple of Finding
        What is wrong, worst first.
    shortcuts : tuple of Shortcut
        How well traits that are none of the disease's predict the class, best first.
    identifiers : dict
        What `count_identifiers` gives.
    folds, seed : int
        How the shortcuts were cross-validated.

    Examples
    --------
    >>> Audit("images", Manifest((), (), False), (), (), (), (), {}, folds=5, seed=0).leaks
    False
    """

    source: str
    manifest: Manifest
    looks: tuple[Look, ...]
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    shortcuts: tuple[Shortcut, ...]
    identifiers: dict[str, dict[str, int]]
    folds: int
    seed: int

    @property
    def leaks(self) -> bool:
        """Whether a split made as asked would put one picture or patient on two sides."""
        return any(finding.leaks for finding in self.findings)

    def unreadable(self) -> dict[str, str]:
        """Say why images cannot be read.

        Returns
        -------
        dict
            From the name of each to the reason.
        """
        return {
            name: look.unreadable
            for name, look in zip(self.names, self.looks, strict=True)
            if look.unreadable
        }

    def summary(self) -> dict[str, Any]:
        """Count what the set holds.

        Returns
        -------
        dict
            Numbers of images, of readable ones, of patients (None where unknown), and how many
            images there are of each class, side of the split, format and size.
        """
        records = self.manifest.records
        read = [look for look in self.looks if look.facts is not None]
        classes = Counter(record.label or "(unlabelled)" for record in records)
        sizes = Counter(f"{look.shape[1]} x {look.shape[2]}" for look in read)
        patients = len(np.unique(self.manifest.patients)) if self.manifest.tells_patients else None
        return {
            "images": len(records),
            "readable": len(read),
            "patients": patients,
            "classes": dict(sorted(classes.items())),
            "split": dict(sorted(Counter(r.split for r in records if r.split).items())),
            "formats": dict(Counter(look.facts.format for look in read if look.facts)),
            "sizes": len(sizes),
            "usual_size": sizes.most_common(1)[0][0] if sizes else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            ``glcm_mae`` (the version), ``source``, ``settings``, ``leaks``, ``summary``,
            ``findings`` (each with kind, level, text, images and groups by name), ``unreadable``
            (name to reason), ``shortcuts`` (each with name, value, low and high) and
            ``identifiers``.
        """
        return {
            **made_by(),
            "source": self.source,
            "settings": {"folds": self.folds, "seed": self.seed},
            "leaks": self.leaks,
            "summary": self.summary(),
            "findings": [
                {
                    "kind": finding.kind,
                    "level": finding.level,
                    "text": finding.text,
                    "leaks": finding.leaks,
                    "images": [self.names[n] for n in finding.images],
                    "groups": [[self.names[n] for n in group] for group in finding.groups],
                }
                for finding in self.findings
            ],
            "unreadable": self.unreadable(),
            "shortcuts": [{"name": s.name, **s.auroc.to_json()} for s in self.shortcuts],
            "identifiers": self.identifiers,
        }


def check(
    source: str,
    manifest: Manifest,
    folds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Audit a data set: damaged images, copies, conflicts, leaks, shortcuts, identifiers.

    Parameters
    ----------
    source : str
        What the report calls the set.
    manifest : Manifest
        Its images.
    folds : int
        Folds that the classes shall allow, and those of the shortcuts' cross-validation.
    seed : int
        Of these folds and of the bootstrap.
    progress : callable, optional
        Called after each image that was read, and now and then as they are compared.

    Returns
    -------
    Audit

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from glcm_mae.data import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("benign/a.png", "malignant/b.png"):
    ...         Path(folder, name).parent.mkdir()
    ...         Image.linear_gradient("L").save(Path(folder, name))
    ...     audit = check(folder, read_manifest(folder))
    >>> audit.leaks, [finding.kind for finding in audit.findings if finding.leaks]
    (True, ['copies cross patients'])
    """
    read = None if progress is None else partial(progress, "reading images")
    looks = tuple(inspect(manifest, read, source))
    names = tuple(_names(manifest, looks))
    manifest = _with_neutral_labels(manifest, looks)
    if any(look.identifiers.in_source for look in looks):
        source = "the images"
    digests = ["" if look.constant else look.digest for look in looks]
    thumbnails = torch.stack([look.thumbnail for look in looks])
    copies = copy_groups(digests, near_duplicates(thumbnails, progress))
    together = kept_together(manifest, copies=copies)
    shortcuts = tuple(rank_shortcuts(manifest, looks, together, folds, seed))
    of_files = {
        record.path: look.identifiers for record, look in zip(manifest.records, looks, strict=True)
    }
    identifiers = count_identifiers(list(of_files.values()))
    findings = [
        *leak_findings(manifest, digests, copies),
        *image_findings(looks),
        *class_findings(manifest, together, folds),
        *_of_shortcuts(shortcuts),
        *_of_identifiers(identifiers),
    ]
    findings.sort(key=lambda finding: (not finding.leaks, _LEVELS.index(finding.level)))
    return Audit(
        source, manifest, looks, names, tuple(findings), shortcuts, identifiers, folds, seed
    )


def write_audit(audit: Audit, folder: str | Path) -> None:
    """Write ``audit.json`` and ``audit.html``.

    Parameters
    ----------
    audit : Audit
        What `check` found.
    folder : str or Path
        Where; made if missing.

    Raises
    ------
    UserError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> audit = Audit("images", Manifest((), (), False), (), (), (), (), {}, folds=5, seed=0)
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_audit(audit, folder)
    >>> sorted(file.name for file in folder.iterdir())
    ['audit.html', 'audit.json']
    """
    from glcm_mae.audit.page import page

    text = json.dumps(audit.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(Path(folder) / "audit.json", text)
    write_atomically(Path(folder) / "audit.html", page(audit))


def _with_neutral_labels(manifest: Manifest, looks: Sequence[Look]) -> Manifest:
    """Give the classes numbers if names tell patients: a class is a folder's name as well."""
    if not any(look.identifiers.in_name for look in looks):
        return manifest
    neutral: dict[str | None, str | None] = {None: None}
    width = len(str(len(manifest.classes)))
    neutral |= {name: f"class {k:0{width}}" for k, name in enumerate(manifest.classes, 1)}
    records = tuple(replace(record, label=neutral[record.label]) for record in manifest.records)
    classes = tuple(str(neutral[name]) for name in manifest.classes)
    return replace(manifest, records=records, classes=classes)


def _names(manifest: Manifest, looks: Sequence[Look]) -> list[str]:
    """Name each image by its place, unless that tells a patient."""
    return [
        f"image {number + 1}" if look.identifiers.in_name else one_line(place)
        for number, (place, look) in enumerate(zip(places(manifest), looks, strict=True))
    ]


def _of_shortcuts(shortcuts: Sequence[Shortcut]) -> list[Finding]:
    strong = [s for s in shortcuts if s.auroc.low > SUSPICIOUS and s.name != "all together"]
    if not strong:
        return []
    listed = ", ".join(f"{s.name} {s.auroc.value:.2f}" for s in strong)
    text = (
        f"The class can be told from what has nothing to do with the disease (AUROC: {listed}): "
        "bring both classes to one size, sharpness and format, and ask of every result that it "
        "beats these."
    )
    return [Finding("shortcuts", "warning", text)]


def _of_identifiers(identifiers: dict[str, dict[str, int]]) -> list[Finding]:
    findings = []
    for place, where in (("in_names", "File and folder names"), ("tags", "DICOM headers")):
        counts = identifiers[place]
        if counts:
            listed = ", ".join(f"{name} in {count}" for name, count in list(counts.items())[:4])
            more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
            text = (
                f"{where} hold identifiers ({listed}{more}): remove them before the "
                "set leaves the hospital."
            )
            kind = f"identifiers in {'names' if place == 'in_names' else 'headers'}"
            findings.append(Finding(kind, "warning", text))
    return findings
