"""Tables of images: manifests, and those of another make."""

from pathlib import Path

import pytest

from glcm_mae.data.tables import manifest_rows, table_records, translated_rows
from glcm_mae.errors import UserError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "clinical.csv"
    path.write_text("\ufeffid\tdx\tpage\n7\till\t0\n7\till\t1\n", encoding="utf-8")
    return path


def test_columns_are_named_or_written_out(table: Path) -> None:
    columns = {"path": "{id}.tif", "frame": "page", "label": "{dx}-{id}"}
    assert translated_rows(table, columns) == [
        {"path": "7.tif", "frame": "0", "label": "ill-7"},
        {"path": "7.tif", "frame": "1", "label": "ill-7"},
    ]


def test_rows_that_say_the_same_are_one(table: Path) -> None:
    assert translated_rows(table, {"path": "{id}.tif"}) == [{"path": "7.tif"}]


def test_of_an_empty_cell_nothing_is_made(table: Path) -> None:
    table.write_text("0,1,,\na.png,7,,\na.png,,,\n")
    rows = translated_rows(table, {"path": "{0}", "patient": "p{1}"})
    assert [row["patient"] for row in rows] == ["p7", ""]
    (table.parent / "a.png").touch()
    with pytest.raises(UserError, match="empty cell in column patient, row 2"):
        table_records(table, rows, "axial")


def test_a_path_with_a_nul_is_refused(table: Path) -> None:
    with pytest.raises(UserError, match="which no file can be called"):
        table_records(table, [{"path": "a\0.png"}], "axial", may_lack=True)


def test_what_is_not_named_is_unknown(table: Path) -> None:
    (table.parent / "7").touch()
    records, has_patients = table_records(table, translated_rows(table, {"path": "id"}), "axial")
    assert [(r.label, r.split, r.frame) for r in records] == [(None, None, None)]
    assert not has_patients


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": "dx"}, "columns names no path"),
        ({"path": "id", "lable": "dx"}, "columns names lable"),
        ({"path": "id", "plane": "dx"}, "columns names plane"),
        ({"path": "file"}, "has no column file, but id, dx, page: "),
        ({"path": "{file}.png"}, "has no column file, but id, dx, page: "),
        ({"path": ""}, "columns.path is ''"),
        ({"path": "{id"}, r"columns.path is '\{id': give the name of a column"),
        ({"path": "{}"}, "columns.path is"),
        ({"path": "{{id}}"}, "columns.path is"),
        ({"path": "{id:3}"}, "columns.path is"),
        ({"path": "{id!r}"}, "columns.path is"),
        ({"path": "{id.real}"}, "has no column id.real, but id, dx, page: "),
    ],
)
def test_columns_that_are_none(table: Path, columns: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        translated_rows(table, columns)


def test_a_manifest_has_no_other_columns(table: Path) -> None:
    with pytest.raises(UserError, match=r"no column path, .*\(what a table .* by --columns\)"):
        manifest_rows(table)
