"""Images that a folder keeps give what images in memory give, and are never all taken at once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from glcm_mae.data import pixels
from glcm_mae.data.pixels import Picked
from glcm_mae.errors import UserError
from glcm_mae.settings import BaselineSettings, DataSettings, EmbedSettings, PredictSettings
from glcm_mae.training import hand_made, inputs
from glcm_mae.training import pretrain as pretraining
from glcm_mae.training import probe as probing
from glcm_mae.training.baseline import baseline
from glcm_mae.training.embed import embed
from glcm_mae.training.finetune import finetune
from glcm_mae.training.inputs import check_readable, manifest_of, read_images
from glcm_mae.training.predict import predict
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.probe import probe

from . import small


@pytest.fixture
def cached(manifest: Path, tmp_path: Path) -> DataSettings:
    return small.data(manifest, cache=str(tmp_path / "cache"))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were taken at a time, where at most 8 should be."""
    counts: list[int] = []
    get, split = Picked.__getitem__, Picked.split

    def counted(self: Picked, index: Any) -> torch.Tensor:
        found = get(self, index)
        counts.append(len(found) if found.ndim == 4 else 1)
        return found

    def counted_parts(self: Picked, size: int) -> Iterator[torch.Tensor]:
        for part in split(self, size):
            counts.append(len(part))
            yield part

    monkeypatch.setattr(Picked, "__getitem__", counted)
    monkeypatch.setattr(Picked, "split", counted_parts)
    for module in (inputs, hand_made, probing):
        monkeypatch.setattr(module, "_BATCH", 8)
    monkeypatch.setattr(pretraining, "_SAMPLE", 8)
    monkeypatch.setattr(pixels, "_AT_ONCE", 8)
    return counts


def _all_stages(data: DataSettings, out: Path) -> None:
    encoder = str(pretrain(small.pretraining(replace(data, fold=0), out / "pretrain")))
    tuned = finetune(small.finetuning(replace(data, fold=0), out / "finetune", encoder=encoder))
    probe(small.probing(data, out / "probe", beside_glcms=True))
    for kind in ("glcm_local", "pixels", "histogram"):
        baseline(BaselineSettings(data, str(out / kind), kind))
    asked: dict[str, Any] = {"images": data.images, "cache": data.cache, "hardware": small.CPU}
    predict(PredictSettings(run=str(tuned), out=str(out / "predict"), **asked))
    embed(EmbedSettings(run=encoder, out=str(out / "embedded.csv"), **asked))


def test_every_stage_gives_the_same_and_takes_a_batch_at_a_time(
    cached: DataSettings, tmp_path: Path, read: list[int], taken: list[int]
) -> None:
    check_readable(cached, manifest_of(cached))
    _all_stages(cached, tmp_path / "cached")
    assert read == [36]
    assert max(taken) == 8
    _all_stages(replace(cached, cache=None), tmp_path / "memory")
    compared = [p for p in (tmp_path / "memory").rglob("*") if p.suffix in (".csv", ".safetensors")]
    assert len(compared) > 20
    for path in compared:
        other = tmp_path / "cached" / path.relative_to(tmp_path / "memory")
        if path.suffix == ".csv":
            assert path.read_bytes() == other.read_bytes(), path
        else:
            assert small.same(load_file(path), load_file(other)), path


def test_a_run_begun_in_memory_goes_on_with_a_cache(
    manifest: Path, cached: DataSettings, tmp_path: Path
) -> None:
    in_memory = small.pretraining(small.data(manifest), tmp_path / "run")
    reference = pretrain(replace(in_memory, out=str(tmp_path / "reference")))
    script = tmp_path / "killed.py"
    script.write_text(
        small.KILLED.format(stage="pretrain", settings="pretraining", count="step", last=7)
    )
    killed = small.python(script, manifest, in_memory.out)
    assert killed.returncode == -9, killed.stderr
    run = pretrain(replace(in_memory, data=cached, resume=True))
    assert small.same(small.weights(run), small.weights(reference))


def test_a_finished_run_is_that_of_any_cache(cached: DataSettings, tmp_path: Path) -> None:
    settings = small.probing(cached, tmp_path / "run")
    probe(settings)
    before = (tmp_path / "run/finished.json").read_bytes()
    for cache in (None, str(tmp_path / "elsewhere")):
        probe(replace(settings, data=replace(cached, cache=cache), resume=True))
    assert (tmp_path / "run/finished.json").read_bytes() == before


def test_what_a_cache_tells_of_images_is_told_each_time(
    tmp_path: Path, cached: DataSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(3):
        (tmp_path / "set/a").mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 5).save(tmp_path / f"set/a/{n}.png")
    (tmp_path / "set/a/1.png").write_bytes(b"no image")
    data = replace(cached, images=str(tmp_path / "set"), on_error="skip")
    told = []
    for _ in range(2):
        images = read_images(data)
        assert images.skipped == 1
        told.append(capsys.readouterr().err.splitlines()[-2:])
    assert told[0] == told[1]
    assert "1.png: is no" in told[0][0]
    assert "2 of 2 images have no value above 10%" in told[0][1]


@pytest.mark.parametrize("cache", ["set", "set/inside", "set/a/../b"])
def test_a_cache_among_the_images_is_refused(tmp_path: Path, cache: str) -> None:
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "set/a/0.npy").touch()
    data = small.data(tmp_path / "set", cache=str(tmp_path / cache))
    with pytest.raises(UserError, match=r"the cache .* lies in .*set, where a folder is a class"):
        read_images(data)
    assert not (tmp_path / "set/inside").exists()


def test_a_cache_without_a_name_is_refused(manifest: Path) -> None:
    """An empty variable of a script filled the folder that one was in."""
    with pytest.raises(UserError, match="the cache has no name"):
        read_images(small.data(manifest, cache=""))


def test_what_is_wrong_with_a_cache_is_no_matter_of_images(
    cached: DataSettings, tmp_path: Path
) -> None:
    encoder = str(pretrain(small.pretraining(cached, tmp_path / "run")))
    (tmp_path / "file").touch()
    asked = EmbedSettings(
        run=encoder, images=cached.images, out=str(tmp_path / "a.csv"), hardware=small.CPU
    )
    with pytest.raises(UserError, match=r"is no folder: give one\.$"):
        embed(replace(asked, cache=str(tmp_path / "file")))
