import math
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from glcm_mae.errors import UserError
from glcm_mae.models import Loss
from glcm_mae.training.step import Plan, check_optimizer, make_step

from . import small


def _plan(n: int = 16, seed: int = 0, world: int = 1, **changes: Any) -> Plan:
    return Plan(n, small.optimizer(**({"clip": None, "warmup": 0.0} | changes)), seed, 0, world)


class _Trainee:
    """A linear layer under SGD: unlike AdamW's, its step is as long as the gradient."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        torch.manual_seed(7)
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1)
        layer = nn.Linear(3, 1)
        sgd = torch.optim.SGD([{"params": layer.parameters(), "scale": 1.0}], lr=0.0)
        self.module, self.optimizer = self.fabric.setup(layer, sgd)
        self.images = torch.randn(64, 3)

    @property
    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])

    def error(self, members: Tensor) -> Loss:
        error = self.module(self.images[members]).float().square().mean()
        return Loss(error, {"error": error})

    def step(self, plan: Plan, loss_of: Any = None, step: int = 0) -> tuple[Tensor, dict]:
        before = self.weights
        means = make_step(
            self.fabric, self.module, self.optimizer, plan, step, loss_of or self.error
        )
        return self.weights - before, means


def test_plan_counts_images_of_all_devices_and_batches() -> None:
    plan = _plan(100, batch_size=8, accumulate=2, world=3, epochs=5)
    assert (plan.images_per_step, plan.steps_per_epoch, plan.steps) == (48, 2, 10)


def test_rate_is_base_lr_for_256_images_a_step() -> None:
    assert _plan(512, batch_size=256, base_lr=0.3).rate(0) == 0.3
    assert _plan(512, batch_size=32, base_lr=0.3).rate(0) == pytest.approx(0.3 / 8)
    grown = _plan(512, batch_size=32, accumulate=4, world=2, base_lr=0.3)
    assert grown.rate(0) == pytest.approx(0.3)


def test_a_set_smaller_than_a_batch_makes_one_step_an_epoch() -> None:
    plan = _plan(5, batch_size=64, accumulate=2, epochs=3, base_lr=0.256)
    assert (plan.batch, plan.images_per_step, plan.steps) == (2, 4, 3)
    assert plan.rate(0) == pytest.approx(0.004)  # of the images that a step does take
    assert [len(batch) for batch in plan.batches(2)] == [2, 2]


def test_fewer_images_than_batches_are_refused() -> None:
    with pytest.raises(UserError, match=r"3 training images .*optimizer.accumulate"):
        _plan(3, accumulate=2, world=2)


def test_the_steps_of_an_epoch_take_different_images() -> None:
    plan = _plan(32, batch_size=4, accumulate=2)
    taken = torch.cat([batch for step in range(4) for batch in plan.batches(step)])
    assert taken.sort().values.tolist() == list(range(32))


def test_two_batches_of_8_make_the_step_of_one_of_16() -> None:
    # 16 images in all, so that the step takes all of them in either case.
    whole, of_whole = _Trainee().step(_plan(16, batch_size=16, base_lr=16))
    parts, of_parts = _Trainee().step(_plan(16, batch_size=8, accumulate=2, base_lr=16))
    assert whole.norm() > 0.1
    torch.testing.assert_close(parts, whole)
    assert of_parts == pytest.approx(of_whole)


def test_a_clipped_step_is_as_long_as_rate_times_clip() -> None:
    free, _ = _Trainee().step(_plan(batch_size=16, base_lr=16))
    clipped, _ = _Trainee().step(_plan(batch_size=16, base_lr=16, clip=0.01))
    assert clipped.norm() == pytest.approx(0.01, rel=1e-4)  # the rate is 1
    torch.testing.assert_close(clipped / clipped.norm(), free / free.norm())
    loose, _ = _Trainee().step(_plan(batch_size=16, base_lr=16, clip=1e3))
    torch.testing.assert_close(loose, free)


def test_a_step_tells_every_term_by_itself() -> None:
    trainee = _Trainee()

    def loss_of(members: Tensor) -> Loss:
        error = trainee.error(members).total
        return Loss(3 * error, {"error": error, "one": torch.ones(())})

    with torch.no_grad():
        expected = float(trainee.error(torch.arange(16)).total)
    _, means = trainee.step(_plan(batch_size=8, accumulate=2), loss_of)
    assert means == pytest.approx({"error": expected, "one": 1.0, "total": 3 * expected})


def test_a_term_that_is_no_number_stops_before_the_step_and_is_named() -> None:
    trainee = _Trainee()
    before = trainee.weights

    def loss_of(members: Tensor) -> Loss:
        error = trainee.error(members).total
        return Loss(error * math.nan, {"error": error, "texture": error * math.nan})

    with pytest.raises(UserError, match=r"^texture is no longer a number at step 5 \(error"):
        trainee.step(_plan(), loss_of, step=4)
    assert torch.equal(trainee.weights, before)


def test_a_term_that_is_no_number_on_another_device_stops_this_one_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainee = _Trainee()
    before = trainee.weights
    monkeypatch.setattr(trainee.fabric, "all_reduce", lambda here, reduce_op: (here + math.nan) / 2)
    with pytest.raises(UserError, match=r"^error is no longer a number at step 1"):
        trainee.step(_plan())
    assert torch.equal(trainee.weights, before)


def test_terms_are_means_over_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    trainee = _Trainee()
    monkeypatch.setattr(trainee.fabric, "all_reduce", lambda here, reduce_op: (here + 1) / 2)
    _, alone = _Trainee().step(_plan())
    _, means = trainee.step(_plan())
    assert means["error"] == pytest.approx((alone["error"] + 1) / 2)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_no_number_stops_before_the_step(clip: float | None) -> None:
    trainee = _Trainee()
    before = trainee.weights

    def loss_of(members: Tensor) -> Loss:
        return Loss((0 * trainee.error(members).total).sqrt(), {})  # 0, and its slope 0 * inf

    with pytest.raises(UserError, match=r"^the gradient is no longer a number at step 1"):
        trainee.step(_plan(clip=clip), loss_of)
    assert torch.equal(trainee.weights, before)


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_fp16_skips_a_step_that_overflows_and_clips_what_was_not_scaled(
    clip: float | None,
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=1000)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    trainee = _Trainee(Fabric(accelerator="cpu", devices=1, plugins=[precision]))
    plan = _plan(batch_size=16, base_lr=16, clip=clip)
    overflowing, _ = trainee.step(plan, lambda m: _with_infinite_gradient(trainee, m))
    assert overflowing.norm() == 0
    assert scaler.get_scale() == 2.0**13
    step, _ = trainee.step(plan)
    expected = clip or float(_Trainee().step(_plan(batch_size=16, base_lr=16))[0].norm())
    assert step.norm() == pytest.approx(expected, rel=2e-2)


def _with_infinite_gradient(trainee: _Trainee, members: Tensor) -> Loss:
    return Loss((0 * trainee.error(members).total).sqrt(), {})


def test_fp16_that_overflows_for_ever_is_no_silent_standstill() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-9)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    trainee = _Trainee(Fabric(accelerator="cpu", devices=1, plugins=[precision]))
    trainee.step(_plan(), lambda m: _with_infinite_gradient(trainee, m))
    with pytest.raises(UserError, match="the gradient is no longer a number"):
        trainee.step(_plan(), lambda m: _with_infinite_gradient(trainee, m))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("accumulate", -1),
        ("base_lr", -1.0),
        ("base_lr", math.nan),
        ("min_lr", math.inf),
        ("weight_decay", -0.1),
        ("warmup", 1.0),
        ("betas", (0.9, 1.0)),
        ("clip", 0.0),
    ],
)
def test_settings_that_make_no_training_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^optimizer\.{name} is .*: set "):
        check_optimizer(small.optimizer(**{name: value}), devices=1)


def test_a_rate_that_would_rise_to_its_end_is_refused() -> None:
    settings = small.optimizer(batch_size=16, base_lr=1e-5, min_lr=1e-6)
    with pytest.raises(UserError, match=r"min_lr is 1e-06, above the greatest rate, 6\.25e-07"):
        check_optimizer(settings, devices=1)
    check_optimizer(settings, devices=2)
    with pytest.raises(UserError, match="above the greatest rate"):  # so few make smaller batches
        Plan(3, settings, seed=0)
