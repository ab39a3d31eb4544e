"""Folds keep together what belongs together, and pre-training sees nothing that is tested."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.data import Manifest, make_phantom, read_image, read_manifest, write_phantom
from glcm_mae.data.duplicates import duplicate_groups
from glcm_mae.errors import UserError
from glcm_mae.study.folds import Fold, add_unlabelled, write_folds, write_published_folds
from glcm_mae.training.inputs import read_images
from glcm_mae.training.seen import refuse_seen, write_seen

from ..audit.sets import write_dicom
from ..training import small


def _sides(fold: Fold) -> np.ndarray:
    return np.array([record.split for record in read_manifest(fold.images).records])


def _unknown(manifest: Manifest) -> Manifest:
    """The same images without their patients."""
    records = tuple(replace(r, patient=str(r.path)) for r in manifest.records)
    return replace(manifest, records=records, has_patients=False)


def _mirrored(source: Path, target: Path) -> Path:
    Image.fromarray(np.asarray(Image.open(source))[:, ::-1]).save(target)
    return target


def test_every_image_is_tested_once_and_no_patient_crosses(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path, folds=3, seed=0)
    assert [fold.number for fold in folds] == [0, 1, 2]
    sides = np.stack([_sides(fold) for fold in folds])
    assert ((sides == "test").sum(axis=0) == 1).all()
    assert ((sides == "val").sum(axis=0) == 1).all()
    for row in sides:
        for patient in set(manifest.patients):
            assert len(set(row[manifest.patients == patient])) == 1


def test_copies_stay_together_and_count_as_one_where_no_patient_is_known(
    images: Path, tmp_path: Path
) -> None:
    manifest = _unknown(read_manifest(images))
    copy = _mirrored(manifest.records[0].path, tmp_path / "copy.png")
    record = replace(manifest.records[0], path=copy, patient=str(copy))
    manifest = replace(manifest, records=(*manifest.records, record))
    for fold in write_folds(manifest, tmp_path / "folds", folds=3, seed=0):
        written = read_manifest(fold.images)
        assert written.records[0].split == written.records[-1].split
        assert not written.has_patients
        assert written.patients[0] == written.patients[-1]
        assert len(set(written.patients)) == len(manifest) - 1


def test_a_given_split_is_the_only_fold_and_must_not_leak(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    [first, *_] = write_folds(manifest, tmp_path / "a", folds=3, seed=0)
    given = read_manifest(first.images)
    [fold] = write_folds(given, tmp_path / "b", folds=3, seed=7)
    assert (_sides(fold) == _sides(first)).all()

    train, test = (next(r for r in given.records if r.split == s) for s in ("train", "test"))
    copy = _mirrored(train.path, tmp_path / "copy.png")
    planted = replace(test, path=copy, patient="another")
    leaking = replace(given, records=(*given.records, planted))
    with pytest.raises(UserError, match=r"group.s. of copies, .* on two sides"):
        write_folds(leaking, tmp_path / "c", folds=3, seed=0)


def test_images_that_have_moved_are_told(images: Path, tmp_path: Path) -> None:
    write_folds(read_manifest(images), tmp_path / "folds", folds=3, seed=0)
    moved = shutil.copytree(images.parent, tmp_path / "moved")
    there = read_manifest(moved / images.name)
    with pytest.raises(UserError, match=r"names images in .*, and they lie in .*moved.* now: move"):
        write_folds(there, tmp_path / "folds", folds=3, seed=0)


def test_folds_of_other_settings_are_not_overwritten(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path, folds=3, seed=0)
    before = [fold.images.read_bytes() for fold in folds]
    assert write_folds(manifest, tmp_path, folds=3, seed=0) == folds
    with pytest.raises(UserError, match=r"fold\d\.csv was dealt from other images or with other"):
        write_folds(manifest, tmp_path, folds=3, seed=1)
    assert [fold.images.read_bytes() for fold in folds] == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fold0.csv", "fold1.csv", "fold2.csv"]


def test_planted_test_images_are_left_out_of_pretraining(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path / "folds", folds=3, seed=0)
    own = read_manifest(write_phantom(make_phantom(2, 1, 32, seed=5), tmp_path / "own"))
    same = tmp_path / "same.png"
    same.write_bytes(manifest.records[0].path.read_bytes())
    mirrored = _mirrored(manifest.records[1].path, tmp_path / "mirrored.png")
    planted = [replace(own.records[0], path=path, patient="q") for path in (same, mirrored)]
    unlabelled = _unknown(replace(own, records=(*own.records, *planted)))
    assert manifest.patients[0] == manifest.patients[1]

    found = add_unlabelled(folds, unlabelled, tmp_path / "folds")
    for fold in found:
        assert fold.unlabelled is not None
        kept = {record.path.name for record in read_manifest(fold.unlabelled).records}
        tested = _sides(fold)[0] == "test"
        assert fold.left_out == 2 * tested
        assert ({"same.png", "mirrored.png"} & kept == set()) == tested
        assert len(kept) == len(unlabelled) - fold.left_out
    assert sum(fold.left_out for fold in found) == 2


def test_images_of_tested_patients_are_left_out_of_pretraining(
    images: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path / "folds", folds=3, seed=0)
    own = read_manifest(write_phantom(make_phantom(2, 1, 32, seed=5), tmp_path / "own"))
    records = (replace(own.records[0], patient=str(manifest.patients[0])), *own.records[1:])
    others = tuple(replace(r, patient=f"other {n}") for n, r in enumerate(records[1:]))
    found = add_unlabelled(folds, replace(own, records=(records[0], *others)), tmp_path / "folds")
    for fold in found:
        assert fold.left_out == int(_sides(fold)[0] == "test")


def test_other_frames_of_a_tested_file_are_left_out_of_pretraining(
    images: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)) for _ in range(3)]
    stack = tmp_path / "cine.tif"
    frames[0].save(stack, save_all=True, append_images=frames[1:])
    manifest = _unknown(read_manifest(images))
    record = replace(manifest.records[0], path=stack, patient=str(stack), frame=0)
    labelled = replace(manifest, records=(*manifest.records, record))
    folds = write_folds(labelled, tmp_path / "folds", folds=3, seed=0)
    own = read_manifest(write_phantom(make_phantom(2, 1, 32, seed=5), tmp_path / "own"))
    others = [replace(record, frame=frame) for frame in range(3)]
    unlabelled = _unknown(replace(own, records=(*own.records, *others)))
    for fold in add_unlabelled(folds, unlabelled, tmp_path / "folds"):
        assert fold.left_out == 3 * (_sides(fold)[-1] == "test")


def test_all_folds_share_images_that_none_of_them_tests(images: Path, tmp_path: Path) -> None:
    folds = write_folds(read_manifest(images), tmp_path / "folds", folds=3, seed=0)
    own = _unknown(read_manifest(write_phantom(make_phantom(2, 1, 32, seed=5), tmp_path / "own")))
    found = add_unlabelled(folds, own, tmp_path / "folds")
    assert {fold.unlabelled for fold in found} == {tmp_path / "folds" / "unlabelled.csv"}
    assert {fold.left_out for fold in found} == {0}


def test_a_fold_that_tests_all_unlabelled_images_is_named(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path / "folds", folds=3, seed=0)
    tested = np.flatnonzero(_sides(folds[1]) == "test")
    with pytest.raises(UserError, match=re.escape("pretrain_on leaves nothing for fold 1")):
        add_unlabelled(folds, manifest.subset(tested), tmp_path / "folds")


def test_published_folds_leak_as_the_release_does(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    folds = write_published_folds(manifest, tmp_path, folds=3, seed=0)
    assert {fold.unlabelled for fold in folds} == {tmp_path / "all.csv"}
    everything = read_manifest(tmp_path / "all.csv")
    assert len(everything) == len(manifest)
    assert not any(record.split for record in everything.records)
    crossing = [
        patient
        for patient in set(manifest.patients)
        if len(set(_sides(folds[0])[manifest.patients == patient])) > 1
    ]
    assert crossing


def test_a_tested_patient_that_a_copy_gives_away_is_left_out_whole(
    images: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(images)
    folds = write_folds(manifest, tmp_path / "folds", folds=3, seed=0)
    own = read_manifest(write_phantom(make_phantom(2, 1, 32, seed=5), tmp_path / "own"))
    same = tmp_path / "same.png"
    same.write_bytes(manifest.records[0].path.read_bytes())
    first, second, *others = own.records
    records = (
        replace(first, path=same, patient="number in an archive"),  # and the study has another
        replace(second, patient="number in an archive"),
        *(replace(record, patient=f"other {n}") for n, record in enumerate(others)),
    )
    for fold in add_unlabelled(folds, replace(own, records=records), tmp_path / "folds"):
        assert fold.left_out == 2 * (_sides(fold)[0] == "test")


def test_copies_of_coronal_slices_are_found(tmp_path: Path) -> None:
    import nibabel

    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 255, (40, 6, 40), dtype=np.uint8)  # six coronal slices
    nibabel.save(nibabel.Nifti1Image(scenes, np.eye(4)), tmp_path / "volume.nii")
    pixels = read_image(tmp_path / "volume.nii", 3, "coronal")[0]
    Image.fromarray(pixels[0]).save(tmp_path / "export.png")
    manifest = read_manifest(tmp_path, plane="coronal")
    assert [record.name.rsplit("/")[-1] for record in manifest.records][:2] == [
        "export.png",
        "volume.nii#0",
    ]
    groups = duplicate_groups(manifest)
    assert np.flatnonzero(groups == groups[0]).tolist() == [0, 4]


def test_folds_of_slices_in_another_plane_are_read_as_they_were_dealt(tmp_path: Path) -> None:
    import nibabel

    rng = np.random.default_rng(0)
    for n in range(6):
        place = tmp_path / "set" / "ab"[n % 2] / f"{n}.nii"
        place.parent.mkdir(parents=True, exist_ok=True)
        scenes = rng.integers(0, 255, (12, 3, 12), dtype=np.uint8)
        nibabel.save(nibabel.Nifti1Image(scenes, np.eye(4)), place)
    manifest = read_manifest(tmp_path / "set", plane="coronal")
    folds = write_folds(manifest, tmp_path / "folds", folds=3, seed=0)
    other = tmp_path / "other.nii"
    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 255, (12, 2, 12), np.uint8), np.eye(4)), other)
    record = replace(manifest.records[0], path=other, label=None, patient=str(other), frame=0)
    unlabelled = replace(manifest, records=(record,))
    assert len(add_unlabelled(folds, unlabelled, tmp_path / "folds")) == 3
    # A study of before has no column plane.
    for fold in folds:
        lines = fold.images.read_text().splitlines()
        fold.images.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    before = folds[0].images.read_text()
    assert write_folds(manifest, tmp_path / "folds", folds=3, seed=0) == folds
    assert folds[0].images.read_text() == before


def test_groups_of_two_studies_are_not_taken_for_the_same_people(
    images: Path, tmp_path: Path
) -> None:
    other = write_phantom(make_phantom(6, 1, 32, seed=5), tmp_path / "other")
    first, second = (
        write_folds(_unknown(read_manifest(source)), tmp_path / name, folds=3, seed=0)[0]
        for name, source in (("first", images), ("second", other))
    )
    seen = read_images(small.data(first.images, image_size=32))
    write_seen(tmp_path / "run", seen, np.arange(len(seen)), None)
    tested = read_images(small.data(second.images, image_size=32))
    assert refuse_seen(str(tmp_path / "run"), tested, range(len(tested)), allow=False) == 0
    assert set(seen.manifest.patients) & set(tested.manifest.patients)  # are named alike


def test_groups_of_published_folds_are_no_patients(images: Path, tmp_path: Path) -> None:
    manifest = read_manifest(images)
    [fold, *_] = write_published_folds(manifest, tmp_path, folds=3, seed=0)
    for table in (fold.images, tmp_path / "all.csv"):
        written = read_manifest(table)
        assert not written.has_patients
        assert len(set(written.patients)) == len(manifest)


def test_folds_that_called_groups_patients_are_taken_up(images: Path, tmp_path: Path) -> None:
    manifest = _unknown(read_manifest(images))
    folds = write_folds(manifest, tmp_path, folds=3, seed=0)
    now = [fold.images.read_bytes() for fold in folds]
    for fold in folds:  # as earlier versions have written them
        fold.images.write_bytes(fold.images.read_bytes().replace(b",copy_group,", b",patient,", 1))
    with pytest.raises(UserError, match="was dealt from other images or with other settings"):
        write_folds(manifest, tmp_path, folds=3, seed=1)
    assert read_manifest(folds[0].images).has_patients
    assert write_folds(manifest, tmp_path, folds=3, seed=0) == folds
    assert [fold.images.read_bytes() for fold in folds] == now


def _scans(folder: Path, persons: list[str], seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for number, person in enumerate(persons):
        pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
        write_dicom(folder / "ab"[number % 2] / f"{number}.dcm", pixels, PatientID=person)
    return folder


@pytest.mark.parametrize("strangers", [0, 3], ids=["all are one person's", "some are others'"])
def test_other_images_of_tested_persons_are_left_out_of_pretraining(
    tmp_path: Path, strangers: int
) -> None:
    persons = [f"Jane Doe {n % 12}" for n in range(24)]
    labelled = read_manifest(_scans(tmp_path / "labelled", persons, seed=0))
    folds = write_folds(labelled, tmp_path / "folds", folds=3, seed=0)
    others = [f"stranger {n}" for n in range(strangers)]
    own = _scans(tmp_path / "own", ["Jane Doe 0", "Jane Doe 0", *others], seed=1)
    unlabelled = read_manifest(own)
    tested = [record.path.stem for record in labelled.records].index("0")
    left_out = []
    for fold in folds:
        try:
            [found] = add_unlabelled([fold], unlabelled, tmp_path / f"to {fold.number}")
        except UserError:
            left_out.append(len(unlabelled))  # nothing is left
        else:
            left_out.append(found.left_out)
    assert left_out == [2 * int(_sides(fold)[tested] == "test") for fold in folds]
    assert sum(left_out) == 2
    for table in tmp_path.glob("*/*.csv"):
        assert "Jane" not in table.read_text()


def test_persons_named_in_one_set_and_by_headers_in_the_other_are_left_out(tmp_path: Path) -> None:
    labelled = read_manifest(_scans(tmp_path / "labelled", [f"P{n}" for n in range(12)], seed=0))
    named = [replace(r, patient=f"P{r.path.stem}") for r in labelled.records]
    labelled = replace(labelled, records=tuple(named), has_patients=True, has_persons=False)
    folds = write_folds(labelled, tmp_path / "folds", folds=3, seed=0)
    unlabelled = read_manifest(_scans(tmp_path / "own", ["P0", "Q"], seed=1))
    for fold, found in zip(folds, add_unlabelled(folds, unlabelled, tmp_path / "f"), strict=True):
        assert found.left_out == int(_sides(fold)[0] == "test")


def test_the_same_group_in_both_sets_is_nobody(images: Path, tmp_path: Path) -> None:
    folds = write_folds(_unknown(read_manifest(images)), tmp_path / "a", folds=3, seed=0)
    other = write_phantom(make_phantom(6, 1, 32, seed=5), tmp_path / "other")
    [there, *_] = write_folds(_unknown(read_manifest(other)), tmp_path / "b", folds=3, seed=0)
    found = add_unlabelled(folds, read_manifest(there.images), tmp_path / "a")
    assert [fold.left_out for fold in found] == [0, 0, 0]
