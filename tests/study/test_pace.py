from glcm_mae.study.pace import Pace


def test_each_arm_counts_by_its_own_mean() -> None:
    pace = Pace()
    for seconds in (60, 180):
        pace.took("mse", seconds)
    pace.took("paper", 600)
    assert pace.left(["mse"] * 5 + ["paper"] * 12) == "; about 2 h 10 min left"


def test_nothing_is_said_of_an_arm_that_was_not_timed_nor_of_seconds() -> None:
    pace = Pace()
    pace.took("mse", 5)
    assert pace.left(["mse", "random"]) == ""
    assert pace.left(["mse"]) == ""
