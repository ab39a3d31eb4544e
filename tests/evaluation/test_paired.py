import json
import os

import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Predictions, evaluate, paired_difference

CLASSES = ("benign", "malignant")


def arm(noise=0.0, n=120, **changes):
    """Hard and easy images are the same in every arm; `noise` makes an arm worse."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    score = 1.5 * labels - 0.75 + rng.normal(size=n)
    score += noise * np.random.default_rng(1).normal(size=n)
    p = 1 / (1 + np.exp(-score))
    columns = {
        "paths": [f"{i}.png" for i in range(n)],
        "patients": [str(i // 2) for i in range(n)],
        "labels": labels,
        "classes": CLASSES,
        "probabilities": np.stack([1 - p, p], axis=1),
    }
    return Predictions(**(columns | changes))


def turned(table):
    back = slice(None, None, -1)
    return Predictions(
        table.paths[back],
        table.patients[back],
        table.labels[back],
        table.classes,
        table.probabilities[back],
    )


def test_an_arm_does_not_differ_from_itself_in_any_order():
    result = paired_difference(arm(), turned(arm()), n_resamples=100)
    ends = [result["difference"][name] for name in ("value", "low", "high")]
    assert ends == pytest.approx([0, 0, 0], abs=1e-12)


def test_difference_is_b_minus_a_and_the_sign_turns():
    forward = paired_difference(arm(4.0), arm(), n_resamples=300)
    backward = paired_difference(arm(), arm(4.0), n_resamples=300)
    difference = forward["difference"]
    assert difference["value"] == pytest.approx(forward["b"]["value"] - forward["a"]["value"])
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    assert backward["difference"]["high"] == pytest.approx(-difference["low"])


def test_pairing_narrows_the_interval():
    result = paired_difference(arm(0.3), arm(), n_resamples=500)
    widths = {name: result[name]["high"] - result[name]["low"] for name in ("a", "b", "difference")}
    assert widths["difference"] < 0.6 * np.hypot(widths["a"], widths["b"])


def test_interval_of_each_arm_is_that_of_evaluate(tmp_path):
    arm(1.0).write(tmp_path / "a.csv")
    arm().write(tmp_path / "b.csv")
    result = paired_difference(
        tmp_path / "a.csv", tmp_path / "b.csv", "f1/malignant", n_resamples=100, seed=4
    )
    for name in ("a", "b"):
        metrics = evaluate(tmp_path / f"{name}.csv", n_resamples=100, seed=4)
        expected = metrics["by_image"]["per_class"]["malignant"]["f1"]
        assert result[name] == {end: expected[end] for end in ("value", "low", "high")}
    assert (result["n_images"], result["n_patients"]) == (120, 60)
    assert result["settings"]["positive"] == "malignant"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_arms_may_have_other_numbers_of_seeds():
    one, two = arm(), arm(2.0)
    stacked = {
        name: np.concatenate([getattr(one, name), getattr(two, name)]).tolist()
        for name in ("paths", "patients", "labels", "probabilities")
    }
    both = arm(**stacked, seeds=np.repeat([0, 1], 120))
    result = paired_difference(one, both, n_resamples=50)
    mean = np.mean([paired_difference(one, t, n_resamples=40)["b"]["value"] for t in (one, two)])
    assert result["b"]["value"] == pytest.approx(mean)


def of_seeds(*strengths, seeds):
    """An arm of several seeds, each of a strength of its own."""
    tables = [arm(strength) for strength in strengths]
    stacked = {
        name: np.concatenate([getattr(table, name) for table in tables]).tolist()
        for name in ("paths", "patients", "labels", "probabilities")
    }
    return arm(**stacked, seeds=np.repeat(seeds, 120))


def test_seeds_are_compared_in_pairs():
    a, b = of_seeds(0.5, 4.0, seeds=[0, 1]), of_seeds(0.6, 4.4, seeds=[0, 1])
    paired = paired_difference(a, b, n_resamples=200)["difference"]
    crosswise = paired_difference(a, of_seeds(4.4, 0.6, seeds=[0, 1]), n_resamples=200)
    assert crosswise["difference"]["value"] == pytest.approx(paired["value"])
    width, wide = (d["high"] - d["low"] for d in (paired, crosswise["difference"]))
    assert wide > 3 * width


def test_a_worse_arm_of_several_seeds_has_a_negative_interval():
    better, worse = of_seeds(0.1, 0.2, seeds=[0, 1]), of_seeds(2.0, 2.1, seeds=[0, 1])
    found = paired_difference(better, worse, n_resamples=200)
    assert found["difference"]["low"] < found["difference"]["high"] < 0
    assert found["n_seeds"] == {"a": 2, "b": 2}


def test_seeds_in_other_folds_are_refused():
    folds = np.arange(60).repeat(2) % 3
    other = (folds + 1) % 3
    both = of_seeds(0, 0, seeds=[0, 1])
    columns = {
        n: getattr(both, n) for n in ("paths", "patients", "labels", "probabilities", "seeds")
    }
    a = arm(**columns, folds=np.concatenate([folds, other]))
    b = arm(**columns, folds=np.concatenate([other, folds]))
    with pytest.raises(UserError, match="test 240 images in other folds"):
        paired_difference(a, b)


def test_other_seeds_are_refused():
    a, b = of_seeds(1, 2, seeds=[0, 1]), of_seeds(1, 2, seeds=[1, 2])
    with pytest.raises(UserError) as caught:
        paired_difference(a, b)
    assert str(caught.value) == (
        "predictions_a and predictions_b are of the seeds 0, 1 and 1, 2: compare arms of the same "
        "seeds."
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"n": 118},
            "predictions_a and predictions_b do not hold the same images, 2 are in only one of "
            "them: test both arms on one split.",
        ),
        (
            {"classes": CLASSES[::-1]},
            "predictions_a and predictions_b have other classes, ('benign', 'malignant') and "
            "('malignant', 'benign'): compare arms of one task, with the probability columns in "
            "one order.",
        ),
        (
            {"patients": [str(i // 3) for i in range(120)]},
            "predictions_a and predictions_b give 117 images another label or patient: write both "
            "from one manifest.",
        ),
    ],
)
def test_tables_that_cannot_be_compared(other, message):
    with pytest.raises(UserError) as caught:
        paired_difference(arm(), arm(**other))
    assert str(caught.value) == message


def test_unknown_statistic_names_the_known_ones():
    with pytest.raises(UserError, match="statistic='auc' is not known: choose one of auroc, auprc"):
        paired_difference(arm(), arm(), "auc")


@pytest.mark.parametrize("folds", [None, [2 - i // 40 for i in range(120)]])
def test_arms_of_other_folds_are_refused(folds):
    in_folds = arm(folds=[i // 40 for i in range(120)])
    assert paired_difference(in_folds, in_folds, n_resamples=40)["difference"]["value"] == 0
    for pair in ((in_folds, arm(folds=folds)), (arm(folds=folds), in_folds)):
        with pytest.raises(UserError, match=r"test .* images in other folds"):
            paired_difference(*pair)


def test_a_seed_that_lacks_images_is_refused():
    unfinished = arm(paths=["0.png", *(f"{i}.png" for i in range(119))], seeds=[1] + [0] * 119)
    with pytest.raises(UserError, match="row 4: the image is not predicted under each of the 2"):
        paired_difference(arm(), unfinished)


def test_images_may_lie_in_another_folder():
    def at(folder, table):
        paths = [f"{folder}/{'ab'[k % 2]}/{name}" for k, name in enumerate(table.paths)]
        return arm(paths=paths)

    here, there = at("/data/a", arm()), at("scratch", arm())
    result = paired_difference(here, there, n_resamples=50)
    assert (result["difference"]["value"], result["folders"]) == (0, ["/data/a", "scratch"])
    assert "folders" not in paired_difference(here, here, n_resamples=50)
    with pytest.raises(UserError, match="do not hold the same images, 180 are in only one"):
        paired_difference(here, arm(n=60, paths=there.paths[:60]))
    unknown = [arm(paths=table.paths, patients=table.paths) for table in (here, there)]
    with pytest.raises(UserError, match="do not hold the same images, 240 are in only one"):
        paired_difference(*unknown)


@pytest.mark.parametrize("patients", ["known", "images", "files", "persons"])
def test_images_may_be_spelled_in_full(patients):
    def spelled(name):
        paths = [name(f"set/{k // 2}.tif") + f"#{k % 2}" for k in range(120)]
        files = [path.partition("#")[0] for path in paths]
        persons = [files[k - k % 4] for k in range(120)]  # named after the first file of each
        of = {"known": arm().patients, "images": paths, "files": files, "persons": persons}
        return arm(paths=paths, patients=of[patients])

    short, full = spelled(str), spelled(os.path.abspath)
    result = paired_difference(short, full, n_resamples=50)
    assert (result["difference"]["value"], "folders" in result) == (0, False)
    elsewhere = spelled("/elsewhere/{}".format)
    if patients != "known":
        with pytest.raises(UserError, match=r"not hold the same images|another label or patient"):
            paired_difference(short, elsewhere)
