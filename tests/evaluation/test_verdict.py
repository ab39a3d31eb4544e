"""What is said of an arm follows from its interval and its p-value, and from nothing else."""

import pytest

from glcm_mae.evaluation import verdict


def comparison(**arms):
    """Arms as (AUROC, low, high, corrected p), the ends those of the difference to mse."""
    return {
        "settings": {"reference": "mse"},
        "comparisons": [
            {
                "arms": {
                    name: {
                        "metrics": {
                            "auroc": {
                                "value": value,
                                "low": None if value is None else value - 0.1,
                                "high": None if value is None else value + 0.1,
                            }
                        },
                        "differences": {
                            "auroc": {
                                "value": None if value is None else value - 0.7,
                                "low": low,
                                "high": high,
                                "smallest": None if low is None else 0.05,
                            }
                        },
                        "tests": {"auroc": {"p_holm": p}},
                    }
                    for name, (value, low, high, p) in {"mse": (0.7, 0, 0, 1), **arms}.items()
                }
            }
        ],
    }


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ((0.8, 0.05, 0.15, 0.01), "ssim is better than mse: +0.100 [+0.050, +0.150]."),
        ((0.6, -0.15, -0.05, 0.01), "ssim is worse than mse: -0.100 [-0.150, -0.050]."),
        (
            (0.71, -0.02, 0.04, 0.4),
            "ssim cannot be told from mse: +0.010 [-0.020, +0.040]; a test of this arm alone would "
            "have found a true difference of 0.050 about 80 times in 100.",
        ),
        (
            (0.73, 0.01, 0.05, 0.08),
            "ssim against mse is not decided: +0.030 [+0.010, +0.050], p 0.080 after Holm's "
            "correction.",
        ),
        (
            (0.73, -0.01, 0.07, 0.02),
            "ssim against mse is not decided: +0.030 [-0.010, +0.070], p 0.020 after Holm's "
            "correction.",
        ),
        (
            (0.73, 0.01, 0.05, None),
            "ssim against mse is not decided: +0.030 [+0.010, +0.050], without a valid test.",
        ),
        (
            (None, None, None, None),
            "ssim cannot be compared with mse: the difference is undefined.",
        ),
        (
            (0.8, None, None, 0.01),
            "ssim cannot be compared with mse: the difference is undefined.",
        ),
    ],
)
def test_each_case_has_its_sentence(arm, said):
    assert verdict(comparison(ssim=arm)) == [said]


def test_a_difference_that_no_resample_shows_has_no_smallest_one():
    found = comparison(ssim=(0.7, 0.0, 0.0, 1.0))
    found["comparisons"][0]["arms"]["ssim"]["differences"]["auroc"]["smallest"] = None
    assert verdict(found) == ["ssim cannot be told from mse: no resample sets them apart."]


def test_the_best_baseline_stands_beside_the_best_arm_and_nothing_is_said_of_the_difference():
    found = comparison(
        texture=(0.8, 0.01, 0.1, 0.01),
        pixels=(0.75, 0.0, 0.1, 0.2),
        histogram=(0.5, -0.3, -0.1, 0.001),
        shortcuts=(None, None, None, None),
    )
    sentences = verdict(found, ["pixels", "histogram", "shortcuts"])
    assert len(sentences) == 2
    assert sentences[1] == (
        "The best arm, texture, has 0.800 [0.700, 0.900], the best baseline, pixels, 0.750 "
        "[0.650, 0.850]: whether they differ, --reference pixels tells."
    )


def test_a_baseline_that_is_the_reference_has_been_compared():
    found = comparison(texture=(0.8, 0.01, 0.1, 0.01))
    [said, last] = verdict(found, ["mse"])
    assert said.startswith("texture is better than mse")
    assert last.endswith(" mse, 0.700 [0.600, 0.800]: whether they differ is said above.")


def test_the_reference_may_be_the_best_arm():
    [_, last] = verdict(
        comparison(ssim=(0.6, -0.2, -0.05, 0.01), pixels=(0.5, -1, 0, 1)), ["pixels"]
    )
    assert last.startswith("The best arm, mse, has 0.700 ")


def test_of_several_seeds_the_test_over_seeds_decides():
    found = comparison(ssim=(0.8, 0.05, 0.15, 0.001))
    tests = found["comparisons"][0]["arms"]["ssim"]["tests"]
    tests["auroc_over_seeds"] = {"p_holm": 0.07}
    [said] = verdict(found)
    assert said.startswith("ssim against mse is not decided: +0.100 [+0.050, +0.150], p 0.070 ")
    tests["auroc_over_seeds"]["p_holm"] = 0.03
    tests["auroc"]["p_holm"] = 0.9
    assert verdict(found) == ["ssim is better than mse: +0.100 [+0.050, +0.150]."]
