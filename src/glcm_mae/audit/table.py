"""The audit on a terminal."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

from glcm_mae.data import one_line
from glcm_mae.evaluation import with_interval

if TYPE_CHECKING:
    from glcm_mae.audit.check import Audit
    from glcm_mae.audit.findings import Finding

__all__ = ["format_audit"]

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_NARROWEST, _WIDEST = 60, 110

# What is other in the images of a group, by the kind of a finding; their labels, if it is not said.
_OF = {
    "copies cross split": "split",
    "patients cross split": "split",
    "copies cross patients": "patient",
}


def format_audit(audit: Audit, colour: bool = False) -> str:
    """Lay out an audit as tables.

    Parameters
    ----------
    audit : Audit
        What `check` found.
    colour : bool
        Whether the terminal shows colours.

    Returns
    -------
    str
        The set in a line, a table of findings, one of shortcuts, and the verdict.

    Examples
    --------
    >>> from glcm_mae.audit.check import Audit
    >>> from glcm_mae.data import Manifest
    >>> empty = Audit("images", Manifest((), (), True), (), (), (), (), {}, folds=5, seed=0)
    >>> print(format_audit(empty).splitlines()[-1])
    Whether a split would leak is unknown: no image can be read.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    console.print(Text(in_a_line(audit)))
    if audit.findings:
        findings = Table("", "finding", "what was found", box=SIMPLE_HEAD)
        for finding in audit.findings:
            level = Text(finding.level, style=_COLOURS[finding.level])
            text = f"{finding.text}{_for_instance(finding, audit)}"
            findings.add_row(level, Text(finding.kind), Text(text))
        console.print(findings)
    if audit.shortcuts:
        title = "AUROC [95%]"
        shortcuts = Table("told from", title, box=SIMPLE_HEAD)
        for shortcut in audit.shortcuts:
            auroc = with_interval(shortcut.auroc.to_json())
            shortcuts.add_row(Text(shortcut.name), Text(auroc))
        console.print(shortcuts)
    style = "bold red" if audit.leaks else "bold green"
    console.print(Text(verdict(audit), style=style), soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _for_instance(finding: Finding, audit: Audit) -> str:
    """Name an image that a finding is about, or two of a group, to begin to look at."""
    shown = _two_of(finding, audit) if finding.groups else finding.images[:1]
    if not shown:
        return ""
    names = one_line(" and ".join(audit.names[n] for n in shown))
    if finding.kind == "unreadable":
        return f" For instance {names}: it {audit.looks[shown[0]].unreadable}"
    return f" For instance {names}."


def _two_of(finding: Finding, audit: Audit) -> tuple[int, int]:
    """Choose the first of a group, and the next that differs from it in what the finding is of."""
    what = [getattr(record, _OF.get(finding.kind, "label")) for record in audit.manifest.records]
    first, *others = finding.groups[0]
    return first, next((n for n in others if what[n] != what[first]), others[0])


def in_a_line(audit: Audit) -> str:
    """Say what a set holds.

    Parameters
    ----------
    audit : Audit
        What `check` found.

    Returns
    -------
    str

    Examples
    --------
    >>> from glcm_mae.audit.check import Audit
    >>> from glcm_mae.data import Manifest
    >>> in_a_line(Audit("images", Manifest((), (), False), (), (), (), (), {}, folds=5, seed=0))
    'images: 0 images, 0 readable'
    """
    summary = audit.summary()
    parts = [f"{summary['images']} images", f"{summary['readable']} readable"]
    if summary["patients"] is not None:
        parts.append(f"{summary['patients']} patients")
    parts += [f"{name} {count}" for name, count in summary["classes"].items()]
    return f"{audit.source}: {', '.join(parts)}"


def verdict(audit: Audit) -> str:
    """Say whether a split would leak.

    Parameters
    ----------
    audit : Audit
        What `check` found.

    Returns
    -------
    str

    Examples
    --------
    >>> from glcm_mae.audit.check import Audit
    >>> from glcm_mae.data import Manifest
    >>> verdict(Audit("images", Manifest((), (), False), (), (), (), (), {}, folds=5, seed=0))
    'Whether a split would leak is unknown: no image can be read.'
    """
    summary = audit.summary()
    unread = summary["images"] - summary["readable"]
    if not audit.leaks and not summary["readable"]:
        return "Whether a split would leak is unknown: no image can be read."
    if not audit.leaks:
        known = audit.manifest.tells_patients
        return (
            f"No leak found: no copies{' and no patient' * known} would stand on two sides of a "
            f"split.{' Patients are not known.' * (not known)}"
            + f" {unread} image(s) could not be read, and may be copies."
            * (unread > 0)
        )
    given = any(record.split for record in audit.manifest.records)
    drawn = "by patient" if audit.manifest.tells_patients else "image by image"
    split = "The given split leaks" if given else f"A split {drawn} would leak"
    return f"{split}: the same picture or patient would be trained on and tested on."
