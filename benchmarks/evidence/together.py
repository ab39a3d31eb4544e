"""Judge the models of all folds together, and one trained on all images, beside that of a fold.

    cd benchmarks/evidence/predictions
    python ../together.py busi-other-same.tar.xz --whole busi-other-whole.tar.xz

Of images of another source, of which each model of a study was asked (`compare --external`), and
those of `whole.py`. Prints a row for each arm, way and baseline: a metric of one fold's model (the
mean over all), of a seed's models together (the mean over seeds), of one that was trained on all
images of the study, and the differences, with intervals over patients and seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from publish import of_seed
from recompute import about_of, read_baselines, read_tables, unpacked

from glcm_mae.evaluation import compare_arms, with_interval
from glcm_mae.predictions import Predictions
from glcm_mae.study.tables import stack_predictions

_ARMS = ("one", "together", "whole")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--whole", type=Path, required=True, help="the archive of whole.py")
    parser.add_argument("--metric", default="auroc")
    parser.add_argument("--n_resamples", type=int, default=2000)
    arguments = parser.parse_args()
    with unpacked(arguments.archive) as folder, unpacked(arguments.whole) as folder_of_whole:
        seed_of_model = dict(enumerate(about_of(folder)["seed_of_model"]))
        whole = dict(_tables(folder_of_whole))
        columns = ("one fold", "all folds together", "trained on all", "minus together")
        print(f"| {arguments.metric} | {' | '.join(columns)} |")
        print("| --- | --- | --- | --- | --- |")
        for name, one in _tables(folder):
            arms = {"one": one, "together": _together(one, seed_of_model)}
            if name in whole:
                arms["whole"] = _repeated(whole[name], seed_of_model)
            compared = compare_arms(
                arms,
                dict.fromkeys(arms),
                "one",
                n_resamples=arguments.n_resamples,
                seed_of_model=seed_of_model,
            )
            found = compared["comparisons"][0]["arms"]
            cells = [_cell(found[arm], arguments.metric) if arm in found else "" for arm in _ARMS]
            cells.append(_whole_minus_together(arms, seed_of_model, arguments))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _whole_minus_together(
    arms: dict[str, Predictions], seed_of_model: dict[int, int], arguments: argparse.Namespace
) -> str:
    """Write by how much the one trained on all is ahead of all folds together."""
    if "whole" not in arms:
        return ""
    compared = compare_arms(
        arms,
        dict.fromkeys(arms),
        "together",
        n_resamples=arguments.n_resamples,
        seed_of_model=seed_of_model,
    )
    differences = compared["comparisons"][0]["arms"]["whole"]["differences"]
    return with_interval(differences[arguments.metric], signed=True)


def _cell(found: dict[str, Any], metric: str) -> str:
    """Write a metric and, where there is one, the difference to one fold's model."""
    text = with_interval(found["metrics"][metric])
    difference = found.get("differences")
    return (
        text
        if difference is None
        else (f"{text}; {with_interval(difference[metric], signed=True)}")
    )


def _tables(folder: Path) -> Iterator[tuple[str, Predictions]]:
    """Yield what each model of an arm, judged in one way, or of a baseline says."""
    for place in sorted(folder.glob("arms/*/*")):
        seeds = sorted(place.glob("seed*"), key=lambda path: int(path.name.removeprefix("seed")))
        yield f"{place.parent.name}, {place.name}", read_tables(seeds).test
    for name, tables in read_baselines(folder).items():
        yield name, tables.test


def _repeated(whole: Predictions, seed_of_model: dict[int, int]) -> Predictions:
    """Let the model of a seed that was trained on all stand in the place of each fold's."""
    tables = ((model, of_seed(whole, seed)) for model, seed in seed_of_model.items())
    return stack_predictions(
        [replace(table, seeds=np.full(len(table.paths), model)) for model, table in tables]
    )


def _together(one: Predictions, seed_of_model: dict[int, int]) -> Predictions:
    """Let each model say the mean of what its seed's models say."""
    assert one.seeds is not None
    models = np.unique(one.seeds)
    said = np.stack([one.probabilities[one.seeds == model] for model in models])  # (M, N, K)
    seeds = np.array([seed_of_model[int(model)] for model in models])
    means = {seed: said[seeds == seed].mean(axis=0) for seed in set(seeds.tolist())}
    probabilities = one.probabilities.copy()
    for model, seed in zip(models, seeds.tolist(), strict=True):
        probabilities[one.seeds == model] = means[seed]
    return replace(one, probabilities=probabilities)


if __name__ == "__main__":
    main()
