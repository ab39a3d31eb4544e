"""A narrow residual network: what is learnt of images with labels alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (24, 48, 96, 192)


class ResidualNetwork(nn.Module):
    """A residual network of one block a stage, 0.7 million weights.

    Its stem halves images twice, each block but the first once more. It normalises images by
    itself, by what it has met in training.

    Parameters
    ----------
    in_chans : int
        Channels of the images.
    n_classes : int
        Of the last layer.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Examples
    --------
    >>> import torch
    >>> network = ResidualNetwork(in_chans=1, n_classes=3).eval()
    >>> network(torch.rand(2, 1, 64, 48)).shape
    torch.Size([2, 3])
    """

    def __init__(self, in_chans: int, n_classes: int) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.Sequential(
            nn.BatchNorm2d(in_chans),
            _convolution(in_chans, first, 7, stride=2),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        ins = (first, *_WIDTHS)
        self.blocks = nn.Sequential(
            *(_Block(ins[n], _WIDTHS[n], stride=1 if n == 0 else 2) for n in range(len(_WIDTHS)))
        )
        self.head = nn.Linear(_WIDTHS[-1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W) in [0, 1]: logits (B, K)."""
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two 3 x 3 convolutions, added to what goes past them."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.through = nn.Sequential(
            _convolution(ins, outs, 3, stride),
            nn.BatchNorm2d(outs),
            nn.ReLU(),
            _convolution(outs, outs, 3),
            nn.BatchNorm2d(outs),
        )
        self.past = nn.Sequential(_convolution(ins, outs, 1, stride), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H / stride, W / stride), rounded up."""
        return F.relu(self.through(x) + self.past(x))


def _convolution(ins: int, outs: int, side: int, stride: int = 1) -> nn.Conv2d:
    """Without bias, for a normalisation follows, and of an odd side, whose middle meets pixels."""
    layer = nn.Conv2d(ins, outs, side, stride, padding=side // 2, bias=False)
    # Channels last, which maps then take over: half as fast again on CPUs.
    weight = layer.weight.detach().to(memory_format=torch.channels_last)
    layer.weight = nn.Parameter(weight)
    return layer
