"""Compare published predictions again: the figures of docs/results.md without a training.

    python benchmarks/evidence/recompute.py benchmarks/evidence/predictions/busi.tar.xz \
        --way linear --positive malignant

Arms that have the same seeds are compared with each other, and with these seeds of the reference.
The archive is that of `publish.py`; unpacked, its tables are what `glcm-mae evaluate` reads.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from glcm_mae.evaluation import compare_arms, format_comparison, verdict
from glcm_mae.predictions import read_predictions
from glcm_mae.study.tables import ArmTables, stack_predictions


def main() -> None:
    """Print a comparison for each set of seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--way", default="linear", help="linear, knn, linear_glcm or finetune")
    parser.add_argument("--reference", default="mse", help="an arm or a baseline")
    parser.add_argument("--arms", help="names, by commas; all if left out")
    parser.add_argument("--positive", help="the class whose sensitivity is meant")
    parser.add_argument("--n_resamples", type=int, default=2000)
    arguments = parser.parse_args()
    with tarfile.open(arguments.archive) as packed, tempfile.TemporaryDirectory() as name:
        packed.extractall(name, filter="data")
        arms = {folder.parent.name: folder for folder in Path(name).glob(f"arms/*/{arguments.way}")}
        wanted = arguments.arms.split(",") if arguments.arms else sorted(arms)
        baselines = {
            folder.name: _read([folder]) for folder in sorted(Path(name).glob("baselines/*"))
        }
        for seeds in sorted({_seeds(arms[arm]) for arm in wanted}):
            named = {arm: arms[arm] for arm in wanted if _seeds(arms[arm]) == seeds}
            if arguments.reference in arms:
                named[arguments.reference] = arms[arguments.reference]
            tables = {
                arm: _read([folder / seed for seed in seeds]) for arm, folder in named.items()
            }
            print(f"\n# {arguments.way}, {', '.join(seeds)}\n")
            _print_comparison(tables, baselines, arguments)


def _seeds(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(seed.name for seed in folder.iterdir()))


def _read(folders: Sequence[Path]) -> ArmTables:
    return ArmTables(
        *(
            stack_predictions([read_predictions(folder / name) for folder in folders])
            for name in ("predictions.csv", "validation.csv")
        )
    )


def _print_comparison(
    arms: dict[str, ArmTables], baselines: dict[str, ArmTables], arguments: argparse.Namespace
) -> None:
    tables = arms | baselines
    found = compare_arms(
        {name: table.test for name, table in tables.items()},
        {name: table.validation for name, table in tables.items()},
        arguments.reference,
        positive=arguments.positive,
        n_resamples=arguments.n_resamples,
        baselines=tuple(baselines),
    )
    print(*verdict(found, tuple(baselines)), "", format_comparison(found), sep="\n")


if __name__ == "__main__":
    main()
