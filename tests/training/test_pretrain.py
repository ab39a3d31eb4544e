import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from glcm_mae.data import holdout, make_phantom, read_manifest, write_phantom
from glcm_mae.errors import UserError
from glcm_mae.models import Objective, TextureHead
from glcm_mae.settings import (
    AugmentSettings,
    HardwareSettings,
    ObjectiveSettings,
    PretrainSettings,
    TargetSettings,
    TextureSettings,
)
from glcm_mae.texture import PairKernelLoss
from glcm_mae.training import pretrain as module
from glcm_mae.training.inputs import read_images
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.run import Run
from glcm_mae.training.seen import refuse_seen

from . import small


@pytest.fixture
def settings(manifest: Path, tmp_path: Path) -> PretrainSettings:
    """3 epochs of 4 steps of 8 images, a checkpoint at every step."""
    return small.pretraining(small.data(manifest), tmp_path / "run")


@pytest.fixture
def reference(settings: PretrainSettings, tmp_path: Path) -> Path:
    return pretrain(replace(settings, out=str(tmp_path / "reference")))


def _resumed(settings: PretrainSettings) -> Path:
    return pretrain(replace(settings, resume=True))


def _at_step(step: int, act: Callable[[Run], None]) -> Callable[[Run, dict[str, Any]], None]:
    """Make a `Run.save` that does something before it saves a step."""
    save = Run.save

    def saved(run: Run, state: dict[str, Any]) -> None:
        if state["step"] == step:
            act(run)
        save(run, state)

    return saved


def texture(**changes: Any) -> ObjectiveSettings:
    return ObjectiveSettings(glcm=1.0, glcm_prediction=0.0, texture=TextureSettings(**changes))


def test_a_run_leaves_what_the_next_stages_need(reference: Path) -> None:
    assert {path.name for path in reference.iterdir()} == {
        "config.json",
        "decoder.safetensors",
        "encoder.safetensors",
        "finished.json",
        "gray_values.csv",
        "log.jsonl",
        "seen.csv",
        "settings.yaml",
    }
    assert small.facts(reference)["images"] == 36
    assert [entry["step"] for entry in small.log(reference)] == [4, 8, 12]


def test_a_run_follows_from_its_seed(
    settings: PretrainSettings, reference: Path, tmp_path: Path
) -> None:
    assert small.same(small.weights(pretrain(settings)), small.weights(reference))
    other = pretrain(replace(settings, seed=1, out=str(tmp_path / "other")))
    assert not small.same(small.weights(other), small.weights(reference))


@pytest.mark.filterwarnings("ignore:the texture of all patches")
def test_texture_is_standardised_as_it_will_be_shown(tmp_path: Path) -> None:
    halves = torch.zeros(12, 16, 16)  # every image half black, half white: one GLCM for all
    halves[:, :, 8:] = 1
    (tmp_path / "halves").mkdir()
    for i, image in enumerate(halves):
        Image.fromarray((255 * image).byte().numpy()).save(tmp_path / f"halves/{i}.png")
    deviation = {}
    for least in (0.1, 1.0):
        settings = small.pretraining(
            small.data(tmp_path / "halves"),
            tmp_path / f"run{least}",
            augment=AugmentSettings(crop_scale=(least, least)),
            objective=ObjectiveSettings(target=TargetSettings(scope="image")),
        )
        deviation[least] = small.weights(pretrain(settings))["decoder.objective.head.deviation"]
    assert deviation[0.1].max() > 10 * deviation[1.0].max()


def test_a_run_learns(settings: PretrainSettings) -> None:
    long = small.optimizer(epochs=15, base_lr=0.3)
    first, *_, last = small.log(pretrain(replace(settings, optimizer=long, checkpoint_minutes=9.0)))
    assert last["mse"] < 0.9 * first["mse"]
    assert last["glcm_prediction"] < 0.9 * first["glcm_prediction"]


