"""Stages in a row read the same images once, and each finds them as they are in their files."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from glcm_mae.settings import BaselineSettings
from glcm_mae.training.baseline import baseline
from glcm_mae.training.finetune import finetune
from glcm_mae.training.inputs import manifest_of, read_images
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.probe import probe
from glcm_mae.training.read_once import reading_once

from . import small


def test_the_last_reading_alone_is_kept(manifest: Path, read: list[int]) -> None:
    data = small.data(manifest)
    with reading_once():
        first = read_images(data, quiet=True)
        again = read_images(replace(data, fold=1, split_seed=7), quiet=True)
        assert again.pixels is first.pixels
        read_images(replace(data, color="rgb"), quiet=True)
        read_images(data, manifest_of(data).subset(range(9)), quiet=True)
        assert torch.equal(read_images(data, quiet=True).pixels, first.pixels)
    read_images(data, quiet=True)
    assert read == [36, 36, 9, 36, 36]


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, read: list[int]) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a/0.png"
    with reading_once():
        for value in (0, 255):
            Image.new("L", (16, 16), value).save(file)
            os.utime(file, ns=(value, value))
            assert read_images(small.data(tmp_path), quiet=True).pixels.max() == value / 255
    assert read == [1, 1]


def test_what_a_stage_computes_is_the_same_and_leaves_them_as_they_are(
    manifest: Path, tmp_path: Path, read: list[int]
) -> None:
    data = small.data(manifest, fold=0)

    def run(out: Path) -> None:
        pretrain(small.pretraining(replace(data, fold=None), out / "pretrain"))
        finetune(small.finetuning(data, out / "finetune"))
        probe(small.probing(data, out / "probe/all", beside_glcms=True))
        for kind in ("glcm_local", "pixels", "histogram"):
            baseline(BaselineSettings(data, str(out / kind / "all"), kind))

    with reading_once():
        run(tmp_path / "kept")
        assert read == [36]
        kept = read_images(data, quiet=True).pixels
    assert torch.equal(kept, read_images(data, quiet=True).pixels)
    run(tmp_path / "alone")
    tables = sorted(path.relative_to(tmp_path / "kept") for path in tmp_path.glob("kept/**/*.csv"))
    assert len(tables) > 10
    for table in tables:
        assert (tmp_path / "kept" / table).read_bytes() == (tmp_path / "alone" / table).read_bytes()
