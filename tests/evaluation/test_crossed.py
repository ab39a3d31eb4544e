import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.evaluation import bootstrap, crossed_bootstrap

FOLDS = np.arange(200) % 5
PATIENTS = np.arange(200).astype(str)


def mean_of(values):
    """The statistic of one seed: the weighted mean of its values (N,)."""
    return lambda weights: {"m": weights @ values / weights.sum(1)}


def replicated(of_seeds, patients=PATIENTS, folds=FOLDS, n_resamples=400, seed=0):
    arms = {"a": [mean_of(values) for values in of_seeds]}
    return crossed_bootstrap(arms, patients, folds, n_resamples, seed)["a"]["m"]


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_variance_over_seeds_is_that_of_their_mean(n_seeds):
    of_seeds = np.random.default_rng(n_seeds).normal(size=(n_seeds, 1)) + np.zeros(200)
    value, replicates = replicated(of_seeds, n_resamples=20_000)
    assert value == pytest.approx(of_seeds[:, 0].mean())
    assert replicates.var() == pytest.approx(of_seeds[:, 0].var(ddof=1) / n_seeds, rel=0.05)


def test_patients_are_drawn_once_for_all_seeds():
    """Crossed, not nested: three equal seeds are no more evidence than one."""
    values = np.random.default_rng(0).normal(size=200)
    one, three = replicated([values]), replicated([values] * 3)
    assert three[1] == pytest.approx(one[1])
    within = np.mean([values[fold == FOLDS].var() for fold in range(5)])
    assert one[1].std() == pytest.approx((within / 200) ** 0.5, rel=0.1)


def test_all_arms_are_measured_on_the_same_resamples():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=200)
    of_seeds = hard + 0.3 * rng.normal(size=(3, 1))
    arms = {
        "a": [mean_of(values) for values in of_seeds],
        "b": [mean_of(values + 0.1) for values in of_seeds],
    }
    found = crossed_bootstrap(arms, PATIENTS, FOLDS, 300)
    assert found["b"]["m"][1] - found["a"]["m"][1] == pytest.approx(np.full(300, 0.1))


def test_an_arm_of_one_seed_is_not_resampled_over_seeds():
    values = np.random.default_rng(2).normal(size=200)
    arms = {"one": [mean_of(values)], "three": [mean_of(values + s) for s in range(3)]}
    found = crossed_bootstrap(arms, PATIENTS, FOLDS, 300)
    alone = crossed_bootstrap({"one": arms["one"]}, PATIENTS, FOLDS, 300)
    assert np.array_equal(found["one"]["m"][1], alone["one"]["m"][1])
    assert found["three"]["m"][1].std() > 3 * found["one"]["m"][1].std()


def test_a_seed_that_is_undefined_spoils_only_the_resamples_that_drew_it():
    values, nothing = np.ones(200), np.full(200, np.nan)
    value, replicates = replicated([values, values, nothing], n_resamples=3000)
    assert np.isnan(value)
    assert np.isnan(replicates).mean() == pytest.approx(1 - (2 / 3) ** 2, abs=0.04)
    assert set(replicates[~np.isnan(replicates)]) == {1.0}


def coverage(patients_sd, seeds_sd, both_sd, n_seeds=3, n_studies=250):
    """How often the interval holds the truth, 0, and its standard error over the true one."""
    rng = np.random.default_rng(3)
    covered, variances = 0, []
    for study in range(n_studies):
        of_seeds = (
            patients_sd * rng.normal(size=200)
            + seeds_sd * rng.normal(size=(n_seeds, 1))
            + both_sd * rng.normal(size=(n_seeds, 200))
        )
        _, replicates = replicated(of_seeds, seed=study)
        low, high = np.quantile(replicates, [0.025, 0.975])
        covered += low <= 0 <= high
        variances.append(replicates.var())
    truth = patients_sd**2 / 200 + seeds_sd**2 / n_seeds + both_sd**2 / (200 * n_seeds)
    return covered / n_studies, (np.mean(variances) / truth) ** 0.5


@pytest.mark.parametrize(
    ("parts", "covers", "error"),
    [
        ((1, 0, 0), (0.91, 0.98), 1.0),  # patients
        ((1, (3 / 200) ** 0.5, 0), (0.83, 0.94), 1.0),  # patients and three seeds alike
        ((0, 0, 1), (0.98, 1.0), 3**0.5),  # Owen: the interaction is counted three times
    ],
)
def test_intervals_cover_as_described(parts, covers, error):
    share, ratio = coverage(*parts)
    assert covers[0] <= share <= covers[1]
    assert ratio == pytest.approx(error, rel=0.08)


def test_any_chunk_gives_the_same_replicates(monkeypatch):
    of_seeds = np.random.default_rng(4).normal(size=(2, 200))
    _, first = replicated(of_seeds, n_resamples=55)
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 1400)
    _, again = replicated(of_seeds, n_resamples=55)
    assert again == pytest.approx(first)
    _, other = replicated(of_seeds, n_resamples=55, seed=1)
    assert not np.allclose(other, first)


def test_settings_that_make_no_sense():
    with pytest.raises(UserError, match="n_resamples=0 is too small"):
        replicated([np.ones(200)], n_resamples=0)