@pytest.mark.parametrize("last", [7, 8], ids=["in an epoch", "between log and checkpoint"])
def test_a_killed_run_resumes_to_the_same_bits(
    settings: PretrainSettings, reference: Path, manifest: Path, tmp_path: Path, last: int
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        small.KILLED.format(stage="pretrain", settings="pretraining", count="step", last=last)
    )
    killed = small.python(script, manifest, settings.out)
    assert killed.returncode == -9, killed.stderr
    run = Path(settings.out)
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == last - 1  # epochs end at 4, 8 and 12
    assert len(small.log(run)) == (2 if last == 8 else 1)
    assert not (run / "encoder.safetensors").exists()
    assert small.same(small.weights(_resumed(settings)), small.weights(reference))
    assert small.log(run) == small.log(reference)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoint(
    settings: PretrainSettings, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    term, calls = Objective._term, iter(range(100))

    def broken(self: Objective, name: str, *rest: Any) -> Tensor:
        value = term(self, name, *rest)
        return value * math.nan if name == "glcm_prediction" and next(calls) == 5 else value

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "_term", broken)
        with pytest.raises(UserError, match=r"^glcm_prediction is no .* step 6 \(mse = 1"):
            pretrain(settings)
    state = torch.load(Path(settings.out) / "checkpoint.pt", weights_only=True)
    assert state["step"] == 5
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert small.same(small.weights(_resumed(settings)), small.weights(reference))


def test_an_absurd_rate_stops_the_run(settings: PretrainSettings) -> None:
    absurd = replace(settings, optimizer=small.optimizer(base_lr=1e30))
    with pytest.raises(UserError, match=r"is no longer a number at step .*optimizer\.base_lr"):
        pretrain(absurd)
    assert not (Path(settings.out) / "encoder.safetensors").exists()


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(
    settings: PretrainSettings, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(run: Run) -> None:
        (run.folder / f".checkpoint.pt.{os.getpid()}.tmp").symlink_to("/dev/full")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", _at_step(7, fill))
        with pytest.raises(UserError, match=r"checkpoint\.pt .*No space left.* intact: make room"):
            pretrain(settings)
    state = torch.load(Path(settings.out) / "checkpoint.pt", weights_only=True)
    assert state["step"] == 6
    assert small.same(small.weights(_resumed(settings)), small.weights(reference))
    assert small.log(Path(settings.out)) == small.log(reference)


def test_mse_comes_first_and_then_every_term(settings: PretrainSettings) -> None:
    objective = ObjectiveSettings(
        mse=0.5,
        ssim=0.25,
        glcm=2.0,
        glcm_prediction=1.0,
        mse_first=0.5,
        texture=TextureSettings(levels=8),
        target=TargetSettings(levels=4),
    )
    four = small.optimizer(epochs=4)
    lines = small.log(pretrain(replace(settings, objective=objective, optimizer=four)))
    place = {"step", "epoch", "lr", "total"}
    assert [set(line) - place for line in lines] == [
        {"mse"},
        {"mse"},
        {"mse", "ssim", "glcm", "glcm_prediction"},
        {"mse", "ssim", "glcm", "glcm_prediction"},
    ]
    assert lines[0]["total"] == lines[0]["mse"]
    for line in lines[2:]:
        texture = 2 * line["glcm"] + line["glcm_prediction"]
        assert line["total"] == pytest.approx(0.5 * line["mse"] + 0.25 * line["ssim"] + texture)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": [4, 8], "weights": [2.0, 1.0]},
        {"form": "pair_kernel", "pool": "image", "bandwidth": 0.1, "bandwidth_end": 0.05},
        {"form": "transport", "pool": 2},
        {"kernel": "bspline", "bandwidth": 0.1, "bandwidth_end": 0.03},
    ],
)
def test_every_form_of_the_texture_loss_trains(
    settings: PretrainSettings, changes: dict[str, Any]
) -> None:
    lines = small.log(pretrain(replace(settings, objective=texture(**changes))))
    assert all(0 < line["glcm"] < math.inf for line in lines)


