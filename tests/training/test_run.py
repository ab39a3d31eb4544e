import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.settings import (
    HardwareSettings,
    PretrainSettings,
    ProbeSettings,
    TargetSettings,
    TextureSettings,
)
from glcm_mae.training.run import Run, _facts, settings_of

from . import small


@pytest.fixture
def settings(tmp_path: Path) -> PretrainSettings:
    return small.pretraining(small.data(Path("m.csv"), window=(0.0, 1e-5)), tmp_path / "run")


@pytest.fixture
def run(settings: PretrainSettings) -> Run:
    run = Run(settings.out, settings, resume=False)
    run.begin()
    return run


def _again(settings: PretrainSettings, **changes: object) -> Run:
    return Run(settings.out, replace(settings, resume=True, **changes), resume=True)


def test_nothing_is_written_before_it_begins(settings: PretrainSettings) -> None:
    Run(settings.out, settings, resume=False)
    assert not Path(settings.out).exists()


def test_settings_are_kept_with_the_version(run: Run, settings: PretrainSettings) -> None:
    kept = yaml.safe_load((run.folder / "settings.yaml").read_text())
    assert kept["version"] == __version__
    assert kept["optimizer"]["base_lr"] == settings.optimizer.base_lr
    assert kept["data"]["window"] == [0.0, 1e-5]


def test_an_existing_run_is_refused(run: Run, settings: PretrainSettings) -> None:
    with pytest.raises(UserError, match=r"run holds a run already: .*--resume true, or .*--out"):
        Run(settings.out, settings, resume=False)


def test_what_stands_on_an_encoder_that_was_trained_anew_is_refused(
    run: Run, settings: PretrainSettings, tmp_path: Path
) -> None:
    probing = ProbeSettings(data=settings.data, out=str(tmp_path / "probe"), encoder=settings.out)
    Run(probing.out, probing, resume=False).begin()
    Run(probing.out, probing, resume=True)
    longer = replace(settings, optimizer=replace(settings.optimizer, epochs=99))
    (run.folder / "settings.yaml").unlink()
    Run(settings.out, longer, resume=False).begin()
    with pytest.raises(UserError, match=r"probe stands on an encoder that .*run no longer holds"):
        Run(probing.out, probing, resume=True)


def test_what_stands_on_an_encoder_goes_on_where_that_has_moved(
    run: Run, settings: PretrainSettings, tmp_path: Path
) -> None:
    probing = ProbeSettings(data=settings.data, out=str(tmp_path / "probe"), encoder=settings.out)
    Run(probing.out, probing, resume=False).begin()
    moved = run.folder.rename(tmp_path / "renamed")
    Run(probing.out, replace(probing, encoder=str(moved)), resume=True)
    with pytest.raises(UserError, match=r"encoder was .*run, is None"):
        Run(probing.out, replace(probing, encoder=None), resume=True)
    renamed = replace(probing, encoder=str(moved))
    Run(probing.out, renamed, resume=True).finish({})
    assert settings_of(Path(probing.out))["encoder"] == str(moved)
    moved.rename(run.folder)
    with pytest.raises(UserError, match=r"encoder was .*renamed, is .*run"):
        Run(probing.out, probing, resume=True)


def test_what_trained_an_encoder_is_told_as_by_versions_before(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "settings.yaml").write_text("seed: 0\nhardware: {precision: fp32}\nout: a\n")
    probing = ProbeSettings(data=small.data(Path("m.csv")), out="b", encoder=str(encoder))
    told = _facts(probing)["encoder_trained_by"]
    assert told == hashlib.sha256(b'{"seed": 0}').hexdigest()[:16]


def test_the_same_settings_resume(run: Run, settings: PretrainSettings) -> None:
    before = (run.folder / "settings.yaml").read_text()
    elsewhere = HardwareSettings(accelerator="auto", strategy="ddp", precision="bf16")
    again = _again(settings, hardware=elsewhere, checkpoint_minutes=9.0)
    again.begin()
    assert (run.folder / "settings.yaml").read_text() == before


