"""The whole audit: what it finds in files, and what it writes."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.audit import check, format_audit, write_audit
from glcm_mae.audit.check import Audit
from glcm_mae.audit.findings import Finding
from glcm_mae.audit.inspection import Look
from glcm_mae.data import Manifest, Record, read_manifest

from ..data.scenes import make_scenes
from .sets import flipped_copy, write_dicom, write_set


def audited(folder: Path, regex: str | None = r"^p\d+") -> Audit:
    return check("the set", read_manifest(folder, regex, may_cross=True), folds=3)


def kinds(audit: Audit) -> set[str]:
    return {finding.kind for finding in audit.findings}


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A set with one of each fault."""
    folder = write_set(tmp_path_factory.mktemp("spoilt"))
    flipped_copy(folder / "malignant/p0_a.png", folder / "benign/p90_a.png")
    (folder / "benign/p91_<b>.png").touch()
    Image.new("L", (64, 64), 7).save(folder / "benign/p92_a.png")
    return audited(folder)


def test_a_clean_set_is_clean(tmp_path: Path) -> None:
    audit = audited(write_set(tmp_path))
    assert not audit.leaks
    assert not kinds(audit) - {"shortcuts"}
    assert "No leak found" in format_audit(audit)


def test_every_fault_is_found(spoilt: Audit) -> None:
    assert kinds(spoilt) - {"shortcuts"} == {
        "copies cross patients",
        "near copies",
        "label conflict",
        "empty",
        "constant",
    }
    assert spoilt.leaks
    assert spoilt.findings[0].leaks
    conflict = next(f for f in spoilt.findings if f.kind == "label conflict")
    names = {spoilt.names[n] for n in conflict.images}
    assert names == {"malignant/p0_a.png", "benign/p90_a.png"}


def test_patients_on_two_sides_are_reported(tmp_path: Path) -> None:
    for number, scene in enumerate(make_scenes(12, 64)):
        place = tmp_path / ("train" if number < 6 else "test") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        scene.save(place / f"p{number % 7}_{number}.png")
    audit = audited(tmp_path)
    assert [finding.kind for finding in audit.findings if finding.leaks] == ["patients cross split"]
    assert "5 groups of 10 images" in audit.findings[0].text


def test_json_holds_the_same(spoilt: Audit, tmp_path: Path) -> None:
    write_audit(spoilt, tmp_path / "deep/report")
    audit = json.loads((tmp_path / "deep/report/audit.json").read_text())
    assert audit["leaks"] is True
    assert audit["summary"]["classes"] == {"benign": 9, "malignant": 6}
    assert audit["summary"]["readable"] == 14
    assert [f["kind"] for f in audit["findings"]] == [f.kind for f in spoilt.findings]
    empty = next(f for f in audit["findings"] if f["kind"] == "empty")
    assert empty["images"] == ["benign/p91_<b>.png"]
    reason = "is empty: export or copy it again."
    assert audit["unreadable"] == {"benign/p91_<b>.png": reason}
    assert {"name", "value", "low", "high"} <= set(audit["shortcuts"][0])
    again = write_audit(spoilt, tmp_path / "again")
    assert again is None
    for name in ("audit.json", "audit.html"):
        first, second = (tmp_path / where / name for where in ("deep/report", "again"))
        assert first.read_bytes() == second.read_bytes()


