"""The kernel distance on a grid against the one that compares pair with pair."""

import math

import pytest
import torch

from glcm_mae.texture import PairKernelLoss
from glcm_mae.texture import distance as distance_module
from glcm_mae.texture.dense import pair_kernel_distance
from glcm_mae.texture.grid import GaussianGrid
from glcm_mae.texture.patches import Patches

OFFSETS = [(0, 1), (2, -1)]


def specification(p, t, valid, bandwidth, weights=(0.5, 0.5)):
    p = p.double().requires_grad_()
    parts = [pair_kernel_distance(p, t.double(), valid.double(), o, bandwidth) for o in OFFSETS]
    distance = sum(w * part for w, part in zip(weights, parts, strict=True))
    (gradient,) = torch.autograd.grad(distance.sum(), p)
    return distance.detach(), gradient


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bandwidth", [0.01, 0.05, 0.3])
def test_equals_the_sum_over_all_pairs_of_pairs(bandwidth, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(distance_module, "runs_compiled", lambda _: False)
    p, t = torch.rand(2, 3, 2, 8, 8) * 1.4 - 0.2  # beyond both ends, too: there is no edge
    valid = torch.tensor([[True, True], [True, False], [True, True]])
    p[1, 1] = t[1, 1] = 0.0
    p[2, 0] = 0.5
    loss = PairKernelLoss(bandwidth, OFFSETS, weights=[1, 3], patch_size=8)
    patches = Patches(torch.arange(6).view(3, 2), valid, (1, 1), (8, 8))
    found = loss.compare(p.flatten(0, 1), t.flatten(0, 1), patches)
    distance, gradient = specification(p, t, valid, bandwidth, (0.25, 0.75))
    assert torch.allclose(found.value.double(), distance, rtol=5e-6, atol=1e-6)
    assert (found.gradient.view(p.shape) - gradient).norm() / gradient.norm() < 1e-5


def test_gradcheck():
    p, t = torch.rand(2, 1, 1, 8, 8, dtype=torch.float64)
    loss = PairKernelLoss(0.1, patch_size=4, pool="image")
    mask = torch.tensor([[1, 0, 1, 1]])
    torch.autograd.gradcheck(lambda x: loss(x, t, mask), p.requires_grad_(), atol=1e-6)


def test_annealing_changes_the_bandwidth_alone():
    p, t = torch.rand(2, 1, 1, 16, 16)
    loss = PairKernelLoss(0.2, weights=[1, 2])
    loss.anneal(0.03)
    assert torch.equal(loss(p, t), PairKernelLoss(0.03, weights=[1, 2])(p, t))


def test_a_wider_kernel_reaches_farther():
    # Constant patches 0.5 apart: a bandwidth of 0.2 still pulls, one of 0.02 is flat.
    target = torch.full((1, 1, 16, 16), 0.75)
    pulls = []
    for bandwidth in (0.2, 0.02):
        p = torch.full((1, 1, 16, 16), 0.25, requires_grad=True)
        PairKernelLoss(bandwidth)(p, target).backward()
        pulls.append(p.grad.abs().max().item())
    assert pulls[0] > 1e-3
    assert pulls[1] < 1e-5


def test_values_stay_within_their_bounds():
    p, t = torch.rand(2, 4, 1, 16, 16)
    for bandwidth in (0.001, 0.05, 1.0):
        loss = PairKernelLoss(bandwidth, reduction="none")
        assert (loss(p, t) >= 0).all()
        assert (loss(p, t) <= 2).all()
        assert loss(p, p).abs().max() < 1e-6
    apart = PairKernelLoss(0.01)(torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16))
    assert apart.item() == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bandwidth", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("far", [-9.0, -0.8, 1.6, 1.7, 1.9, 50.0])
@pytest.mark.filterwarnings("ignore:no value of the first predictions")
def test_far_values_count_as_half_a_range_beyond_and_get_no_gradient(
    far, bandwidth, compiled, monkeypatch
):
    if not compiled:
        monkeypatch.setattr(distance_module, "runs_compiled", lambda _: False)
    loss, t = PairKernelLoss(bandwidth), torch.full((1, 1, 16, 16), 0.9)
    p = torch.full((1, 1, 16, 16), far, requires_grad=True)
    value = loss(p, t)
    value.backward()
    most = GaussianGrid(bandwidth).covered[1]
    end = torch.full((1, 1, 16, 16), most if far > 0 else -0.5)
    assert value.item() == pytest.approx(loss(end, t).item(), abs=1e-6)
    assert not -0.5 <= far <= most
    assert not p.grad.any()


def test_a_grid_reaches_half_a_range_beyond_and_hardly_more():
    for bandwidth in (0.002, 0.05, 1.0):
        grid = GaussianGrid(bandwidth, (-1.0, 3.0))
        least, most = grid.covered
        assert least == pytest.approx(-3.0)
        assert 5.0 <= most <= 5.0 + grid.width + 1e-9


def test_range_in_any_units():
    p, t = torch.rand(2, 1, 1, 16, 16)
    hounsfield = PairKernelLoss(100.0, value_range=(-1000.0, 1000.0))
    unit = PairKernelLoss(0.05)
    assert hounsfield(p * 2000 - 1000, t * 2000 - 1000).item() == pytest.approx(
        unit(p, t).item(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"bandwidth": math.nan}, "bandwidth is nan"),
        ({"bandwidth": 1e-5}, "0.0005 or more"),
        ({"value_range": (1.0, 0.0)}, "value_range"),
        ({"weights": [1.0]}, "weights is"),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        PairKernelLoss(**settings)


def test_the_grid_carries_whole_windows():
    grid = GaussianGrid(0.02)
    values = torch.linspace(-0.5, 1.5, 1001, dtype=torch.float64)
    bins, weight, _ = grid.taps(values)
    assert bins.min() >= 0
    assert bins.max() < grid.levels
    assert torch.allclose(weight.square().sum(-1), torch.full((), grid.mass).double(), atol=1e-6)
