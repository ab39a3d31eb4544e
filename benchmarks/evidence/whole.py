"""Train on all images of a study, without folds, and ask about another source's.

    python benchmarks/evidence/whole.py gray/study.csv gray/same/manifest.csv runs/whole
    python benchmarks/evidence/publish.py runs/whole/study ARCHIVE

Pre-trains each arm with each seed on all images, fits the probes and baselines to all, and lays out
what they say of the other images as a study's tables, to be set beside those of the models of its
folds (`together.py`). What is finished is not made again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from glcm_mae.cli import main as glcm_mae
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.training.tables import Tables
from study import lay_out

_RECIPE = str(Path(__file__).with_name("real.yaml"))
_READING = ("--data.image_size", "128", "--data.color", "gray", "--data.resize", "stretch")


def main() -> None:
    """Run the stages, and print a comparison of each way of judging."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("others", type=Path, help="of another source")
    parser.add_argument("out", type=Path)
    parser.add_argument("--arms", default="mse,prediction_neighbourhood")
    parser.add_argument("--baselines", default="glcm_local,glcm_logistic,histogram")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    arms, baselines = asked.arms.split(","), asked.baselines.split(",")
    said: dict[str, dict[str, list[Path]]] = {"linear": {}, "knn": {}}
    for kind in baselines:
        run = asked.out / kind
        _run("baseline", run, "--kind", kind, *_READING, "--data.images", asked.images)
        answer = _predicted(run, asked.others)
        for way in said:
            said[way][kind] = [answer] * asked.seeds
    for arm in arms:
        for seed in range(asked.seeds):
            run = asked.out / f"{arm}-{seed}"
            probe = asked.out / f"{arm}-{seed}-probe"
            own = ("--data.images", asked.images, "--seed", seed)
            _run("pretrain", run, "--config", _RECIPE, "--config", f"arms/{arm}", *own)
            on = ("--encoder", run, "--allow_seen", "true")  # the other source tests it
            _run("probe", probe, "--config", _RECIPE, *own, *on)
            answer = _predicted(probe, asked.others)
            for way in said:
                said[way].setdefault(arm, []).append(answer / way)
    seeds = range(asked.seeds)
    tables = {
        way: {name: list(map(_tables, found, seeds)) for name, found in of_arms.items()}
        for way, of_arms in said.items()
    }
    known = "each image counts as one, for none are known"
    lay_out(tables, arms[0], baselines, known, asked.out / "study")


def _run(command: str, out: Path, *words: object) -> None:
    if (out / "finished.json").is_file():
        return
    if glcm_mae([command, *map(str, words), "--out", str(out)]) != 0:
        sys.exit(f"whole.py: {command} did not come to its end")


def _predicted(run: Path, others: Path) -> Path:
    out = run.with_name(f"{run.name.removesuffix('-probe')}-same")
    _run("predict", out, "--run", run, "--images", others)
    return out


def _tables(folder: Path, seed: int) -> Tables:
    sides = folder / "predictions.csv", folder / "validation.csv"
    return Tables(*(_of_seed(side, seed) for side in sides))


def _of_seed(file: Path, seed: int) -> Predictions:
    table = read_predictions(file)
    n = len(table.paths)
    return replace(table, folds=np.zeros(n, dtype=np.int64), seeds=np.full(n, seed))


if __name__ == "__main__":
    main()
