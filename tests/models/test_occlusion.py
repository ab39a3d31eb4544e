"""A classifier that adds up its patches shows what a map and an order must say of it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glcm_mae.models import Classifier, Encoder, log_odds_without, occlusion_maps
from glcm_mae.models.occlusion import log_odds

GRID = (3, 4)


def adds_up(images, keep):
    """Two classes; the log-odds of the second are the sum of the kept pixels (B, 1, 3, 4)."""
    pixels = images.flatten(1)
    total = (pixels if keep is None else pixels.gather(1, keep)).sum(dim=1)
    return torch.stack([torch.zeros_like(total), total], dim=1)


@settings(deadline=None)
@given(arrays(np.float64, (2, 4), elements=st.floats(-20, 20)))
def test_log_odds_are_of_a_class_against_all_others(logits):
    classes = torch.tensor([1, 3])
    chance = torch.from_numpy(logits).softmax(dim=1)[[0, 1], classes]
    others = torch.from_numpy(logits).softmax(dim=1).sum(dim=1) - chance
    found = log_odds(torch.from_numpy(logits), classes)
    known = others > 1e-9  # beyond, the difference has no digit left
    torch.testing.assert_close(
        found[known], (chance.log() - others.log())[known], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("window", [1, 3])
def test_a_patch_gets_the_mean_over_the_squares_that_hold_it(window):
    images = torch.randn(2, 1, *GRID, dtype=torch.float64)
    found = occlusion_maps(adds_up, images, GRID, torch.tensor([1, 0]), window)
    reach = window // 2
    expected = torch.zeros(2, *GRID, dtype=torch.float64)
    for row, column in itertools.product(*map(range, GRID)):
        squares = [
            images[:, 0, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            for y, x in itertools.product(*map(range, GRID))
            if abs(y - row) <= reach and abs(x - column) <= reach
        ]
        expected[:, row, column] = sum(square.sum(dim=(1, 2)) for square in squares) / len(squares)
    expected[1] *= -1  # the class that the pixels speak against
    torch.testing.assert_close(found, expected)


def test_log_odds_fall_soonest_in_the_order_of_the_values():
    images = torch.randn(3, 1, *GRID)
    classes = torch.tensor([1, 1, 1])
    shares = (0.0, 0.25, 0.5, 0.99)
    order = images.flatten(1).argsort(dim=1, descending=True)
    found = log_odds_without(adds_up, images, classes, order, shares)
    torch.testing.assert_close(found[:, 0], images.sum(dim=(1, 2, 3)))
    torch.testing.assert_close(found[:, 3], images.flatten(1).amin(dim=1))  # the last one stays
    for _ in range(5):
        chance = torch.rand(3, 12).argsort(dim=1)
        at_random = log_odds_without(adds_up, images, classes, chance, shares)
        assert (found <= at_random + 1e-5).all()


@pytest.mark.parametrize("pooling", ["mean", "moments", "token"])
def test_a_classifier_goes_by_the_kept_patches_alone(pooling):
    classifier = Classifier(Encoder((16, 24), 8, 1, 32, 2, 4), 3, pooling).eval()
    torch.nn.init.normal_(classifier.head.weight)
    images = torch.rand(2, 1, 16, 24)
    every = torch.arange(6).expand(2, -1)
    torch.testing.assert_close(classifier(images, every), classifier(images))
    changed = images.clone()
    changed[:, :, :8, :8] = 0.5  # the first patch
    torch.testing.assert_close(classifier(changed, every[:, 1:]), classifier(images, every[:, 1:]))
    assert not torch.allclose(classifier(changed), classifier(images))
