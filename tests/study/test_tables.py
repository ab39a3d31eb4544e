"""The tables of a study's cells are joined, and what they tell of patients is kept."""

import json
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.predictions import Predictions
from glcm_mae.study.cells import baseline_folder
from glcm_mae.study.folds import Fold
from glcm_mae.study.tables import collect_baseline


def test_what_patients_are_is_told_beside_a_table_unless_that_is_damaged(tmp_path: Path) -> None:
    run = baseline_folder(tmp_path, "histogram", 0)
    table = Predictions(("a", "b"), ("a", "b"), np.array([0, 1]), ("n", "t"), np.eye(2))
    table.write(run / "predictions.csv")
    table.write(run / "validation.csv")
    about = run / "about.json"
    about.write_text('{"test_images_seen_in_pretraining": 1}')
    asked = (tmp_path, "histogram", [Fold(0, tmp_path / "fold0.csv")], [str(run)], "none known")
    assert collect_baseline(*asked) is not None
    told = {"test_images_seen_in_pretraining": 1, "patients": "none known"}
    assert json.loads(about.read_text()) == told
    about.write_text("garbage")
    with pytest.raises(UserError, match=f"{about} is damaged: .* or remove the folder {run}, "):
        collect_baseline(*asked)