class _Page(HTMLParser):
    """Collects tags and addresses, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(spoilt: Audit, tmp_path: Path) -> None:
    write_audit(spoilt, tmp_path)
    text = (tmp_path / "audit.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.addresses) > 10
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "p91_&lt;b&gt;.png" in text
    assert "<b>.png" not in text
    assert "is empty: export or copy it again." in text
    assert "A split by patient would leak" in text


def test_no_identifier_reaches_the_report(tmp_path: Path) -> None:
    for number, scene in enumerate(make_scenes(8, 64)):
        name = ("curie_1.dcm", "MARIE/1.dcm")[number] if number < 2 else f"{number}.dcm"
        write_dicom(
            tmp_path / "set" / "ab"[number % 2] / name,
            np.asarray(scene),
            PatientName="Curie^Marie",
            PatientID=f"SECRET{number}",
            AccessionNumber="ACC-99231",
        )
    audit = audited(tmp_path / "set", None)
    assert audit.identifiers["tags"]["(0010,0020) PatientID"] == 8
    assert audit.identifiers["in_names"] == {"PatientName": 2}
    assert sum(name.startswith("image ") for name in audit.names) == 2
    write_audit(audit, tmp_path)
    written = format_audit(audit) + "".join(
        (tmp_path / name).read_text() for name in ("audit.json", "audit.html")
    )
    for value in ("Curie", "curie", "Marie", "MARIE", "SECRET", "99231"):
        assert value not in written
    assert "(0008,0050) AccessionNumber" in written


def test_a_folder_for_each_patient_tells_nobody(tmp_path: Path) -> None:
    source = tmp_path / "CURIE_MARIE"
    for number, scene in enumerate(make_scenes(6, 64)):
        name, patient = ("DOE^JOHN", "7711") if number % 2 else ("ROE_JANE", "SECRETID")
        write_dicom(
            source / name / f"{number}.dcm",
            np.asarray(scene),
            PatientName="Doe^John" if number % 2 else "Roe^Jane",
            PatientID=patient,
            OtherPatientIDs="Curie",
        )
    audit = check(str(source), read_manifest(source))
    write_audit(audit, tmp_path)
    written = format_audit(audit) + "".join(
        (tmp_path / name).read_text() for name in ("audit.json", "audit.html")
    )
    for value in ("DOE", "JOHN", "ROE", "JANE", "SECRET", "7711", "CURIE"):
        assert value not in written
    assert audit.manifest.classes == ("class 1", "class 2")


def test_why_a_file_cannot_be_read_names_nobody(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8)), PatientName="Curie^Marie")
    path.write_bytes(path.read_bytes()[:-20])
    reasons = audited(tmp_path, None).unreadable()
    assert set(reasons) == {"a.dcm"}
    assert "Curie" not in str(reasons)


def test_frames_of_one_file_count_once(tmp_path: Path) -> None:
    scenes = [np.asarray(scene) for scene in make_scenes(3, 64)]
    stacked = np.concatenate(scenes)
    path = write_dicom(tmp_path / "a.dcm", stacked, PatientID="7", NumberOfFrames=3, Rows=64)
    assert path.exists()
    audit = audited(tmp_path, None)
    assert len(audit.looks) == 3
    assert audit.identifiers["tags"]["(0010,0020) PatientID"] == 1


def test_deep_and_inverted_images_have_pictures(tmp_path: Path) -> None:
    import tifffile

    gray = np.asarray(make_scenes(1, 64)[0]).astype(np.uint16)
    folder = tmp_path / "set"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", gray * 16, photometric="minisblack")
    tifffile.imwrite(folder / "b.tif", 4095 - gray * 16, photometric="miniswhite")
    audit = audited(folder, None)
    assert [f.groups for f in audit.findings if f.kind == "near copies"] == [((0, 1),)]
    write_audit(audit, tmp_path)
    assert (tmp_path / "audit.html").read_text().count("data:image/jpeg") >= 4


def test_one_image_alone(tmp_path: Path) -> None:
    make_scenes(1, 64)[0].save(tmp_path / "a.png")
    audit = audited(tmp_path, None)
    assert kinds(audit) == {"no patients"}
    assert audit.names == ("a.png",)


def test_the_table_needs_no_colours_and_escapes_nothing(spoilt: Audit) -> None:
    plain, coloured = format_audit(spoilt), format_audit(spoilt, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert "label conflict" in plain
    assert (
        plain.splitlines()[0]
        == "the set: 15 images, 14 readable, 15 patients, benign 9, malignant 6"
    )
    assert max(map(len, plain.splitlines()[:-1])) <= 110


def test_the_table_names_an_image_to_begin_with(spoilt: Audit) -> None:
    plain = " ".join(format_audit(spoilt).split())
    conflict = next(f for f in spoilt.findings if f.kind == "label conflict")
    first, *others = conflict.groups[0]
    labels = spoilt.manifest.labels
    other = next(n for n in others if labels[n] != labels[first])
    assert f"For instance {spoilt.names[first]} and {spoilt.names[other]}." in plain
    (name,) = spoilt.unreadable()
    assert f"For instance {name}." in plain


def test_an_example_differs_in_what_the_finding_is_of(spoilt: Audit) -> None:
    records = tuple(
        Record(Path(f"{n}.png"), "a", f"p{n // 2}", "test" if n == 3 else "train") for n in range(4)
    )
    audit = replace(
        spoilt,
        manifest=Manifest(records, ("a",), True),
        names=tuple("abcd"),
        looks=tuple(Look("is damaged: export it again.") for _ in records),
    )
    for kind, told in (
        ("near copies", "For instance a and b."),
        ("copies cross patients", "For instance a and c."),
        ("copies cross split", "For instance a and d."),
    ):
        finding = Finding(kind, "error", "Look.", (0, 1, 2, 3), ((0, 1, 2, 3),))
        assert told in format_audit(replace(audit, findings=(finding,)))
    damaged = Finding("unreadable", "error", "1 image(s) cannot be read.", (2,))
    told = "For instance c: it is damaged: export it again."
    assert told in " ".join(format_audit(replace(audit, findings=(damaged,))).split())


def test_times_do_not_enter(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", per_class=3)
    one, two = audited(folder).to_json(), audited(folder).to_json()
    assert one == two


@pytest.mark.parametrize("split", [True, False])
def test_one_dicom_patient_under_no_name_may_not_cross_a_split(tmp_path: Path, split: bool) -> None:
    scenes = [np.asarray(scene) for scene in make_scenes(12, 64)]
    for number, scene in enumerate(scenes):
        side = ("train/" if number % 2 else "test/") if split else ""
        person = f"person-{number // 4}"  # two images of each on either side
        write_dicom(
            tmp_path / f"{side}{'ab'[number // 2 % 2]}/{number}.dcm", scene, PatientID=person
        )
    audit = audited(tmp_path, regex=None)
    kind = "patients cross split" if split else "patients not named"
    [of_persons] = [finding for finding in audit.findings if finding.kind == kind]
    assert [len(group) for group in of_persons.groups] == [4, 4, 4]
    assert of_persons.leaks == audit.leaks == split  # splits made here know whom headers name
    assert audit.summary()["patients"] == 3
    if not split:
        assert "no copies and no patient would stand on two sides of a split" in format_audit(audit)
    [told] = [finding for finding in audit.findings if finding.kind == "no patients"]
    assert "but for those of one person by DICOM headers" in told.text
    assert "person" not in json.dumps(audit.to_json()).replace("one person", "")


def test_one_identifier_for_all_is_no_patient(tmp_path: Path) -> None:
    for number, scene in enumerate(make_scenes(6, 64)):
        path = tmp_path / f"{'ab'[number % 2]}/{number}.dcm"
        write_dicom(path, np.asarray(scene), PatientID="ANONYMOUS")
    assert not audited(tmp_path, regex=None).leaks


def test_where_patients_are_not_known_the_verdict_says_so(tmp_path: Path) -> None:
    audit = audited(write_set(tmp_path), regex=None)
    assert not audit.leaks
    assert "Patients are not known." in format_audit(audit)