def test_images_may_be_spelled_otherwise_and_move_with_the_run(
    run: Run, settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = replace(settings.data, images="./m.csv")
    _again(settings, data=spelled)
    monkeypatch.chdir(tmp_path)
    inside = replace(settings, data=small.data(Path("study/folds/0.csv")), out="study/arms/mse")
    Run(inside.out, inside, resume=False).begin()
    (tmp_path / "study").rename(tmp_path / "moved")
    moved = replace(inside, data=small.data(tmp_path / "moved/folds/0.csv"), out="moved/arms/mse")
    _again(moved)
    Run(moved.out, moved, resume=True).finish({})
    with pytest.raises(UserError, match=r"data\.images was .*folds/0.csv, is .*1\.csv"):
        _again(moved, data=small.data(tmp_path / "moved/folds/1.csv"))


def test_images_may_lie_elsewhere_until_the_run_has_finished(
    run: Run, settings: PretrainSettings
) -> None:
    elsewhere = replace(settings.data, images="/scratch/m.csv")
    goes_on = Run(settings.out, replace(settings, data=elsewhere), resume=True)
    goes_on.begin()
    goes_on.finish({})
    assert settings_of(run.folder)["data"]["images"] == "/scratch/m.csv"
    _again(settings, data=elsewhere)
    with pytest.raises(UserError, match=r"data\.images was /scratch/m\.csv, is "):
        _again(settings)


def test_a_checkpoint_whose_settings_were_removed_is_of_no_run(
    run: Run, settings: PretrainSettings
) -> None:
    run.save({"step": 3})
    run.log({"step": 3})
    (run.folder / "settings.yaml").unlink()
    again = Run(settings.out, replace(settings, seed=5), resume=False)
    again.begin()
    assert again.load() is None
    assert not (run.folder / "log.jsonl").exists()


def test_the_code_that_began_the_run_made_it(
    settings: PretrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glcm_mae.training.run.made_by", lambda: {"code": "then"})
    run = Run(settings.out, settings, resume=False)
    monkeypatch.setattr("glcm_mae.training.run.made_by", lambda: {"code": "since"})
    run.begin()
    run.finish({})
    assert json.loads((run.folder / "finished.json").read_text())["code"] == "then"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"optimizer": small.optimizer(base_lr=0.5)}, "optimizer.base_lr was 0.01, is 0.5"),
        ({"data": small.data(Path("m.csv"))}, "data.window was [0.0, 1e-05], is None"),
        ({"hardware": HardwareSettings(devices=2)}, "hardware.devices was 1, is 2"),
    ],
)
def test_other_settings_are_refused_by_name(
    run: Run, settings: PretrainSettings, changes: dict, named: str
) -> None:
    with pytest.raises(UserError, match=re.escape(named)) as caught:
        _again(settings, **changes)
    assert "model" not in str(caught.value)


def test_a_setting_that_the_run_did_not_know_was_off(run: Run, settings: PretrainSettings) -> None:
    path = run.folder / "settings.yaml"
    text = path.read_text()
    path.write_text(re.sub("    whitened: false\n", "", text))
    assert path.read_text() != text
    _again(settings)
    whitened = replace(settings.objective, target=TargetSettings(whitened=True))
    with pytest.raises(UserError, match=r"objective\.target\.whitened was unknown, is True"):
        _again(settings, objective=whitened)
    path.write_text(text.replace("mask_ratio: 0.75\n", ""))
    with pytest.raises(UserError, match=r"mask_ratio was unknown, is 0\.75"):
        _again(settings)


@pytest.mark.parametrize(
    ("term", "without_effect"),
    [
        ("glcm", {"texture": TextureSettings(levels=8)}),
        ("glcm_prediction", {"target": TargetSettings(levels=4)}),
    ],
)
def test_settings_of_a_term_without_weight_are_free(
    settings: PretrainSettings, term: str, without_effect: dict
) -> None:
    with_term = replace(settings, objective=replace(settings.objective, **{term: 1.0}))
    without = replace(settings, objective=replace(settings.objective, **{term: 0.0}))
    for begun, name in ((with_term, "with"), (without, "without")):
        Run(f"{settings.out}-{name}", begun, resume=False).begin()
    changed = replace(without.objective, **without_effect)
    _again(replace(without, out=f"{settings.out}-without"), objective=changed)
    changed = replace(with_term.objective, **without_effect)
    with pytest.raises(UserError, match="levels was"):
        _again(replace(with_term, out=f"{settings.out}-with"), objective=changed)


