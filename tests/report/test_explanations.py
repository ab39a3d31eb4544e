"""Explanations on paper: every patch has its row, and the measure is of the patients."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from glcm_mae.data import Manifest, Record
from glcm_mae.files import write_atomically
from glcm_mae.report.explanations import explanation_files, faithfulness, in_words
from glcm_mae.training.explain import SHARES, Explanations


def explanations(gains: list[float], patients: list[str]) -> Explanations:
    n = len(gains)
    labels = ("a", None, "b", "a")
    records = tuple(
        Record(Path(f"{i}.png"), labels[i % 4], patient, None) for i, patient in enumerate(patients)
    )
    at_random = torch.zeros(n, len(SHARES))
    by_map = at_random - torch.tensor(gains)[:, None]
    by_map[:, 0] = 100.0  # nothing left out: no part of the measure
    return Explanations(
        torch.rand(n, 1, 16, 24),
        Manifest(records, ("a", "b"), True),
        ("a", "b"),
        torch.tensor([[0.9, 0.1]] * n),
        torch.arange(6.0).view(1, 2, 3).expand(n, -1, -1) - 2,
        by_map,
        at_random,
        skipped=0,
        seen=0,
    )


def _write(found: Explanations, folder: Path) -> None:
    for name, content in explanation_files(found).items():
        write_atomically(folder / name, content)


def test_the_measure_is_the_mean_over_images_and_its_interval_over_patients() -> None:
    found = explanations([1.0] * 10 + [3.0] * 10, ["p"] * 10 + ["q"] * 10)
    interval = faithfulness(found)
    assert interval.value == pytest.approx(2.0)
    assert (interval.low, interval.high) == pytest.approx((1.0, 3.0))  # two patients: 1, 2 or 3
    alone = explanations([1.0] * 40, [f"p{i}" for i in range(40)])
    assert faithfulness(alone).low == faithfulness(alone).high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, "The maps tell what the run goes by:"),
        (-0.1, 0.3, "Whether the maps tell what the run goes by is not decided:"),
        (1e-6, 1e-5, "Whether the maps tell what the run goes by is not decided:"),
        (None, None, "Whether the maps tell what the run goes by is not decided:"),
        (-0.3, -0.1, "The maps are wrong:"),
    ],
)
def test_the_words_follow_the_interval(low: float | None, high: float | None, verdict: str) -> None:
    said = in_words({"value": 0.2, "low": low, "high": high}, 7, 6)
    assert said.startswith(verdict)
    assert said.endswith("(mean over 7 images).")


def test_few_patients_decide_nothing() -> None:
    said = in_words({"value": 0.2, "low": 0.1, "high": 0.3}, 1, 1)
    assert said.startswith("Whether the maps tell what the run goes by is not decided by so few")
    assert said.endswith("by 0.200 [0.100, 0.300] (mean over 1 image).")


def test_every_patch_has_a_row_and_every_image_a_picture(tmp_path: Path) -> None:
    found = explanations([1.0, 0.0, -1.0], ["p", "q", "r"])
    _write(found, tmp_path)
    with (tmp_path / "explanations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 6
    assert rows[5] == {
        "path": "0.png",
        "label": "a",
        "predicted": "a",
        "row": "1",
        "column": "2",
        "probability": rows[5]["probability"],
        "fall": "3.0",
    }
    assert float(rows[5]["probability"]) == pytest.approx(0.9)
    assert rows[6]["label"] == ""
    sizes = []
    for n in (40, 16, 1):
        _write(explanations([0.0] * n, ["p"] * n), tmp_path)
        sizes.append(Image.open(tmp_path / "explanations.png").size)
    assert sizes[0] == sizes[1]  # of many, some are drawn
    assert sizes[1][1] > 10 * sizes[2][1]


def test_names_are_no_formulas(tmp_path: Path) -> None:
    # matplotlib takes what stands between two dollars for one, and stops at those it cannot read.
    found = explanations([0.0], ["p"])
    record = Record(Path("a$b_{$.png"), "$_{$", "p", None)
    named = replace(found, manifest=replace(found.manifest, records=(record,)))
    _write(replace(named, classes=("$^^$", "b")), tmp_path)
    assert (tmp_path / "explanations.png").exists()


def test_a_label_stands_beside_another_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(
        "glcm_mae.report.explanations.png", lambda figure, dpi: figures.append(figure) or b""
    )
    explanation_files(explanations([0.0, 0.0, 0.0], ["p", "q", "r"]))
    titles = [axes.get_title() for axes in figures[0].axes]
    assert [title for title in titles if title.startswith("a ")] == [
        *("a 0.90", "a 0.90", "a 0.90, labelled b")
    ]
