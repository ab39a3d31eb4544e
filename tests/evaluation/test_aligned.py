import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Predictions
from glcm_mae.evaluation.aligned import align_arms

NAMES = ["b", "a", "d", "c"]


def arm(seeds=(0,), order=slice(None), **changes):
    n = len(seeds)
    columns = {
        "paths": NAMES * n,
        "patients": [f"patient {name}" for name in NAMES] * n,
        "labels": np.array([0, 1, 0, 1] * n),
        "probabilities": np.tile([[0.6, 0.4]], (4 * n, 1)),
        "folds": np.array([0, 0, 1, 1] * n),
        "seeds": np.repeat(seeds, 4),
    } | changes
    columns = {
        name: None if values is None else np.array(values)[order].tolist()
        for name, values in columns.items()
    }
    return Predictions(classes=changes.pop("classes", ("x", "y")), **columns)


def test_images_are_in_the_order_of_their_paths_in_every_seed():
    tables = {"one": arm(order=[2, 0, 3, 1]), "two": arm((5, 7), order=[7, 0, 1, 2, 3, 4, 5, 6])}
    aligned = align_arms(tables, "one")
    assert aligned.rows["one"].shape == (1, 4)
    assert aligned.rows["two"].shape == (2, 4)
    for name, table in tables.items():
        for rows in aligned.rows[name]:
            assert [table.paths[row] for row in rows] == list("abcd")
    assert aligned.labels.tolist() == [1, 0, 1, 0]
    assert aligned.folds.tolist() == [0, 0, 1, 1]
    assert (aligned.n_folds, aligned.seeds) == (2, (5, 7))


def test_no_folds_are_one_stratum():
    aligned = align_arms({"a": arm(folds=None)}, "a")
    assert aligned.folds.tolist() == [0, 0, 0, 0]
    assert aligned.n_folds is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            arm((0, 2)),
            "arm 'other' has the seeds [0, 2] and arm 'mse' [0, 1]: train every arm with the same "
            "seeds, or with one.",
        ),
        (
            arm(paths=["b", "a", "d", "new"]),
            "arm 'other', seed 0, and arm 'mse' do not hold the same images, 2 are in only one of "
            "them: test every arm and seed on all of them.",
        ),
        (
            arm((0, 1), order=slice(7)),
            "arm 'other', seed 1, and arm 'mse' do not hold the same images, 1 are in only one of "
            "them: test every arm and seed on all of them.",
        ),
        (
            arm(labels=[1, 1, 0, 1]),
            "arm 'other' gives 1 images another label or patient than arm 'mse': write both from "
            "one manifest.",
        ),
        (
            arm(patients=["x", "y", "z", "patient c"]),
            "arm 'other' gives 3 images another label or patient than arm 'mse': write both from "
            "one manifest.",
        ),
        (
            arm(folds=None),
            "arm 'other' has no column fold and another has one: test all arms in the same folds.",
        ),
        (
            arm((0, 1), folds=[0, 0, 1, 1, 0, 1, 1, 1]),
            "arm 'other' tests 1 images in another fold than the first seed of arm 'mse': test all "
            "arms and seeds in the same folds.",
        ),
        (
            Predictions(["a"], ["a"], [0], ("y", "x"), [[0.5, 0.5]]),
            "arm 'other' has the classes ('y', 'x') and arm 'mse' ('x', 'y'): compare arms of one "
            "task, with the probability columns in one order.",
        ),
    ],
)
def test_arms_that_do_not_fit(other, message):
    with pytest.raises(UserError) as caught:
        align_arms({"mse": arm((0, 1)), "other": other}, "mse")
    assert str(caught.value) == message


def test_reference_must_be_an_arm():
    with pytest.raises(UserError, match="reference='texture' is not an arm: choose one of 'mse'"):
        align_arms({"mse": arm()}, "texture")
