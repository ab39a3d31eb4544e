"""Folders and CSV files are listed in a fixed order, and mistakes in them are named."""

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.data import Manifest, Record, holdout, patients_on_two_sides, read_manifest
from glcm_mae.data.listing import build_manifest
from glcm_mae.errors import UserError

from .readers.samples import dicom, medmnist, metaimage, nifti, npz, nrrd

CHEST_REGEX = r"^(person\d+|(?:NORMAL\d+-)?IM-\d+)"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_csv(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding=encoding)
    return path


def names_of(manifest: Manifest, folder: Path) -> list[str]:
    return [record.path.relative_to(folder).as_posix() for record in manifest.records]


def test_a_tree_of_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "normal/b.PNG", "normal/p1/a.tif", "benign/z.jpeg", "benign/notes.txt")
    touch(tmp_path, "benign/._z.jpeg", ".cache/x.png", "README.md")
    manifest = read_manifest(tmp_path)
    assert names_of(manifest, tmp_path) == ["benign/z.jpeg", "normal/b.PNG", "normal/p1/a.tif"]
    assert manifest.classes == ("benign", "normal")
    assert manifest.labels.tolist() == [0, 1, 1]
    assert manifest.labels.dtype == np.int64
    assert not manifest.has_patients
    assert manifest.patients.tolist() == [str(record.path) for record in manifest.records]


def test_a_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.png")
    manifest = read_manifest(str(tmp_path))
    assert names_of(manifest, tmp_path) == ["a.png", "b.png"]
    assert manifest.classes == ()
    assert manifest.labels.tolist() == [-1, -1]


def test_a_tree_of_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "test/NORMAL/c.png")
    manifest = read_manifest(tmp_path)
    assert manifest.classes == ("NORMAL", "PNEUMONIA")
    assert [(r.path.name, r.label, r.split) for r in manifest.records] == [
        ("c.png", "NORMAL", "test"),
        ("a.png", "NORMAL", "train"),
        ("b.png", "PNEUMONIA", "train"),
    ]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Train", "Val", "Test"), ("training", "valid", "testing"), ("TRAIN", "dev", "test")],
)
def test_sides_have_other_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    touch(tmp_path, f"{train}/ill/a.png", f"{train}/well/b.png", f"{val}/ill/c.png",
          f"{test}/well/d.png")  # fmt: skip
    manifest = read_manifest(tmp_path)
    assert manifest.classes == ("ill", "well")
    sides = {record.path.name: record.split for record in manifest.records}
    assert sides == {"a.png": "train", "b.png": "train", "c.png": "val", "d.png": "test"}


def test_sides_beside_another_folder_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/ill/a.png", "Test/well/b.png", "extra/c.png")
    with pytest.raises(UserError, match=r"sides of a split \(Test, train\) beside .* extra"):
        read_manifest(tmp_path)


def test_a_side_with_classes_in_it_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/ill/a.png", "train/well/b.png", "holdout/well/c.png")
    with pytest.raises(UserError, match=r"sides of a split \(train\) beside .* holdout"):
        read_manifest(tmp_path)


def test_a_class_may_be_named_as_a_side(tmp_path: Path) -> None:
    touch(tmp_path, "control/a.png", "test/b.png")
    assert read_manifest(tmp_path).classes == ("control", "test")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "data/benign/a.png", "data/normal/n.png", "elsewhere/b.png")
    for link, target in (
        ("self", "self"),
        ("up", ".."),
        ("here", "."),
        ("more", "../../elsewhere"),
    ):
        (tmp_path / "data/benign" / link).symlink_to(target)
    manifest = read_manifest(tmp_path / "data")
    assert [record.path.name for record in manifest.records] == ["a.png", "b.png", "n.png"]


def test_links_that_lead_nowhere_are_images_that_are_missing(tmp_path: Path) -> None:
    touch(tmp_path, "benign/a.png", "normal/n.png")
    (tmp_path / "benign/b.png").symlink_to("moved/b.png")
    manifest = read_manifest(tmp_path)
    assert [record.path.name for record in manifest.records] == ["a.png", "b.png", "n.png"]


def test_one_expression_finds_the_patients_of_the_chest_set(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "PNEUMONIA/person1018_virus_1706.png",
        "NORMAL/IM-0117-0001.png",
        "NORMAL/IM-0117-0001-0002.png",
        "NORMAL/NORMAL2-IM-0117-0001.png",
    )
    manifest = read_manifest(tmp_path, patient_regex=CHEST_REGEX)
    assert manifest.has_patients
    assert sorted(set(manifest.patients.tolist())) == ["IM-0117", "NORMAL2-IM-0117", "person1018"]
    assert CHEST_REGEX in str(read_manifest.__doc__)
    whole = read_manifest(tmp_path, patient_regex=r"\d{4}")
    assert set(whole.patients.tolist()) == {"1018", "0117"}


