import pytest
import torch

from glcm_mae.settings import OptimizerSettings
from glcm_mae.training.order import epoch_batches, seed_step
from glcm_mae.training.step import Plan


def _drawn(*key: int) -> list[float]:
    seed_step(*key)
    return torch.rand(4).tolist()


def test_an_epoch_takes_each_image_at_most_once_in_whole_batches() -> None:
    batches = epoch_batches(23, 5, seed=3, epoch=1)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    taken = torch.cat(batches).tolist()
    assert len(set(taken)) == 20
    assert set(taken) <= set(range(23))


def test_other_images_are_left_out_in_other_epochs() -> None:
    epochs = [set(torch.cat(epoch_batches(9, 4, seed=0, epoch=e)).tolist()) for e in range(20)]
    assert set.union(*epochs) == set(range(9))
    assert len({frozenset(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("n", [24, 25, 31])
def test_devices_share_an_epoch_without_overlap(n: int) -> None:
    shares = [torch.cat(epoch_batches(n, 3, 0, 0, rank, 4)).tolist() for rank in range(4)]
    assert all(len(share) >= 6 for share in shares)
    assert len(set().union(*shares)) == sum(map(len, shares))


def test_the_order_follows_from_seed_and_epoch() -> None:
    order = [torch.cat(epoch_batches(50, 5, s, e)).tolist() for s, e in ((1, 2), (1, 3), (2, 2))]
    assert order[0] == torch.cat(epoch_batches(50, 5, 1, 2)).tolist()
    assert order[0] != order[1]
    assert order[0] != order[2]


def test_an_epoch_is_dealt_once_and_not_at_each_of_its_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dealt, deal = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **how: dealt.append(n) or deal(n, **how))
    epoch_batches.cache_clear()
    plan = Plan(40, OptimizerSettings(epochs=3, batch_size=4, accumulate=2), seed=0)
    taken = torch.stack([torch.cat(plan.batches(step)) for step in range(plan.steps)])
    assert dealt == [40, 40, 40]
    assert (taken.view(3, 40).sort(dim=1).values == torch.arange(40)).all()


def test_the_order_does_not_touch_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    epoch_batches(50, 5, 0, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_step_draws_the_same_again_and_others_draw_others() -> None:
    assert _drawn(0, 5, 0) == _drawn(0, 5, 0)
    keys = [(s, t, r) for s in (0, 1, 2) for t in (0, 1, 2) for r in (0, 1, 2)]
    assert len({tuple(_drawn(*key)) for key in keys}) == len(keys)