def test_a_checkpoint_comes_back_as_it_was_saved(run: Run) -> None:
    assert run.load() is None
    state = {"step": 3, "model": {"w": torch.rand(2, 2)}, "means": {"mse": (0.1, 2)}}
    run.save({"step": 1})
    run.save(state)
    loaded = run.load()
    assert loaded is not None
    assert loaded["step"] == 3
    assert loaded["means"] == {"mse": (0.1, 2)}
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 torn"])
def test_a_broken_checkpoint_is_refused(run: Run, content: bytes) -> None:
    (run.folder / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read \(.+\): remove"):
        run.load()


def test_a_checkpoint_with_code_in_it_is_not_run(run: Run, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "planted"),)

    torch.save({"step": Planted()}, run.folder / "checkpoint.pt")
    with pytest.raises(UserError, match="cannot be read"):
        run.load()
    assert not (tmp_path / "planted").exists()


def test_a_full_disk_leaves_the_checkpoint_before(run: Run) -> None:
    run.save({"step": 1})
    (run.folder / f".checkpoint.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"checkpoint\.pt .*No space left.*is intact: make room"):
        run.save({"step": 2, "much": torch.rand(10_000)})
    assert run.load() == {"step": 1}
    run.save({"step": 3})  # the disk has room again
    assert run.load() == {"step": 3}


def test_a_full_disk_stops_the_log_in_one_sentence(run: Run) -> None:
    (run.folder / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"log\.jsonl cannot be written \(No space left"):
        run.log({"step": 1})


def test_beginning_again_clears_what_a_killed_process_left(
    run: Run, settings: PretrainSettings
) -> None:
    torn = run.folder / ".checkpoint.pt.123456.tmp"
    torn.write_bytes(b"half")
    _again(settings).begin()
    assert not torn.exists()


def test_the_log_is_rewound_to_the_checkpoint(run: Run) -> None:
    for step in (4, 8, 12):
        run.log({"step": step})
    with (run.folder / "log.jsonl").open("a") as file:
        file.write('{"step": 16, "ms')  # torn
    run.rewind_log(8)
    assert small.log(run.folder) == [{"step": 4}, {"step": 8}]
    run.rewind_log(0)
    assert small.log(run.folder) == []


@pytest.mark.parametrize("line", [b"x}", b'{"epoch": 1}', b'["step"]}', b"\xff}", b'{"step": {}}'])
def test_a_damaged_log_is_refused_and_kept(run: Run, line: bytes) -> None:
    run.log({"step": 4})
    log = run.folder / "log.jsonl"
    log.write_bytes(log.read_bytes() + line + b"\n")
    before = log.read_bytes()
    with pytest.raises(UserError, match=r"log\.jsonl is damaged: remove it, and go on with"):
        run.rewind_log(8)
    assert log.read_bytes() == before


def test_a_finished_run_says_so_and_drops_its_checkpoint(
    run: Run, settings: PretrainSettings
) -> None:
    run.save({"step": 1})
    assert not run.finished
    run.finish({"images": 5})
    assert _again(settings).finished
    assert small.facts(run.folder)["images"] == 5
    assert small.facts(run.folder)["glcm_mae"] == __version__
    assert not (run.folder / "checkpoint.pt").exists()


def test_another_precision_goes_on_but_is_not_what_has_finished(
    run: Run, settings: PretrainSettings
) -> None:
    other = HardwareSettings(settings.hardware.accelerator, precision="bf16")
    _again(settings, hardware=other)
    run.finish({})
    _again(settings)
    with pytest.raises(UserError, match=r"hardware\.precision was fp32, is bf16"):
        _again(settings, hardware=other)


@pytest.mark.parametrize("content", [b"", b"a: [", b"\xff\xfe\x00", b"just text"])
def test_damaged_settings_are_refused(run: Run, settings: PretrainSettings, content: bytes) -> None:
    (run.folder / "settings.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"settings\.yaml cannot be read: remove the run's folder"):
        _again(settings)
