"""Judge the models of all folds together: the mean of what they say, beside what one says.

    python benchmarks/evidence/together.py benchmarks/evidence/predictions/busi-other-same.tar.xz

Of images of another source, of which each model of a study was asked (`compare --external`). Prints
a row for each arm, way and baseline: a metric of one model (the mean over all), of a seed's models
together (the mean over seeds), and the difference, with an interval over patients and seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from recompute import about_of, read_baselines, read_tables, unpacked

from glcm_mae.evaluation import compare_arms, with_interval
from glcm_mae.predictions import Predictions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--metric", default="auroc")
    parser.add_argument("--n_resamples", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"| {arguments.metric} | one model | a seed's models together | minus one |")
    print("| --- | --- | --- | --- |")
    with unpacked(arguments.archive) as folder:
        seed_of_model = dict(enumerate(about_of(folder)["seed_of_model"]))
        for name, one in _tables(folder):
            compared = compare_arms(
                {"one": one, "together": _together(one, seed_of_model)},
                {"one": None, "together": None},
                "one",
                n_resamples=arguments.n_resamples,
                seed_of_model=seed_of_model,
            )
            alone, together = (compared["comparisons"][0]["arms"][k] for k in ("one", "together"))
            cells = [with_interval(arm["metrics"][arguments.metric]) for arm in (alone, together)]
            cells.append(with_interval(together["differences"][arguments.metric], signed=True))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _tables(folder: Path) -> Iterator[tuple[str, Predictions]]:
    """Yield what each model of an arm, judged in one way, or of a baseline says."""
    for place in sorted(folder.glob("arms/*/*")):
        seeds = sorted(place.glob("seed*"), key=lambda path: int(path.name.removeprefix("seed")))
        yield f"{place.parent.name}, {place.name}", read_tables(seeds).test
    for name, tables in read_baselines(folder).items():
        yield name, tables.test


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