def test_a_csv_keeps_its_order(tmp_path: Path) -> None:
    touch(tmp_path, "images/b.png", "images/a,1.png")
    source = write_csv(
        tmp_path,
        'label,path,patient,split\nill, images/b.png ,p2,test\n,"images/a,1.png",p1,train\n\n',
        encoding="utf-8-sig",
    )
    manifest = read_manifest(source)
    assert manifest.records == (
        Record(tmp_path / "images/b.png", "ill", "p2", "test"),
        Record(tmp_path / "images/a,1.png", None, "p1", "train"),
    )
    assert manifest.labels.tolist() == [0, -1]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_csv_is_read_as_spreadsheets_of_any_country_write_it(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, "a;b.png", "c.png")
    rows = [["path", "label"], ['"a;b.png"', "x"], ["c.png", "y"]]
    text = "\r\n".join(mark.join(row) for row in rows)
    text = f"{mark}\r\n{text}"  # an empty row above the header
    (tmp_path / "m.csv").write_text(text, encoding="utf-8-sig", newline="")
    found = [
        (record.path.name, record.label) for record in read_manifest(tmp_path / "m.csv").records
    ]
    assert found == [("a;b.png", "x"), ("c.png", "y")]


def test_a_csv_needs_only_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    manifest = read_manifest(write_csv(tmp_path, "path\na.png\n"))
    assert manifest.records == (Record(tmp_path / "a.png", None, str(tmp_path / "a.png"), None),)
    assert not manifest.has_patients


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b, c", 'd"e', "ü"]), st.sampled_from([None, "x", "y z"])),
        min_size=1,
        max_size=6,
    ),
    has_patients=st.booleans(),
    split=st.sampled_from([None, "test"]),
)
def test_what_is_written_is_read_back(
    rows: list[tuple[str, str | None]], has_patients: bool, split: str | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{stem}{number}.png" for number, (stem, _) in enumerate(rows)]
        records = [
            Record(path, label, stem if has_patients else str(path), split)
            for path, (stem, label) in zip(paths, rows, strict=True)
        ]
        touch(folder, *(path.name for path in paths))
        classes = tuple(sorted({label for _, label in rows if label}))
        manifest = Manifest(tuple(records), classes, has_patients)
        manifest.write(folder / "manifest.csv")
        assert read_manifest(folder / "manifest.csv") == manifest
        assert sorted(folder.iterdir()) == sorted([*paths, folder / "manifest.csv"])
        # From another folder the paths are absolute.
        (folder / "run").mkdir()
        manifest.write(folder / "run/manifest.csv")
        assert read_manifest(folder / "run/manifest.csv") == manifest


def test_a_relative_source_can_be_written_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "images/a.png")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    read_manifest("images").write("run/manifest.csv")
    monkeypatch.chdir(tmp_path / "run")
    assert read_manifest("manifest.csv").records[0].path.samefile(tmp_path / "images/a.png")


def test_a_few_images_are_spread_over_the_set(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n}.png" for n in range(9)))
    manifest = read_manifest(tmp_path)
    assert names_of(manifest.spread(3), tmp_path) == ["0.png", "4.png", "8.png"]
    assert names_of(manifest.spread(1), tmp_path) == ["0.png"]
    assert manifest.spread(100) == manifest


def test_a_subset_keeps_the_class_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    part = read_manifest(tmp_path).subset(np.array([2, 1]))
    assert part.labels.tolist() == [2, 1]
    assert len(part) == 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "holds no images: looked for .png, .jpg"),
        (["notes.txt"], "holds no images"),
        (["a/1.png", "b/notes.txt"], "b is a class folder without images: looked for .png"),
        (["a/1.png", "2.png"], "images beside folders .*2.png"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, files: list[str], words: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column path"),
        ("file,label\na.png,x\n", "no column path"),
        ("path|label\na.png|x\n", r"no column path, but path\|label: "),
        ("path\n", "lists no images"),
        ("path,patient_id\na.png,1\n", r"unknown columns \(patient_id\).*--columns"),
        ("path,path\na.png,a.png\n", r"repeated columns \(path\)"),
        ("path,label\na.png,x\nb.png\n", "1 cells instead of 2 in row 2"),
        ("path,label\n,x\n", "empty cell in column path, row 1"),
        ("path,patient\na.png,p\nb.png,\n", "empty cell in column patient, row 2"),
        ("path,split\na.png,\nb.png,test\n", "empty cell in column split, row 1"),
        ("path,split\na.png,training\n", r"unknown split names \(training\): use train, val, test"),
        ("path\na.png\nx.png\ny.png\nz.png\nw.png\n", r"4 of 5 files .* missing .*z.png, \.\.\."),
        ("path\na.png\nb.png\n../{folder}/a.png\n", "1 image.* more than once .*a.png"),
        (
            "path,patient,split\na.png,p7,train\nb.png,p7,test\n",
            r"1 patient.* two sides of its split: ",
        ),
    ],
)
def test_csv_mistakes(tmp_path: Path, text: str, words: str) -> None:
    touch(tmp_path, "a.png", "b.png")
    source = write_csv(tmp_path, text.replace("{folder}", tmp_path.name))
    with pytest.raises(UserError, match=words) as caught:
        read_manifest(source)
    assert str(source) in str(caught.value)


