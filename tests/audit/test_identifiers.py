"""Identifiers are found in headers and names, and their values go nowhere."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from glcm_mae.audit.identifiers import count_identifiers, read_identifiers

from .sets import write_dicom

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def test_filled_attributes_of_a_header(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        PIXELS,
        PatientName="Curie^Marie",
        PatientID="",
        PatientBirthDate="18671107",
        BurnedInAnnotation="YES",
    )
    found = read_identifiers(path, path.name)
    assert set(found.tags) == {
        "(0010,0010) PatientName",
        "(0010,0030) PatientBirthDate",
        "(0008,0018) SOPInstanceUID",
        "(0028,0301) BurnedInAnnotation is YES",
    }
    assert found.in_name == ()
    assert "Curie" not in str(found)
    assert "1867" not in str(found)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("curie_left.dcm", ("PatientName",)),
        ("scan-AB.1234-x.dcm", ("PatientID",)),
        ("18671107.dcm", ("PatientBirthDate",)),
        ("1867-11-07.dcm", ("PatientBirthDate",)),
        ("marvel.dcm", ()),
        ("yes_no_12.dcm", ()),
    ],
)
def test_header_values_in_the_name(tmp_path: Path, name: str, wanted: tuple[str, ...]) -> None:
    path = write_dicom(
        tmp_path / name,
        PIXELS,
        PatientName="Curie^Marie^No",
        PatientID="AB1234",
        PatientBirthDate="18671107",
    )
    assert read_identifiers(path, path.name).in_name == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("scan_20190314.png", ("date",)),
        ("2019.03.14-a.png", ("date",)),
        ("Doe^John.png", ("name in DICOM form",)),
        ("120190314.png", ()),
        ("20191914.png", ()),
        ("2019-0314.png", ()),
        ("person1018_virus_1706.png", ()),
    ],
)
def test_names_of_files_that_are_no_dicom(
    tmp_path: Path, name: str, wanted: tuple[str, ...]
) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG")
    assert read_identifiers(tmp_path / name, name).in_name == wanted


def test_folders_are_looked_at_too(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", PIXELS, PatientName="Curie^Marie")
    assert read_identifiers(path, "Marie_CURIE/2019-03-14/a.dcm").in_name == ("PatientName",)


def test_private_attributes(tmp_path: Path) -> None:
    import pydicom

    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    header = pydicom.dcmread(path)
    header.private_block(0x0011, "maker", create=True).add_new(1, "LO", "x")
    header.save_as(path)
    assert "(odd groups) private attributes" in read_identifiers(path, "a.dcm").tags


def test_damaged_and_missing_files_have_none(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a.dcm", PIXELS, PatientName="Curie^Marie").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:140])
    for name in ("cut.dcm", "missing.dcm"):
        assert read_identifiers(tmp_path / name, name).tags == ()


def test_a_header_without_preamble_and_values_in_sequences(tmp_path: Path) -> None:
    other = Dataset()
    other.PatientID = "AB1234"
    path = write_dicom(tmp_path / "a.dcm", PIXELS, OtherPatientIDsSequence=[other])
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(path.read_bytes()[132:])
    for file in (path, bare):
        assert "(0010,0020) PatientID" in read_identifiers(file, "x").tags


def test_one_damaged_element_hides_no_other(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", PIXELS, PatientName="Curie^Marie", KVP="80")
    whole = path.read_bytes()
    at = whole.index(b"\x18\x00\x60\x00DS")
    path.write_bytes(whole[: at + 4] + b"FD" + whole[at + 6 :])  # 2 bytes cannot be a double
    assert "(0010,0010) PatientName" in read_identifiers(path, "a.dcm").tags


def test_a_header_that_inflates_without_end_is_not_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("glcm_mae.data.readers.dicom.MAX_BYTES", 2**16)
    path = write_dicom(tmp_path / "a.dcm", PIXELS, PatientName="Curie^Marie")
    header = pydicom.dcmread(path)
    header.PixelData = bytes(2**20)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(path)
    assert path.stat().st_size < 2**13
    assert read_identifiers(path, "a.dcm").tags == ()


@pytest.mark.parametrize("name", ["14-03-2019/a.png", "20190314120000/a.png", "2019_03_14.png"])
def test_dates_are_seen_in_either_order(name: str) -> None:
    assert read_identifiers(Path("none.png"), name).in_name == ("date",)


def test_counts_are_of_files(tmp_path: Path) -> None:
    paths = [write_dicom(tmp_path / f"{n}.dcm", PIXELS, PatientID="7") for n in range(3)]
    counts = count_identifiers([read_identifiers(path, path.name) for path in paths])
    assert counts["tags"] == {"(0010,0020) PatientID": 3, "(0008,0018) SOPInstanceUID": 3}
    assert next(iter(counts["tags"])) == "(0010,0020) PatientID"
    assert counts["in_names"] == {}
