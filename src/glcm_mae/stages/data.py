"""The stages that look after a data set: audit, split, list."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae import settings
from glcm_mae.errors import UserError
from glcm_mae.files import keep_inputs
from glcm_mae.stages.checks import check_apart, check_folder, check_seed

if TYPE_CHECKING:
    from glcm_mae.data import Manifest


def data_check(s: settings.DataCheckSettings, recipe: str) -> tuple[str, int]:
    """Audit a data set; see `glcm_mae.audit`.

    The code is 1 if a split would leak, and 2 if no image can be read.
    """
    from glcm_mae.audit import check, format_audit, write_audit
    from glcm_mae.data import read_manifest
    from glcm_mae.training.progress import Meters

    _check_folds(s.folds, s.seed)
    if s.out is not None:
        check_folder(s.out)
        check_apart(s.out, s.images)
    manifest = read_manifest(s.images, s.patient_regex, s.plane, may_cross=True, may_lack=True)
    with Meters(len(manifest)) as progress:
        audit = check(s.images, manifest, s.folds, s.seed, progress)
    report = format_audit(audit, colour=sys.stdout.isatty())
    if s.out is not None:
        folder = Path(s.out)
        write_audit(audit, folder)
        report += f"\nWritten: {folder / 'audit.html'}, {folder / 'audit.json'}"
    is_unknown = not audit.leaks and not audit.summary()["readable"]
    return report, 2 if is_unknown else int(audit.leaks)


def data_split(s: settings.DataSplitSettings, recipe: str) -> str:
    """Split a data set by patient and copies; see `glcm_mae.data.splits`."""
    import numpy as np

    from glcm_mae.data import read_manifest
    from glcm_mae.data.duplicates import duplicate_groups
    from glcm_mae.data.splits import holdout, kept_together, with_split
    from glcm_mae.training.progress import Meters

    _check_folds(s.folds, s.seed)
    out = _csv(s.out)
    manifest = read_manifest(s.images, s.patient_regex, s.plane)
    paths = {s.fold: out}
    if s.method == "kfold":
        paths = {fold: out.with_stem(f"{out.stem}-fold{fold}") for fold in range(s.folds)}
    for path in paths.values():
        keep_inputs(path, [s.images, *(record.path for record in manifest.records)])
    given = any(record.split for record in manifest.records)
    if given and s.method == "kfold":
        raise UserError(
            f"{s.images} gives a split, which folds would override: take the method holdout, or a "
            "manifest without the column split."
        )
    with Meters(len(manifest)) as progress:
        copies = duplicate_groups(manifest, progress)
    groups = kept_together(manifest, copies=copies)
    lines = []
    for fold, path in paths.items():
        split = holdout(manifest, s.folds, fold, s.seed, groups)
        with_split(manifest, split).write(path)
        sizes = ", ".join(f"{len(getattr(split, n))} {n}" for n in ("train", "val", "test"))
        lines.append(f"{path}: {sizes}")
    held = len(manifest) - len(np.unique(copies))
    patients = "no patients known"
    if manifest.tells_patients:
        by_headers = " by DICOM headers" * manifest.has_persons
        patients = f"{len(np.unique(manifest.patients))} patients{by_headers}"
    lines.append(
        f"{len(manifest)} images in {len(np.unique(groups))} groups that stay together "
        f"({patients}, {held} images copies of others), {_dealt(s, manifest)}."
    )
    return "\n".join(lines)


def _dealt(s: settings.DataSplitSettings, manifest: Manifest) -> str:
    sides = {record.split for record in manifest.records} - {None}
    if not sides:
        return f"seed {s.seed}"
    kept = f"on the sides that {s.images} gives"
    return kept if "val" in sides else f"{kept}, the validation part dealt by seed {s.seed}"


def data_manifest(s: settings.DataManifestSettings, recipe: str) -> str:
    """Build a manifest; see `glcm_mae.data.listing`."""
    from glcm_mae.data.listing import build_manifest

    out = _csv(s.out)
    keep_inputs(out, [s.images])
    columns, rename = _pairs("columns", s.columns), _pairs("rename", s.rename)
    given = vars(s) | {"out": out, "columns": columns, "rename": rename}
    manifest, told = build_manifest(**given)
    manifest.write(out)
    plane = f" --plane {s.plane}" * (s.plane != "axial")
    return f"{out} lists {told} Next: glcm-mae data check {shlex.quote(s.out)}{plane}"


def _pairs(setting: str, texts: list[str]) -> dict[str, str]:
    """Read NAME=VALUE."""
    pairs = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or name in pairs:
            again = " twice" if name in pairs else ""
            raise UserError(
                f"{setting} says {text!r}{again}: say NAME=VALUE, each once, with commas between."
            )
        pairs[name] = value
    return pairs


def _csv(out: str) -> Path:
    if not out.lower().endswith(".csv"):
        raise UserError(f"out is {out}: give it a name that ends in .csv.")
    return Path(out)


def _check_folds(folds: int, seed: int) -> None:
    if folds < 3:
        raise UserError(f"folds is {folds}: set it to 3 or more (one to test, one to validate).")
    check_seed("seed", seed)
