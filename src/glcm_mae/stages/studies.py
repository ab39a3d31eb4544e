"""The stages that run others: studies, and the demonstration."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae import settings
from glcm_mae.stages.checks import check_apart
from glcm_mae.stages.evaluation import evaluated

if TYPE_CHECKING:
    from glcm_mae.study import Failure


def crossval(s: settings.CrossvalSettings, recipe: str) -> tuple[str, int]:
    """Cross-validate a recipe; see `glcm_mae.study`. The code is 2 if a cell failed."""
    from glcm_mae.study import crossval

    _check_out(s)
    study = crossval(s, _recipes_in(recipe))
    parts = []
    for way, tables in study.tables.items():
        for arm, found in tables.items():
            table = Path(s.out) / "arms" / arm / way / "predictions.csv"
            # Of more than two classes each is told from the rest anyway.
            positive = s.positive if len(found.test.classes) == 2 else None
            parts.append(
                evaluated(
                    table,
                    n_resamples=s.n_resamples,
                    positive=positive,
                    about_patients=study.about_patients,
                )
            )
    return _with_failures("\n\n".join(parts), study.failures)


def compare(s: settings.CompareSettings, recipe: str) -> tuple[str, int]:
    """Compare arms; see `glcm_mae.study`. The code is 2 if a cell failed."""
    from glcm_mae.report.comparison import draw_comparison
    from glcm_mae.study import compare, format_summary

    _check_out(s)
    study = compare(s, _recipes_in(recipe))
    if study.comparison is None:
        missing = f"There is no comparison: the reference {s.reference} is not complete."
        return _with_failures(missing, study.failures)
    folder = Path(s.out)
    draw_comparison(study.comparison, folder / "comparison.png")
    written = ", ".join(str(folder / f"comparison.{ending}") for ending in ("md", "json", "png"))
    report = (
        f"{format_summary(study.comparison)}\n\n"
        f"All tables, by image and by patient, and in which settings the arms differ: {written}."
    )
    if study.external is not None:
        draw_comparison(study.external, folder / "external/comparison.png")
        report += f"\n\n{format_summary(study.external)}\n\nThe tables: {folder / 'external'}."
    return _with_failures(report, study.failures)


def demo(s: settings.DemoSettings, recipe: str) -> str:
    """Run everything on the simulated phantom; see `glcm_mae.demo`."""
    from glcm_mae.demo import demo

    return demo(s)


def _check_out(s: settings.CrossvalSettings) -> None:
    external = s.external if isinstance(s, settings.CompareSettings) else None
    for images in filter(None, (s.images, s.pretrain_on, external)):
        check_apart(s.out, images)


def _recipes_in(options: str) -> list[str]:
    return [word for word in shlex.split(options) if word != "--config"]


def _with_failures(report: str, failures: Sequence[Failure]) -> tuple[str, int]:
    if not failures:
        return report, 0
    cells: dict[str, list[str]] = defaultdict(list)
    for failure in failures:
        cells[failure.reason].append(failure.cell)
    listed = "\n".join(f"  {'; '.join(names)}: {reason}" for reason, names in cells.items())
    told = f"{len(failures)} failed; the same command tries them again:\n{listed}"
    return f"{report}\n\n{told}".strip(), 2
