"""Public sets are listed as their authors distribute them."""

from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data.layouts import LAYOUTS, read_layout
from glcm_mae.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def rows(folder: Path, layout: str) -> list[tuple[str, str | None, str | None]]:
    manifest = read_layout(folder, layout)
    return [(record.path.name, record.label, record.split) for record in manifest.records]


@pytest.mark.parametrize("inner", ["", "Dataset_BUSI_with_GT/"])
def test_busi_without_its_masks(tmp_path: Path, inner: str) -> None:
    for name in ("benign", "malignant", "normal"):
        touch(
            tmp_path,
            f"{inner}{name}/{name} (1).png",
            f"{inner}{name}/{name} (1)_mask.png",
            f"{inner}{name}/{name} (1)_mask_1.png",
            f"{inner}{name}/Thumbs.db",
        )
    assert rows(tmp_path, "busi") == [
        (f"{name} (1).png", name, None) for name in ("benign", "malignant", "normal")
    ]
    assert not read_layout(tmp_path, "busi").has_patients


def test_chest_xray_with_its_split_and_patients(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "chest_xray/train/NORMAL/IM-0115-0001.jpeg",
        "chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg",
        "chest_xray/test/NORMAL/NORMAL2-IM-0030-0001.jpeg",
        "chest_xray/test/PNEUMONIA/person100_bacteria_475.jpeg",
        "chest_xray/test/PNEUMONIA/.DS_Store",
    )
    manifest = read_layout(tmp_path, "chest_xray")
    assert manifest.has_patients
    assert [(r.patient, r.label, r.split) for r in manifest.records] == [
        ("IM-0115", "NORMAL", "train"),
        ("person1", "PNEUMONIA", "train"),
        ("NORMAL2-IM-0030", "NORMAL", "test"),
        ("person100", "PNEUMONIA", "test"),
    ]


def test_chest_xray_without_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/IM-0115-0001.png", "PNEUMONIA/person1_virus_1.png")
    assert [split for *_, split in rows(tmp_path, "chest_xray")] == [None, None]
    touch(tmp_path, "NORMAL/other.png")
    with pytest.raises(UserError, match=r"other.png does not name its patient .* --pattern"):
        read_layout(tmp_path, "chest_xray")


def test_covid_ct_takes_the_lists(tmp_path: Path) -> None:
    for name in ("COVID", "NonCOVID"):
        for side in ("train", "val", "test"):
            touch(tmp_path, f"Images-processed/CT_{name}/{side} 1%0.png")
            write(tmp_path / f"Data-split/{name}/{side}CT_{name}.txt", f"{side} 1%0.png", "")
    touch(tmp_path, "Images-processed/CT_COVID/in no list.png")
    assert rows(tmp_path, "covid_ct") == [
        (f"{side} 1%0.png", name, side)
        for name in ("COVID", "NonCOVID")
        for side in ("train", "val", "test")
    ]
    (tmp_path / "Data-split/COVID/valCT_COVID.txt").unlink()
    with pytest.raises(UserError, match=r"valCT_COVID.txt is missing: .* docs/datasets.md"):
        read_layout(tmp_path, "covid_ct")


def test_gbcu_takes_the_lists(tmp_path: Path) -> None:
    touch(tmp_path, "imgs/im00001.jpg", "imgs/im00002.jpg", "imgs/im00003.jpg")
    write(tmp_path / "train.txt", "im00001.jpg,0", "im00002.jpg, 2")
    write(tmp_path / "test.txt", "im00003.jpg,1")
    assert rows(tmp_path, "gbcu") == [
        ("im00001.jpg", "normal", "train"),
        ("im00002.jpg", "malignant", "train"),
        ("im00003.jpg", "benign", "test"),
    ]
    write(tmp_path / "test.txt", "im00003.jpg,3")
    with pytest.raises(UserError, match=r"test.txt has the line 'im00003.jpg,3': expected"):
        read_layout(tmp_path, "gbcu")
    write(tmp_path / "test.txt", "im00004.jpg,1", "im00005.jpg,1")
    with pytest.raises(UserError, match=r"im00004.jpg is named .* missing, as are 1 more"):
        read_layout(tmp_path, "gbcu")


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "imgs/im00001.jpg")
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_bytes("Gallenblase-größe.jpg,0".encode("latin-1"))
    with pytest.raises(UserError, match=r"\.txt is no text in UTF-8: save it as such"):
        read_layout(tmp_path, "gbcu")


def test_medmnist_is_one_file(tmp_path: Path) -> None:
    arrays = {}
    for side, count in (("train", 3), ("val", 1), ("test", 2)):
        arrays[f"{side}_images"] = np.zeros((count, 28, 28), np.uint8)
        arrays[f"{side}_labels"] = np.arange(count).reshape(-1, 1) % 2
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    manifest = read_layout(tmp_path / "breastmnist.npz", "medmnist")
    assert [(r.label, r.split) for r in manifest.records] == [
        ("0", "train"),
        ("1", "train"),
        ("0", "train"),
        ("0", "val"),
        ("0", "test"),
        ("1", "test"),
    ]
    with pytest.raises(UserError, match=r"no .npz file: give the file of one MedMNIST set"):
        read_layout(tmp_path, "medmnist")


@pytest.mark.parametrize("layout", ["busi", "chest_xray", "covid_ct"])
def test_an_incomplete_set_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(UserError, match=r"is missing: unpack the whole set"):
        read_layout(tmp_path, layout)
    with pytest.raises(UserError, match="does not exist"):
        read_layout(tmp_path / "nowhere", layout)


def test_an_empty_class_and_an_unknown_layout(tmp_path: Path) -> None:
    for name in ("benign", "malignant", "normal"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="benign holds no images"):
        read_layout(tmp_path, "busi")
    with pytest.raises(UserError, match=f"one of {', '.join(LAYOUTS)}"):
        read_layout(tmp_path, "imagenet")
