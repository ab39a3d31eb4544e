"""A classifier on the encoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .vit import Encoder

Pooling = Literal["mean", "moments", "token"]

# Under the root, for the slope of a deviation of 0: the patches of a black image are all alike.
_EPS = 1e-6


def pool_tokens(tokens: Tensor, pooling: Pooling) -> Tensor:
    """Make one feature vector of an image's tokens.

    Parameters
    ----------
    tokens : Tensor, (B, 1 + N, D)
        An encoder's output, class token first.
    pooling : {"mean", "moments", "token"}
        The mean over the patches; their mean and standard deviation, which tells how much the
        patches of an image differ; or the class token.

    Returns
    -------
    Tensor, (B, D), or (B, 2 D) of moments

    Examples
    --------
    >>> import torch
    >>> pool_tokens(torch.tensor([[[9.0], [1.0], [3.0]]]), "mean").tolist()
    [[2.0]]
    >>> pool_tokens(torch.tensor([[[9.0], [1.0], [3.0]]]), "moments").round(decimals=3).tolist()
    [[2.0, 1.0]]
    """
    if pooling == "token":
        return tokens[:, 0]
    patches = tokens[:, 1:]
    if pooling == "mean":
        return patches.mean(dim=1)
    variance, mean = torch.var_mean(patches, dim=1, correction=0)
    return torch.cat([mean, (variance + _EPS).sqrt()], dim=1)


class Classifier(nn.Module):
    """An encoder, pooled, normalised, and a linear layer on top.

    Pools what a probe pools: the encoder's last norm stays in place. (MAE's own fine-tuning leaves
    it out before the mean.)

    Parameters
    ----------
    encoder : Encoder
        Pre-trained or not.
    n_classes : int
        Number of classes K.
    pooling : {"mean", "moments", "token"}
        How tokens become one feature vector.

    Examples
    --------
    >>> import torch
    >>> encoder = Encoder((32, 32), 8, 1, embed_dim=64, depth=2, num_heads=4)
    >>> Classifier(encoder, n_classes=3)(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(self, encoder: Encoder, n_classes: int, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling: Pooling = pooling
        width = encoder.embed_dim * (2 if pooling == "moments" else 1)
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)  # as MAE: start from equal odds
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Classify normalised images (B, C, H, W), by the patches (B, N') kept: logits (B, K)."""
        features = pool_tokens(self.encoder(images, keep), self.pooling)
        # In half precision a few dozen values would be all that answers can have, and images tie.
        with torch.autocast(images.device.type, enabled=False):
            return self.head(self.fc_norm(features.to(self.head.weight.dtype)))
