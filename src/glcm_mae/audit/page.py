"""The audit as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

import glcm_mae
from glcm_mae.audit.shortcuts import SUSPICIOUS
from glcm_mae.audit.table import verdict
from glcm_mae.data import Plane, Record, UnreadableImage, read_image
from glcm_mae.data.duplicates import AGREEMENT

if TYPE_CHECKING:
    from glcm_mae.audit.check import Audit

__all__ = ["page"]

_SIDE = 112  # pixels of a preview's longer side
_GROUPS, _IMAGES, _OF_CLASS = 12, 12, 7  # shown of each finding, of each group, of each class


def page(audit: Audit) -> str:
    """Render the audit.

    Parameters
    ----------
    audit : Audit
        What `check` found.

    Returns
    -------
    str
        HTML with small pictures in it, without scripts and without references to other files.

    Examples
    --------
    >>> from glcm_mae.audit.check import Audit
    >>> from glcm_mae.data import Manifest
    >>> html = page(Audit("images", Manifest((), (), False), (), (), (), (), {}, folds=5, seed=0))
    >>> "<script" in html, html.startswith("<!doctype html>")
    (False, True)
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        (files("glcm_mae.audit") / "page.html.jinja").read_text(encoding="utf-8")
    )
    records, reasons = audit.manifest.records, audit.unreadable()

    @cache
    def picture(number: int) -> dict[str, str]:
        record = records[number]
        label = record.label or ""
        return {
            "name": audit.names[number],
            "label": f"{label} / {record.split}" if label and record.split else label,
            "tone": str(audit.manifest.labels[number] % 6),
            "source": _preview(record, audit.manifest.plane)
            if audit.looks[number].facts is not None
            else "",
            "reason": reasons.get(audit.names[number], ""),
        }

    return template.render(
        audit=audit,
        summary=audit.summary(),
        verdict=verdict(audit),
        version=glcm_mae.__version__,
        agreement=AGREEMENT,
        classes=_samples(audit, picture),
        findings=[_shown(finding, picture) for finding in audit.findings],
        shortcuts=[_bar(shortcut) for shortcut in audit.shortcuts],
    )


def _samples(audit: Audit, picture: Any) -> list[dict[str, Any]]:
    """Pick a few images of each class, evenly spread over it."""
    samples = []
    labels = audit.manifest.labels
    for number in np.unique(labels):
        images = [n for n in np.flatnonzero(labels == number) if audit.looks[n].facts is not None]
        spread = np.unique(np.linspace(0, max(0, len(images) - 1), _OF_CLASS).astype(int))
        samples.append(
            {
                "name": audit.manifest.classes[number] if number >= 0 else "(unlabelled)",
                "tone": str(number % 6),
                "count": int((labels == number).sum()),
                "share": float((labels == number).mean()),
                "images": [picture(int(images[place])) for place in spread] if images else [],
            }
        )
    return samples


def _shown(finding: Any, picture: Any) -> dict[str, Any]:
    groups = finding.groups or ([finding.images] if finding.images else [])
    return {
        "finding": finding,
        "groups": [[picture(n) for n in group[:_IMAGES]] for group in groups[:_GROUPS]],
        "more_groups": max(0, len(groups) - _GROUPS),
        "more_images": max([0, *(len(group) - _IMAGES for group in groups[:_GROUPS])]),
    }


def _bar(shortcut: Any) -> dict[str, Any]:
    """Places on an axis of AUROC from 0.4 to 1, in percent."""
    auroc = shortcut.auroc

    def place(value: float) -> float:
        return float(np.clip((value - 0.4) / 0.6, 0, 1) * 100)

    known = not np.isnan([auroc.value, auroc.low, auroc.high]).any()
    return {
        "name": shortcut.name,
        "text": f"{auroc.value:.3f}"
        + (f" [{auroc.low:.3f}, {auroc.high:.3f}]" if known else " (no interval)"),
        "value": place(auroc.value),
        "low": place(auroc.low) if known else 0.0,
        "width": place(auroc.high) - place(auroc.low) if known else 0.0,
        "strong": known and auroc.low > SUSPICIOUS,
    }


def _preview(record: Record, plane: Plane) -> str:
    """Make a small JPEG of an image as a data address; "" if it cannot be read."""
    from PIL import Image

    try:
        pixels, facts = read_image(record.path, record.frame, plane)
    except UnreadableImage:
        return ""
    values = pixels.astype(np.float64)
    if pixels.dtype != np.uint8:
        low, high = np.percentile(values, (0.5, 99.5))
        values = (values - low) / max(high - low, 1e-12) * 255
    shown = np.clip(values, 0, 255).astype(np.uint8)
    if facts.white_is_zero:
        shown = 255 - shown
    image = Image.fromarray(shown[0] if len(shown) == 1 else np.moveaxis(shown, 0, -1))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