def test_a_csv_in_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        read_manifest(write_csv(tmp_path, "path\nü.png\n", encoding="latin-1"))


def test_sources_that_are_none(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(UserError, match="nowhere does not exist"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no folder and no \.csv"):
        read_manifest(tmp_path / "a.png")


def test_mistakes_with_patients(tmp_path: Path) -> None:
    touch(tmp_path, "p1_a.png", "x.png")
    with pytest.raises(UserError, match=r"x\.png has no patient in its name"):
        read_manifest(tmp_path, patient_regex=r"p\d+")
    touch(tmp_path, "deep/p1/image.png")
    with pytest.raises(UserError, match=r"not searched in folders' names.*columns path,patient"):
        read_manifest(tmp_path / "deep", patient_regex=r"p\d+")
    with pytest.raises(UserError, match="no regular expression"):
        read_manifest(tmp_path / "deep", patient_regex="(")
    with pytest.raises(UserError, match="patient column and patient_regex"):
        read_manifest(write_csv(tmp_path, "path,patient\nx.png,p\n"), patient_regex="x")
    touch(tmp_path, *(f"tree/{s}/c/p{n}_{s}.png" for s in ("train", "test") for n in range(5)))
    with pytest.raises(UserError, match=r"5 patient.* two sides of its split: "):
        read_manifest(tmp_path / "tree", patient_regex=r"p\d+")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("xy")), max_size=8))
def test_patients_on_two_sides(pairs: list[tuple[str, str]]) -> None:
    found = patients_on_two_sides([p for p, _ in pairs], [s for _, s in pairs])
    assert found == [p for p in "pqr" if {(p, "x"), (p, "y")} <= set(pairs)]


def test_files_of_several_images_stand_for_all(tmp_path: Path) -> None:
    pages = np.zeros((3, 4, 4), np.uint8)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, pages, photometric="minisblack")
    touch(tmp_path, "c.png")
    (tmp_path / "d.png").write_bytes(b"no image: whoever reads it says so")
    manifest = read_manifest(tmp_path)
    assert [r.name.removeprefix(f"{tmp_path}/") for r in manifest.records] == [
        *("a.tif#0", "a.tif#1", "a.tif#2", "b.tif#0", "b.tif#1", "b.tif#2", "c.png", "d.png")
    ]
    # The images of one file are one patient, also where no patient is known.
    assert len(set(manifest.patients.tolist())) == 4
    split = holdout(manifest, folds=4, fold=0, seed=0)
    for side in (split.train, split.val, split.test):
        files = [manifest.records[i].path.name for i in side]
        assert files.count("a.tif") in (0, 3)
        assert files.count("b.tif") in (0, 3)


def test_a_csv_can_name_masks(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    touch(tmp_path, "b.png")
    manifest = read_manifest(write_csv(tmp_path, "path,mask\na.png,masks/1.png\nb.png,\n"))
    assert [record.mask for record in manifest.records] == [tmp_path / "masks/1.png", None]
    manifest.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().startswith("path,label,patient,split,mask\na.png,,")
    assert read_manifest(tmp_path / "again.csv") == manifest


def test_a_csv_can_name_frames(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 4, 4), np.uint8), photometric="minisblack")
    touch(tmp_path, "b.png")
    source = write_csv(tmp_path, "path,frame,label\na.tif,2,x\na.tif,0,y\nb.png,,x\n")
    manifest = read_manifest(source)
    assert [(r.path.name, r.frame, r.label) for r in manifest.records] == [
        ("a.tif", 2, "x"), ("a.tif", 0, "y"), ("b.png", None, "x"),
    ]  # fmt: skip
    manifest.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().startswith("path,frame,label,patient,split\n")
    assert read_manifest(tmp_path / "again.csv") == manifest
    for rows, words in (
        ("a.tif,2\na.tif,2\n", r"1 image\(s\) more than once \(.*a\.tif#2\)"),
        ("a.tif,\na.tif,1\n", "1 image.* more than once"),
        ("a.tif,one\n", r"frames that are none \(one\)"),
        ("a.tif,-1\n", "frames that are none"),
    ):
        with pytest.raises(UserError, match=words):
            read_manifest(write_csv(tmp_path, "path,frame\n" + rows))


