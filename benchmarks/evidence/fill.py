"""Fill the tables of docs/results from the published predictions, or check that they are so.

    python benchmarks/evidence/fill.py docs/results/*.md --check

Above a table stands, hidden from readers, where its figures come from:

    <!-- fill busi.tar.xz --seeds 0,1,2 --positive malignant -->

Its rows are arms and baselines, by name or in words (`BASELINES`); what else a label says is free.
Its columns are named as in `VALUES` and `FIGURES`; a column that is not, a cell without content
and an arm that the archive lacks are left as they are, and told. A difference is bold where its
p-value is below 0.05 after Holm's correction over the arms of the table.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recompute import about_of, by_seed, compare_tables, read_baselines, read_tables, unpacked

from glcm_mae.evaluation import with_interval
from glcm_mae.study.tables import ArmTables

PREDICTIONS = Path(__file__).with_name("predictions")
BASELINES = {
    "GLCMs of tiles": "glcm_local",
    "GLCM features, logistic": "glcm_logistic",
    "GLCM features, boosting": "glcm_boosting",
    "pixels": "pixels",
    "histogram": "histogram",
    "shortcuts": "shortcuts",
    "a convolutional network": "convolutional",
}
VALUES = {  # a column of values: the way of judging, the task
    "linear probe": ("linear", None),
    "nearest neighbours": ("knn", None),
    "fine-tuned": ("finetune", None),
    "three classes": (None, "all"),
    "malignant against the rest": (None, "one"),
}
FIGURES = ("minus", "smallest", "by seed", "sensitivity", "specificity")  # of the values before


class Column(NamedTuple):
    """What a column shows: a figure, of a way of judging and of all classes or one."""

    figure: str
    way: str
    task: str


def main() -> None:
    """Fill pages, or say what in them is not as the predictions have it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="+", metavar="PAGE")
    parser.add_argument(
        "--check", action="store_true", help="change nothing, and fail if it differs"
    )
    parser.add_argument("--only", default="", help="tables of archives whose names begin so")
    arguments = parser.parse_args()
    differ = 0
    for page in arguments.pages:
        print(page)
        lines = page.read_text(encoding="utf-8").splitlines()
        for source, rows in list(_tables(lines)):
            if source.archive.startswith(arguments.only):
                differ += _fill(lines, source, rows)
        if not arguments.check:
            page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if arguments.check:
        sys.exit(int(differ > 0))


def _tables(lines: list[str]) -> Iterator[tuple[argparse.Namespace, range]]:
    """Yield where each table that can be filled comes from, and its lines."""
    of_table = argparse.ArgumentParser(prog="fill")
    of_table.add_argument("archive")
    of_table.add_argument("--seeds", default="0,1,2")
    of_table.add_argument("--way", default="linear", help="of columns that name none")
    of_table.add_argument("--task", default="all", help="of columns that name none: all or one")
    of_table.add_argument("--metric", default="auroc")
    of_table.add_argument("--reference", default="mse")
    of_table.add_argument("--positive")
    of_table.add_argument("--n_resamples", type=int, default=2000)
    for at, line in enumerate(lines):
        if found := re.fullmatch(r"<!-- fill (.*) -->", line):
            first = at + 2  # below an empty line
            end = next(n for n in range(first, len(lines) + 1) if not "".join(lines[n : n + 1]))
            yield of_table.parse_args(shlex.split(found[1])), range(first, end)


