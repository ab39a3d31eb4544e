"""The demonstration, at a size at which it says nothing but shows that it runs."""

import pytest

from glcm_mae.demo import demo
from glcm_mae.errors import UserError
from glcm_mae.settings import DemoSettings


def test_it_runs_and_prints_both_arms_with_floor_and_ceiling(tmp_path, capsys):
    out = tmp_path / "demo"
    said = demo(DemoSettings(str(out), epochs=1, unlabelled_patients=4, labelled_patients=6,
                             images_per_patient=2))  # fmt: skip
    for words in ("random weights (floor)", "MSE + texture prediction", "GLCM features (ceiling)",
                  "texture - MSE, linear probe", "local contrast", "mse.png"):  # fmt: skip
        assert words in said
    assert (out / "mse.png").stat().st_size > 10_000
    assert (out / "texture.png").stat().st_size > 10_000
    assert (out / "summary.txt").read_text().strip() in said
    assert "$ glcm-mae pretrain --config demo" in capsys.readouterr().out


def test_it_leaves_a_folder_that_is_not_empty_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        demo(DemoSettings(str(tmp_path)))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0: set it to 1 or more"),
        ({"unlabelled_patients": 0}, "unlabelled_patients is 0: set it to 1 or more"),
        ({"labelled_patients": 4}, "labelled_patients is 4: set it to 5 or more"),
        ({"images_per_patient": -1}, "images_per_patient is -1: set it to 1 or more"),
        ({"seed": 2**32}, "seed is 4294967296: set it from 0 to 4294967295"),
    ],
)
def test_it_refuses_at_once_what_would_fail_in_the_end(tmp_path, wrong, said):
    with pytest.raises(UserError, match=said):
        demo(DemoSettings(str(tmp_path / "demo"), **wrong))
    assert not (tmp_path / "demo").exists()