VOLUME = np.zeros((4, 5, 6), np.int16)
VOLUMES = {
    "a.nii.gz": gzip.compress(nifti(VOLUME)),
    "a.nrrd": nrrd(VOLUME),
    "a.mha": metaimage(VOLUME),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_are_cut_as_asked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(VOLUMES[name])
    lengths = {"sagittal": 4, "coronal": 5, "axial": 6}
    for plane, length in lengths.items():
        assert len(read_manifest(tmp_path, plane=plane)) == length  # type: ignore[arg-type]


def test_dicom_files_need_no_ending(tmp_path: Path) -> None:
    for name in ("IM000001", "1.2.840.113619.2", "DICOMDIR"):
        (tmp_path / name).write_bytes(dicom(np.zeros((4, 4), np.uint8)))
    touch(tmp_path, "notes")
    assert names_of(read_manifest(tmp_path), tmp_path) == ["1.2.840.113619.2", "IM000001"]


@pytest.mark.parametrize("name", ["a\nb.png", "a, b.png", "胸部.png", 'x"y.png'])
def test_odd_names_are_written_and_read_back(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"normal/{name}", f"odd, {name[0]}/b.png")
    manifest = read_manifest(tmp_path)
    manifest.write(tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv") == manifest


def test_names_that_are_no_text_are_refused_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a\udcff\nb.png")
    with pytest.raises(UserError, match=r"a\\udcff\\nb\.png has a name that is no text") as caught:
        read_manifest(tmp_path)
    assert str(caught.value).isprintable()
    touch(tmp_path, "x\ny/c.png")
    with pytest.raises(UserError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).isprintable()


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "normal/a.png", "ill/b.png")
    listed = Path.iterdir

    def denied(folder: Path) -> object:
        if folder.name == "ill":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", denied)  # as root all is permitted
    with pytest.raises(UserError, match=r"ill cannot be listed \(Permission denied\): grant"):
        read_manifest(tmp_path)


def test_pipes_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    touch(tmp_path, "a.png")
    assert names_of(read_manifest(tmp_path), tmp_path) == ["a.png"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path, "old")
    manifest = Manifest((Record(tmp_path / "a.png", None, "p", None),), (), has_patients=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        manifest.write(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", VOLUMES)
def test_the_plane_of_slices_is_kept_and_must_be_the_one_asked_for(name, tmp_path) -> None:
    (tmp_path / name).write_bytes(VOLUMES[name])
    listed = read_manifest(tmp_path, plane="coronal")
    path = tmp_path / "out.csv"
    listed.write(path)
    assert path.read_text().splitlines()[0] == "path,frame,label,patient,split,plane"
    assert read_manifest(path, plane="coronal") == listed
    with pytest.raises(
        UserError, match=r"slices in the plane coronal .* set to axial: set it to c"
    ):
        read_manifest(path)


@pytest.mark.parametrize("name", VOLUMES)
def test_a_manifest_is_built_of_slices_in_any_plane(name, tmp_path) -> None:
    (tmp_path / name).write_bytes(VOLUMES[name])
    listed, _ = build_manifest(tmp_path, tmp_path / "m.csv", plane="coronal")
    assert listed == read_manifest(tmp_path, plane="coronal")
    listed.write(tmp_path / "m.csv")
    again, _ = build_manifest(tmp_path / "m.csv", tmp_path / "n.csv", plane="coronal")
    assert again == listed
    with pytest.raises(UserError, match="set it to coronal"):
        build_manifest(tmp_path / "m.csv", tmp_path / "n.csv")


def test_what_does_not_belong_to_the_source_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    (tmp_path / "m.npz").write_bytes(npz(medmnist()))
    for source in (tmp_path / "a", tmp_path / "m.npz"):
        with pytest.raises(UserError, match=f"columns are those of a CSV, and {source} is none"):
            read_manifest(source, columns={"path": "file"})
    with pytest.raises(UserError, match=r"m\.npz is one file, .* leave patient_regex out"):
        read_manifest(tmp_path / "m.npz", patient_regex=r"^p\d+")
    assert read_manifest(tmp_path / "m.npz", plane="coronal").plane == "coronal"
