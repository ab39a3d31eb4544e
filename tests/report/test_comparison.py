"""The picture of a comparison shows every arm, and nothing where nothing is known."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from glcm_mae.report.comparison import draw_comparison


def _number(value: float | None) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def _comparison(**arms: float | None) -> dict[str, Any]:
    found = {
        name: {
            "metrics": {"auroc": _number(value)},
            "differences": {"auroc": _number(None if value is None else value - 0.7)},
        }
        for name, value in arms.items()
    }
    result = {"n_seeds": 3, "comparisons": [{"task": "b against a", "arms": found}]}
    settings = {"reference": "mse", "baselines": ["pixels"]}
    return {"settings": settings, "results": {"linear": result, "knn": result}}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    save = Figure.savefig

    def spy(figure: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", spy)
    return saved


def test_every_arm_and_every_difference_is_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    path = tmp_path / "comparison.png"
    draw_comparison(_comparison(mse=0.7, random=0.6, texture_prediction=0.9), path)
    [figure] = figures
    own, _, differences, _ = figure.axes
    assert [t.get_text() for t in own.get_yticklabels()] == ["mse", "random", "texture prediction"]
    points = [line.get_xdata()[0] for line in own.lines if line.get_marker() == "o"]
    assert points == pytest.approx([0.7, 0.6, 0.9])
    points = [line.get_xdata()[0] for line in differences.lines if line.get_marker() == "o"]
    assert points == pytest.approx([-0.1, 0.2])
    assert Image.open(path).width > 500


def test_what_is_undefined_leaves_its_row_empty(tmp_path: Path, figures: list[Figure]) -> None:
    draw_comparison(_comparison(mse=0.7, random=None), tmp_path / "comparison.png")
    own = figures[0].axes[0]
    assert len([line for line in own.lines if line.get_marker() == "o"]) == 1
    assert len(own.get_yticklabels()) == 2


def test_an_arm_that_failed_in_one_way_has_an_empty_row_there(
    tmp_path: Path, figures: list[Figure]
) -> None:
    comparison = _comparison(mse=0.7, random=0.6)
    comparison["results"]["knn"] = _comparison(mse=0.7)["results"]["knn"]
    draw_comparison(comparison, tmp_path / "comparison.png")
    linear, knn = figures[0].axes[:2]
    points = [[line for line in a.lines if line.get_marker() == "o"] for a in (linear, knn)]
    assert [len(drawn) for drawn in points] == [2, 1]


def test_the_reference_alone_is_a_picture_too(tmp_path: Path) -> None:
    draw_comparison(_comparison(mse=0.7), tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").exists()


def test_the_reference_is_marked_and_baselines_are_gray(
    tmp_path: Path, figures: list[Figure]
) -> None:
    comparison = _comparison(mse=0.7, texture_prediction=0.9, pixels=0.8)
    draw_comparison(comparison, tmp_path / "comparison.png")
    own, _, differences, _ = figures[0].axes
    for axes, level in ((own, 0.7), (differences, 0.0)):
        [dashed] = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert dashed.get_xdata() == [level, level]
    colors = [line.get_color() for line in own.lines if line.get_marker() == "o"]
    assert colors == ["C0", "C0", "0.4"]


@pytest.mark.parametrize(("seeds", "over"), [(1, "patients"), (3, "patients and seeds")])
def test_the_title_tells_what_was_drawn(
    seeds: int, over: str, tmp_path: Path, figures: list[Figure]
) -> None:
    comparison = _comparison(mse=0.7)
    for result in comparison["results"].values():
        result["n_seeds"] = seeds
    draw_comparison(comparison, tmp_path / "comparison.png")
    assert figures[0].get_suptitle() == f"b against a, by image; 95% intervals over {over}"


def test_dollars_in_names_are_no_formula(tmp_path: Path) -> None:
    comparison = _comparison(**{"mse": 0.7, "a$_$b": 0.8, "$\\bad{$": 0.6})
    comparison["settings"]["reference"] = "$\\bad{$"
    comparison["results"]["knn"]["comparisons"][0]["task"] = "$\\frac$ against a"
    draw_comparison(comparison, tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").is_file()
