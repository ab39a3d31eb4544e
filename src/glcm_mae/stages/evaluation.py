"""The stage that measures predictions, which every stage that makes some ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glcm_mae import settings
from glcm_mae.errors import UserError


def evaluate(s: settings.EvaluateSettings, recipe: str) -> str:
    """Measure predictions; see `glcm_mae.evaluation.evaluate`."""
    report = evaluated(
        Path(s.predictions),
        n_resamples=s.n_resamples,
        seed=s.seed,
        positive=s.positive,
        sensitivity=s.sensitivity,
        specificity=s.specificity,
    )
    return report if s.against is None else f"{report}\n\n{_compared(s, s.against)}"


def evaluated(source: Path, **asked: Any) -> str:
    """Evaluate a table, or every table of a run; say what came out and where it lies."""
    from glcm_mae.evaluation import evaluate, format_table, metrics_file

    tables = _tables(source)
    parts = [f"{table}\n{format_table(evaluate(table, **asked))}" for table in tables]
    least = asked.get("sensitivity"), asked.get("specificity")
    written = ", ".join(str(metrics_file(table, *least)) for table in tables)
    return "\n\n".join(parts) + f"\n\nThe metrics lie in {written}."


def _compared(s: settings.EvaluateSettings, other: str) -> str:
    """Compare every table of a run with the table in the same place of another run."""
    from glcm_mae.evaluation import paired_difference, with_interval

    ours, theirs = Path(s.predictions), Path(other)
    tables, others = _tables(ours), _tables(theirs)
    # Of two runs, the tables in the same places; of two tables, these.
    places, other_places = (
        [str(table.relative_to(source)) for table in found]
        for source, found in ((ours, tables), (theirs, others))
    )
    if len(tables) != len(others) or (len(tables) > 1 and places != other_places):
        raise UserError(
            f"{ours} holds {', '.join(places)} and {theirs} {', '.join(other_places)}: give the "
            "two predictions.csv that are to be compared."
        )
    lines = []
    for table, against in zip(tables, others, strict=True):
        lines.append(f"{table} minus {against}")
        for name in ("auroc", "accuracy", "balanced_accuracy"):
            found = paired_difference(
                against,
                table,
                name,
                positive=s.positive,
                n_resamples=s.n_resamples,
                seed=s.seed,
            )
            d = found["difference"]
            missing = ": a class is missing" if d["value"] is None else ""
            lines.append(f"{name:21}{with_interval(d, signed=True)}{missing}")
        if "folders" in found:
            lines.append(
                f"Images and patients are matched below {' and '.join(found['folders'])}: are they "
                "the same?"
            )
        lines.append(_about_intervals(against, table, found["n_seeds"]))
    return "\n".join(lines)


def _about_intervals(against: Path, table: Path, n_seeds: dict[str, int]) -> str:
    """Say for what else the intervals of differences are."""
    if max(n_seeds.values()) == 1:
        return "Intervals of differences: for other patients, of these trained models."
    single = [str(t) for t, n in ((against, n_seeds["a"]), (table, n_seeds["b"])) if n == 1]
    alone = f"; one seed stands for all in {single[0]}" if single else ""
    return f"Intervals of differences: for other patients and other seeds{alone}."


def _tables(source: Path) -> list[Path]:
    """List the table that is meant, or all tables of a run."""
    tables = [source] if source.is_file() else sorted(source.glob("**/predictions.csv"))
    if not tables:
        raise UserError(
            f"{source} holds no predictions.csv: give the folder of a run, or the file."
        )
    return tables
