"""The residual network: its sizes, its own normalisation, and how it lies in memory."""

import pytest
import torch
from torch import nn

from glcm_mae.models.residual import ResidualNetwork


@pytest.mark.parametrize("size", [(1, 1), (33, 64), (128, 100)])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_maps_are_halved_five_times_rounded_up(size: tuple[int, int], in_chans: int) -> None:
    network = ResidualNetwork(in_chans, n_classes=4).eval()
    images = torch.rand(2, in_chans, *size)
    deepest = network.blocks(network.stem(images))
    assert deepest.shape == (2, 192, -(-size[0] // 32), -(-size[1] // 32))
    assert network(images).shape == (2, 4)


def test_it_has_the_weights_that_its_docstring_says() -> None:
    counts = [weight.numel() for weight in ResidualNetwork(1, 3).parameters()]
    assert round(sum(counts) / 1e6, 1) == 0.7


def test_gain_and_offset_of_a_training_batch_do_not_matter() -> None:
    torch.manual_seed(0)
    network, images = ResidualNetwork(1, 3).train(), torch.rand(4, 1, 32, 32)
    before = network(images)
    torch.testing.assert_close(network(0.4 * images + 0.5), before, rtol=0, atol=2e-3)
    assert not torch.allclose(network(images.square()), before, rtol=0, atol=2e-3)


@pytest.mark.parametrize("in_chans", [1, 3])
def test_channels_lie_last(in_chans: int) -> None:
    """Convolutions on CPUs are half as fast again so, and weights that are read stay so."""
    network = ResidualNetwork(in_chans, 2)
    plain = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    network.load_state_dict(plain)
    step = torch.rand(2, in_chans, 40, 40)
    for layer in (*network.stem, *network.blocks):
        step = layer(step)
        if not isinstance(layer, nn.BatchNorm2d) or step.shape[1] != in_chans:
            assert step.is_contiguous(memory_format=torch.channels_last)
            assert not step.is_contiguous() or step.shape[2:] == (1, 1)