def test_the_bandwidth_goes_from_its_beginning_to_its_end(
    settings: PretrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, anneal = [], module.anneal

    def noted(loss: PairKernelLoss, *rest: Any) -> None:
        anneal(loss, *rest)
        seen.append(loss.bandwidth)

    monkeypatch.setattr(module, "anneal", noted)
    objective = texture(form="pair_kernel", bandwidth=0.16, bandwidth_end=0.01)
    pretrain(replace(settings, objective=replace(objective, mse_first=0.5)))
    assert seen[:6] == [0.16] * 6  # 12 steps, of which 6 know mse alone
    assert seen[6:] == pytest.approx([0.16 * 16 ** -(k / 5) for k in range(6)])


def test_a_line_of_the_log_is_the_mean_over_its_epoch(
    settings: PretrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[dict[str, float]] = []
    make_step = module.make_step

    def spied(*arguments: Any) -> dict[str, float]:
        steps.append(make_step(*arguments))
        return steps[-1]

    monkeypatch.setattr(module, "make_step", spied)
    lines = small.log(pretrain(settings))
    for epoch, line in enumerate(lines):
        for name in ("mse", "glcm_prediction", "total"):
            mean = sum(step[name] for step in steps[4 * epoch : 4 * epoch + 4]) / 4
            assert line[name] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_objective_sees_the_very_pixels_in_any_precision(
    settings: PretrainSettings, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    seen: list[Tensor] = []
    forward = Objective.forward

    def spied(self: Objective, images: Tensor, out: Any, mse_only: bool = False) -> Any:
        seen.append(images)
        assert out.tokens.dtype == out.patches.dtype == torch.float32
        return forward(self, images, out, mse_only)

    monkeypatch.setattr(Objective, "forward", spied)
    hardware = HardwareSettings(accelerator="cpu", precision=precision)
    whole = AugmentSettings(crop_scale=(1.0, 1.0))
    run = pretrain(replace(settings, hardware=hardware, augment=whole))
    assert all(math.isfinite(line["total"]) for line in small.log(run))
    assert all(tensor.isfinite().all() for tensor in small.weights(run).values())
    assert seen[0].dtype == torch.float32
    # A third of the gray levels above the middle would be lost in bfloat16.
    assert any(not torch.equal(images, images.bfloat16().float()) for images in seen)


def test_fp16_is_refused_on_a_cpu(settings: PretrainSettings) -> None:
    with pytest.raises(UserError, match=r"hardware\.precision is fp16.*set it to bf16 or fp32"):
        pretrain(replace(settings, hardware=HardwareSettings(accelerator="cpu", precision="fp16")))


@pytest.mark.parametrize(
    ("hardware", "named"),
    [
        ({"accelerator": "no such thing"}, "hardware.accelerator"),
        ({"devices": 0}, "hardware.devices is 0"),
        ({"strategy": "fsdp"}, "hardware.strategy is 'fsdp'"),
    ],
)
def test_hardware_that_is_not_there_is_refused(
    settings: PretrainSettings, hardware: dict[str, Any], named: str
) -> None:
    with pytest.raises(UserError, match=named):
        pretrain(
            replace(settings, hardware=HardwareSettings(**({"accelerator": "cpu"} | hardware)))
        )


_DISTRIBUTED = """
import sys
from dataclasses import replace
from pathlib import Path
from glcm_mae.errors import UserError
from glcm_mae.settings import HardwareSettings, ObjectiveSettings
from glcm_mae.training.inputs import read_images
from glcm_mae.training.pretrain import pretrain
from tests.training import small

two = HardwareSettings(accelerator="cpu", devices=2, strategy="ddp")
settings = small.pretraining(
    small.data(Path(sys.argv[1])),
    Path(sys.argv[2]),
    hardware=two,
    optimizer=small.optimizer(batch_size=4, accumulate=2),
    objective=ObjectiveSettings(mse_first=0.5),  # the texture head waits for its phase
)
run = pretrain(settings)
assert (run / "finished.json").exists()  # on every process
try:
    pretrain(settings)
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_processes_train_and_write_one_run(
    manifest: Path, tmp_path: Path, settings: PretrainSettings
) -> None:
    script = tmp_path / "distributed.py"
    script.write_text(_DISTRIBUTED)
    done = small.python(script, manifest, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds a run already") == 2
    run = tmp_path / "two"
    lines = small.log(run)
    assert [line["step"] for line in lines] == [2, 4, 6]  # 2 devices x 2 batches x 4 images
    assert all(tensor.isfinite().all() for tensor in small.weights(run).values())
    assert not list(run.glob(".*"))


def test_a_held_out_fold_is_not_seen(manifest: Path, encoder: Path) -> None:
    whole = read_manifest(manifest)
    split = holdout(whole, folds=3, fold=0, seed=0)
    images = module.read_images(small.data(manifest), quiet=True)
    assert len((encoder / "seen.csv").read_text().splitlines()) == 1 + len(split.train)
    for side in (split.val, split.test):
        assert refuse_seen(str(encoder), images, side, allow=False) == 0
    assert refuse_seen(str(encoder), images, split.train, allow=True) == len(split.train)


def test_a_given_split_is_held_out_without_being_asked_for(tmp_path: Path) -> None:
    source = write_phantom(make_phantom(2, 1, size=16), tmp_path / "data")
    rows = [line + ",train" for line in source.read_text().splitlines()]
    rows[0] = "path,label,patient,split"
    rows[-3:] = [row.replace("train", "test") for row in rows[-3:]]
    rows[-4] = rows[-4].replace("train", "val")
    source.write_text("\n".join(rows))
    run = pretrain(small.pretraining(small.data(source), tmp_path / "run"))
    assert small.facts(run)["images"] == 2


def test_a_run_that_starts_from_another_has_seen_what_it_saw(
    manifest: Path, encoder: Path, tmp_path: Path
) -> None:
    other_fold = small.data(manifest, fold=1)
    run = pretrain(small.pretraining(other_fold, tmp_path / "run", init=str(encoder)))
    images = module.read_images(small.data(manifest), quiet=True)
    split = holdout(images.manifest, folds=3, fold=0, seed=0)
    assert refuse_seen(str(run), images, split.train, allow=True) == len(split.train)


def test_a_set_smaller_than_a_batch_trains(settings: PretrainSettings) -> None:
    lines = small.log(pretrain(replace(settings, optimizer=small.optimizer(batch_size=500))))
    assert [line["step"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio is 1.0"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes is -1.0"),
        ({"objective": ObjectiveSettings(mse=0, glcm_prediction=0)}, "objective has no term"),
        ({"objective": ObjectiveSettings(ssim=-1)}, "objective.ssim is -1"),
        ({"objective": ObjectiveSettings(mse=math.nan)}, "objective.mse is nan"),
        ({"objective": ObjectiveSettings(mse_first=1.0)}, "objective.mse_first"),
        ({"objective": ObjectiveSettings(target=TargetSettings(levels=0))}, r"objective\.target: "),
        (
            {"objective": texture(form="transport", bandwidth=0.1)},
            r"objective\.texture: the form transport has no bandwidth",
        ),
        (
            {"objective": texture(form="pair_kernel", scaled=True)},
            r"objective\.texture: scaled and normalized belong to the form glcm",
        ),
        (
            {"objective": texture(bandwidth_end=0.01)},
            r"objective\.texture: bandwidth_end needs a bandwidth",
        ),
        (
            {"objective": texture(form="pair_kernel", bandwidth_end=-1.0)},
            r"objective\.texture: bandwidth_end is -1.0",
        ),
        (
            {"objective": texture(form="pair_kernel", bandwidth_end=1e-9)},
            r"objective\.texture: bandwidth is 1e-09",
        ),
        ({"model": small.model(patch_size=5)}, "model.patch_size 5 does not divide"),
        ({"model": small.model(decoder_num_heads=3)}, "model.decoder_num_heads 3"),
        ({"augment": AugmentSettings(crop_scale=(0.0, 1.0))}, "crop_scale"),
        ({"optimizer": small.optimizer(epochs=0)}, "optimizer.epochs is 0"),
    ],
)
def test_impossible_settings_are_refused_before_images_are_read(
    settings: PretrainSettings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match=named):
        pretrain(replace(settings, **changes))
    assert not Path(settings.out).exists()


def test_an_existing_run_is_left_alone_before_images_are_read(
    settings: PretrainSettings, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = small.weights(encoder)
    monkeypatch.setattr(module, "read_images", None)
    same = replace(settings, out=str(encoder), data=replace(settings.data, fold=0))
    with pytest.raises(UserError, match="holds a run already"):
        pretrain(same)
    with pytest.raises(UserError, match="seed was 0, is 3"):
        pretrain(replace(same, resume=True, seed=3))
    assert pretrain(replace(same, resume=True)) == encoder  # finished: nothing is left to do
    assert small.same(small.weights(encoder), before)


def test_images_that_cannot_be_read_leave_no_run_behind(settings: PretrainSettings) -> None:
    wrong = replace(settings, data=replace(settings.data, image_size=32))
    with pytest.raises(UserError, match="16 x 16"):
        pretrain(wrong)
    assert not Path(settings.out).exists()
    pretrain(settings)


def test_images_may_move_after_the_run_was_killed_but_not_change(
    settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(run: Run) -> None:
        raise KeyboardInterrupt

    source = write_phantom(make_phantom(3, 1, size=16), tmp_path / "data")
    ours = replace(settings, data=small.data(source))
    whole = small.weights(pretrain(replace(ours, out=str(tmp_path / "whole"))))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", _at_step(2, interrupt))
        with pytest.raises(KeyboardInterrupt):
            pretrain(ours)
    moved = source.parent.rename(tmp_path / "scratch") / source.name
    there = replace(ours, data=small.data(moved))
    table = moved.read_text()
    moved.write_text("\n".join(table.splitlines()[:-1]))
    with pytest.raises(UserError, match="begun on other images"):
        _resumed(there)
    moved.write_text(table)
    assert small.same(small.weights(_resumed(there)), whole)


def test_weights_of_other_projects_come_with_a_word_on_their_licence(
    settings: PretrainSettings, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imagenet = tmp_path / "imagenet.safetensors"
    imagenet.write_bytes((reference / "encoder.safetensors").read_bytes())
    pretrain(replace(settings, init=str(imagenet)))
    assert "CC BY-NC 4.0" in capsys.readouterr().err


def test_weights_of_an_own_run_do_not(
    settings: PretrainSettings, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, own in enumerate((reference, reference / "encoder.safetensors")):
        pretrain(replace(settings, init=str(own), out=f"{settings.out}{number}"))
    assert "CC BY-NC" not in capsys.readouterr().err


def test_a_run_goes_on_with_the_decoder_of_the_one_it_starts_from(
    settings: PretrainSettings, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nearly_still = small.optimizer(epochs=1, base_lr=1e-9)
    run = pretrain(replace(settings, init=str(encoder), optimizer=nearly_still))
    before, after = small.weights(encoder), small.weights(run)
    for name in before:
        if name.startswith(("encoder.", "decoder.mae.")):
            assert torch.allclose(before[name], after[name], atol=1e-6), name
    assert small.facts(run)["decoder"] == f"of {encoder}"
    assert f"The decoder's first weights are of {encoder}." in capsys.readouterr().err


def test_it_is_said_where_the_decoder_starts_from_random_weights(
    settings: PretrainSettings, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = small.model(decoder_embed_dim=32)
    run = pretrain(replace(settings, init=str(encoder), model=wider))
    assert "The decoder's first weights are random, for decoder_" in capsys.readouterr().err
    assert small.facts(run)["decoder"].endswith("see model.decoder_embed_dim")


def test_a_training_too_short_for_its_second_phase_is_refused(settings: PretrainSettings) -> None:
    phases = replace(texture(), mse_first=0.95)  # 12 steps
    with pytest.raises(UserError, match=r"mse_first 0\.95 leaves none of the 12 step\(s\) for"):
        pretrain(replace(settings, objective=phases))
    assert not Path(settings.out).exists()


@pytest.mark.parametrize("sample", [20, 31])
def test_the_head_is_fitted_on_images_of_every_part_of_the_list(
    settings: PretrainSettings, monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    shown: list[Tensor] = []
    fit = TextureHead.fit

    def record(head: TextureHead, images: Tensor) -> None:
        shown.append(images)
        fit(head, images)

    monkeypatch.setattr(module, "_SAMPLE", sample)
    monkeypatch.setattr(TextureHead, "fit", record)
    whole = AugmentSettings(crop_scale=(1.0, 1.0), flip=False)
    pretrain(replace(settings, augment=whole, objective=ObjectiveSettings(glcm_prediction=1.0)))
    pixels = read_images(settings.data, read_manifest(settings.data.images), quiet=True).pixels
    [fitted] = shown
    places = [int((pixels - image).abs().flatten(1).sum(dim=1).argmin()) for image in fitted]
    assert len(places) == sample
    assert (places[0], places[-1]) == (0, len(pixels) - 1)
    assert set(torch.tensor(places).diff().tolist()) <= {1, 2}
