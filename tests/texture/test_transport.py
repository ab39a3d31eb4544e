"""Sliced transport between pixel pairs."""

import math

import numpy as np
import pytest
import torch

from glcm_mae.texture import GLCMLoss, TransportLoss
from glcm_mae.texture.patches import Patches


def by_hand(p, t, offset, directions):
    """One group of patches (M, p, p) each: sort, pair by rank, average."""
    (dy, dx), total = offset, 0.0
    for k in range(directions):
        angle = math.pi * k / directions
        clouds = []
        for patches in (p, t):
            points = [
                math.cos(angle) * x[i, j] + math.sin(angle) * x[i + dy, j + dx]
                for x in patches
                for i in range(x.shape[0] - dy)
                for j in range(x.shape[1] - dx)
            ]
            clouds.append(np.sort(points))
        total += np.square(clouds[0] - clouds[1]).mean() / directions
    return total


@pytest.mark.parametrize("directions", [2, 5])
def test_equals_the_definition(directions):
    p, t = torch.rand(2, 2, 3, 6, 6, dtype=torch.float64)
    valid = torch.tensor([[True, True, True], [True, False, False]])
    offset = (1, 2)
    patches = Patches(torch.arange(6).view(2, 3), valid, (1, 1), (6, 6))
    loss = TransportLoss(directions, [offset], patch_size=6)
    found = loss.compare(p.flatten(0, 1), t.flatten(0, 1), patches).value
    for g, members in enumerate((3, 1)):
        expected = by_hand(p[g, :members].numpy(), t[g, :members].numpy(), offset, directions)
        assert found[g].item() == pytest.approx(expected, rel=1e-12)


def test_gradcheck():
    p, t = torch.rand(2, 2, 1, 8, 8, dtype=torch.float64)
    mask = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1]])
    for pool in ("patch", "image"):
        loss = TransportLoss(3, [(0, 1), (2, 1)], weights=[1, 2], patch_size=4, pool=pool)
        torch.autograd.gradcheck(lambda x, loss=loss: loss(x, t, mask), p.requires_grad_())


@pytest.mark.parametrize("shift", [1e-3, 0.3, 100.0])
def test_a_shift_costs_its_square_and_pulls_straight_back(shift):
    t = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    p = (t + shift).requires_grad_()
    value = TransportLoss()(p, t)
    value.backward()
    assert value.item() == pytest.approx(shift**2)
    assert (p.grad > 0).all()


def test_falls_where_squared_cells_are_flat():
    # Constant patches, far apart in gray: no cell of one GLCM is filled in the other.
    far, nearer, target = (torch.full((1, 1, 16, 16), value) for value in (0.1, 0.2, 0.9))
    fall = {
        type(loss).__name__: (1 - loss(nearer, target) / loss(far, target)).item()
        for loss in (GLCMLoss(32), TransportLoss())
    }
    assert abs(fall["GLCMLoss"]) < 0.01
    assert fall["TransportLoss"] == pytest.approx(1 - 0.7**2 / 0.8**2, rel=1e-4)


def test_sees_texture_and_not_place():
    # Stripes and a checkerboard have the same histogram and other pairs; a moved stripe is alike.
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 1, 16, 16)
    checks = (
        (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(1, 1, 16, 16)
    )
    loss = TransportLoss(offsets=[(1, 0)])
    assert loss(stripes.roll(1, -1), stripes).item() < 1e-6
    assert loss(checks, stripes).item() > 0.1


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="directions is 1"):
        TransportLoss(1)
    with pytest.raises(ValueError, match=r"directions is 2\.5"):
        TransportLoss(2.5)
    with pytest.raises(ValueError, match="weights is"):
        TransportLoss(weights=[1.0])