def _fill(lines: list[str], source: argparse.Namespace, table: range) -> int:
    """Fill a table; print the cells that were otherwise, and return how many."""
    header, _, *rows = [_cells(lines[n]) for n in table]
    columns = _columns(header, source)
    arms = [_arm(row[0]) for row in rows]
    with unpacked(PREDICTIONS / source.archive) as folder:
        judged = {
            way: _Judged(folder, way, arms, source)
            for way in {column.way for column in columns if column}
        }
    looked_at = differ = 0
    for n, row, arm in zip(table[2:], rows, arms, strict=True):
        for place, column in enumerate(columns):
            new = judged[column.way].cell(arm, column) if column and row[place] else None
            looked_at += new is not None
            if new is not None and new != row[place]:
                print(f"line {n + 1}, {arm}: {row[place]} is {new}")
                row[place] = new
                differ += 1
        lines[n] = " ".join(["|", *(f"{cell} |".strip() for cell in row)])
    kept = [name for name, column in zip(header[1:], columns[1:], strict=True) if not column]
    kept += [arm for arm in arms if any(arm not in one.arms for one in judged.values())]
    print(
        f"line {table[0] + 1}, {source.archive}: {looked_at} cells, {differ} of them otherwise"
        + f"; not looked at: {', '.join(kept)}" * bool(kept)
    )
    return differ


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _columns(header: list[str], source: argparse.Namespace) -> list[Column | None]:
    """Say what each column shows; None where that is not known."""
    way, task = source.way, source.task
    columns: list[Column | None] = [None]
    for name in header[1:]:
        figure = next((known for known in FIGURES if name.startswith(known)), None)
        if name in VALUES or name.casefold() == source.metric:
            named_way, named_task = VALUES.get(name, (None, None))
            way, task, figure = named_way or way, named_task or task, "value"
        columns.append(Column(figure, way, task) if figure else None)
    return columns


def _arm(label: str) -> str:
    """Find the arm that a row's label names."""
    words = re.sub(r"^(with|\w+( \w+)?:)\s+", "", label.replace("*", ""))
    for baseline, name in BASELINES.items():
        if words.startswith(baseline):
            return name
    return "random" if words.startswith("random weights") else re.split(r"[ ,]", words)[0]


class _Judged:
    """The arms of a table and all baselines, judged in one way and compared."""

    def __init__(self, folder: Path, way: str, arms: list[str], source: argparse.Namespace) -> None:
        seeds = [f"seed{seed}" for seed in source.seeds.split(",")]
        places = {arm: [folder / "arms" / arm / way / seed for seed in seeds] for arm in arms}
        tried = {
            arm: read_tables(place) for arm, place in places.items() if all(map(Path.exists, place))
        }
        baselines = read_baselines(folder)
        if source.reference not in tried | baselines:
            reference = [folder / "arms" / source.reference / way / seed for seed in seeds]
            tried[source.reference] = read_tables(reference)
        self.arms: dict[str, ArmTables] = tried | baselines
        self._source = source
        found = compare_tables(tried, baselines, source, about_of(folder))["comparisons"]
        self._tasks = [one["arms"] for one in found if one["unit"] == "image"]
        self._tried = tried.keys()

    def cell(self, arm: str, column: Column) -> str | None:
        """Write a figure of an arm; None where there is none."""
        if arm not in self.arms:
            return None
        found = self._tasks[column.task == "one"][arm]
        metric, reference = self._source.metric, self._source.reference
        if column.figure == "value":
            return with_interval(found["metrics"][metric])
        if column.figure in ("sensitivity", "specificity"):
            return with_interval(found["metrics"][f"{column.figure}_at_threshold"])
        if arm == reference:
            return None
        if column.figure == "by seed":
            ours, theirs = (by_seed(self.arms[name].test, metric) for name in (arm, reference))
            return ", ".join(f"{difference:+.3f}" for difference in ours - theirs)
        difference = found["differences"][metric]
        if column.figure == "smallest":
            return f"{difference['smallest']:.3f}"
        text = with_interval(difference, signed=True)
        is_told = arm in self._tried and _p(found["tests"], metric) < 0.05
        return re.sub(r"^(\S+)", r"**\1**", text) if is_told else text


def _p(tests: dict[str, Any], metric: str) -> float:
    """Return the p-value after Holm's correction, over seeds where there are several."""
    test = tests.get(f"{metric}_over_seeds") or tests[metric]
    return 1.0 if test["p_holm"] is None else float(test["p_holm"])


if __name__ == "__main__":
    main()
