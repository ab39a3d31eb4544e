"""Compare published predictions again: the figures of docs/results.md without a training.

    python benchmarks/evidence/recompute.py benchmarks/evidence/predictions/busi.tar.xz \
        --way linear --positive malignant

Arms that have the same seeds are compared with each other, and with these seeds of the reference;
below each comparison stand the differences in AUROC seed by seed. ``--seeds 1,2`` takes these
seeds alone.
The archive is that of `publish.py`; unpacked, its tables are what `glcm-mae evaluate` reads.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glcm_mae.errors import UserError
from glcm_mae.evaluation import compare_arms, format_comparison, verdict
from glcm_mae.evaluation.of_seeds import metrics_of_seeds
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.study.tables import ArmTables, stack_predictions


def main() -> None:
    """Print a comparison for each set of seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--way", default="linear", help="linear, knn, linear_glcm or finetune")
    parser.add_argument("--reference", default="mse", help="an arm or a baseline")
    parser.add_argument("--arms", help="names, by commas; all if left out")
    parser.add_argument("--seeds", help="numbers, by commas; all if left out")
    parser.add_argument("--positive", help="the class whose sensitivity is meant")
    parser.add_argument("--n_resamples", type=int, default=2000)
    arguments = parser.parse_args()
    try:
        with unpacked(arguments.archive) as folder:
            _print_comparisons(folder, arguments)
    except (UserError, OSError, tarfile.TarError) as error:
        sys.exit(f"recompute.py: {error}")


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack an archive for as long as it is needed."""
    with tarfile.open(archive) as packed, tempfile.TemporaryDirectory() as name:
        packed.extractall(name, filter="data")
        yield Path(name)


def _print_comparisons(folder: Path, arguments: argparse.Namespace) -> None:
    arms = {place.parent.name: place for place in folder.glob(f"arms/*/{arguments.way}")}
    wanted = arguments.arms.split(",") if arguments.arms else sorted(arms)
    baselines = read_baselines(folder)
    reference = arguments.reference
    unknown = sorted({*wanted} - arms.keys() | {reference} - arms.keys() - baselines.keys())
    if unknown or not arms:
        raise UserError(
            f"{arguments.archive} has no {', '.join(unknown) or 'arm'} judged by {arguments.way}: "
            f"it has {', '.join(sorted(arms)) or 'none'}."
        )
    about = about_of(folder)
    asked = {f"seed{seed}" for seed in arguments.seeds.split(",")} if arguments.seeds else None
    seeds_of = {arm: _seeds(place, asked) for arm, place in arms.items()}
    for seeds in sorted({seeds_of[arm] for arm in wanted} - {()}):
        named = {arm: arms[arm] for arm in wanted if seeds_of[arm] == seeds}
        if reference in arms:
            lacking = set(seeds) - set(seeds_of[reference])
            if lacking:
                raise UserError(
                    f"{reference} lacks {', '.join(sorted(lacking))}, which {', '.join(named)} "
                    "have: give --seeds or --arms, or another --reference."
                )
            named[reference] = arms[reference]
        tables = {
            arm: read_tables([place / seed for seed in seeds]) for arm, place in named.items()
        }
        print(f"\n# {arguments.way}, {', '.join(seeds)}\n")
        found = compare_tables(tables, baselines, arguments, about)
        by_image = [one for one in found["comparisons"] if one["unit"] == "image"]
        if found["patients"] != about["patients"]:  # groups of copies stand in their place
            found = {**found, "comparisons": by_image, "patients": about["patients"]}
        print(*verdict(found, tuple(baselines)), "", format_comparison(found), "", sep="\n")
        print(f"AUROC by image, {found['comparisons'][0]['task']}, minus {reference}, by seed:")
        against = by_seed((tables | baselines)[reference].test)
        for arm in sorted(tables.keys() - {reference}):
            differences = by_seed(tables[arm].test) - against
            print(f"{arm}: {', '.join(f'{difference:+.3f}' for difference in differences)}")


def _seeds(place: Path, asked: set[str] | None) -> tuple[str, ...]:
    found = {seed.name for seed in place.iterdir()}
    return tuple(sorted(found if asked is None else found & asked))


def by_seed(table: Predictions, metric: str = "auroc") -> NDArray[np.float64]:
    """Return a metric (S,) of each seed, AUROC within folds."""
    once = np.ones((1, len(table.paths)))
    return np.array([measure(once)[metric][0] for measure in metrics_of_seeds(table)])


def read_tables(folders: Sequence[Path]) -> ArmTables:
    """Read an arm's tables, a folder for each seed."""
    return ArmTables(
        *(
            stack_predictions([read_predictions(folder / name) for folder in folders])
            for name in ("predictions.csv", "validation.csv")
        )
    )


def read_baselines(folder: Path) -> dict[str, ArmTables]:
    """Read the tables of all baselines, which have seeds where a study's models were asked."""
    places = sorted(folder.glob("baselines/*"))
    return {place.name: read_tables(sorted(place.glob("seed*")) or [place]) for place in places}


def about_of(folder: Path) -> dict[str, Any]:
    """Read what a study says of its tables."""
    return json.loads((folder / "about.json").read_text(encoding="utf-8"))


def compare_tables(
    arms: dict[str, ArmTables],
    baselines: dict[str, ArmTables],
    arguments: argparse.Namespace,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Compare arms, and baselines, with the reference."""
    tables = arms | baselines
    return compare_arms(
        {name: table.test for name, table in tables.items()},
        {name: table.validation for name, table in tables.items()},
        arguments.reference,
        positive=arguments.positive,
        n_resamples=arguments.n_resamples,
        baselines=tuple(baselines),
        seed_of_model=dict(enumerate(about.get("seed_of_model", ()))),
    )


if __name__ == "__main__":
    main()
