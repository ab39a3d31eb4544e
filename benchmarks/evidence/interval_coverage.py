"""How often the interval of a mean over seeds covers the truth, simulated.

    python benchmarks/evidence/interval_coverage.py

A study draws 400 patients and S seeds; its metric is the mean of values to which patients, seeds,
and each seed's own view of each patient contribute, and whose true mean is 0. Beside the intervals
of `glcm_mae.evaluation.crossed_interval` stand the same without their floor, as Obuchowski,
Rockette and Hillis have it, and the percentiles of a bootstrap that draws patients and S - 1 seeds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from glcm_mae.evaluation.bootstrap import patient_counts
from glcm_mae.evaluation.crossed import Crossed, error_over_seeds, t_quantile

_PATIENTS, _RESAMPLES = 400, 400

# Standard deviations of what patients, seeds, and seeds with patients contribute. In the second and
# the last line, what S seeds leave of the mean is as large as what the patients leave.
_ALIKE = math.nan
_CHANCE = {
    "patients": (1.0, 0.0, 0.0),
    "patients and seeds alike": (1.0, _ALIKE, 0.0),
    "seeds": (0.1, 1.0, 0.0),
    "each seed's view of each patient": (0.0, 0.0, 1.0),
    "all three": (1.0, _ALIKE, 1.0),
}


def main() -> None:
    """Print a line for each source of chance and number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1500)
    studies = parser.parse_args().studies
    print(f"{'chance is in':34}seeds  covers  without floor  percentiles  widths")
    for name, chance in _CHANCE.items():
        for n_seeds in (2, 3, 5, 10):
            covered, widths = np.zeros(3), np.zeros(3)
            for low, high in map(np.transpose, _studies(chance, n_seeds, studies)):
                covered += (low <= 0) & (high >= 0)
                widths += high - low
            ours, plain, percentiles = covered / studies
            print(
                f"{name:34}{n_seeds:5}  {ours:6.3f}  {plain:13.3f}  {percentiles:11.3f}  "
                + ", ".join(f"{width:.3f}" for width in widths / studies)
            )


def _studies(
    chance: tuple[float, float, float], n_seeds: int, studies: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the ends of the three intervals of each study, (3, 2)."""
    of_patients, of_seeds, of_both = chance
    if math.isnan(of_seeds):
        of_seeds = (n_seeds / _PATIENTS) ** 0.5
    rng = np.random.default_rng(5)
    folds = np.arange(_PATIENTS) % 5
    for study in range(studies):
        if study % 50 == 0:  # the same resamples for some studies: drawing them takes longest
            [counts] = patient_counts(folds, _RESAMPLES, study, _RESAMPLES)
        values = (
            of_patients * rng.normal(size=_PATIENTS)
            + of_seeds * rng.normal(size=(n_seeds, 1))
            + of_both * rng.normal(size=(n_seeds, _PATIENTS))
        )
        measured = Crossed(values.mean(1), values @ counts.T / _PATIENTS)
        reaches = [
            error * t_quantile(0.975, freedom)
            for error, freedom in (error_over_seeds(measured), _without_floor(measured))
        ]
        drawn = rng.integers(n_seeds, size=(n_seeds - 1, _RESAMPLES))
        of_drawn = measured.replicates[drawn, np.arange(_RESAMPLES)].mean(0)
        yield np.array(
            [
                *([measured.value - reach, measured.value + reach] for reach in reaches),
                np.quantile(of_drawn, [0.025, 0.975]),
            ]
        )


def _without_floor(measured: Crossed) -> tuple[float, float]:
    """Error and freedom where seeds that are alike by luck narrow the interval."""
    n_seeds = len(measured.of_seeds)
    covariances = np.cov(measured.replicates)
    shared = (covariances.sum() - np.trace(covariances)) / (n_seeds * (n_seeds - 1))
    between, both = measured.of_seeds.var(ddof=1), n_seeds * max(shared, 0.0)
    error = math.sqrt((between + both) / n_seeds)
    return error, (1 + both / between) ** 2 * (n_seeds - 1) if between > 0 else math.inf


if __name__ == "__main__":
    main()
