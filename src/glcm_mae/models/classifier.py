"""A classifier on the encoder."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .vit import Encoder

Pooling = Literal["mean", "token"]


def pool_tokens(tokens: Tensor, pooling: Pooling) -> Tensor:
    """Make one feature vector of an image's tokens.

    Parameters
    ----------
    tokens : Tensor, (B, 1 + N, D)
        An encoder's output, class token first.
    pooling : {"mean", "token"}
        The mean over the patches, or the class token.

    Returns
    -------
    Tensor, (B, D)

    Examples
    --------
    >>> import torch
    >>> pool_tokens(torch.tensor([[[9.0], [1.0], [3.0]]]), "mean").tolist()
    [[2.0]]
    """
    return tokens[:, 0] if pooling == "token" else tokens[:, 1:].mean(dim=1)


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
    pooling : {"mean", "token"}
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
        self.fc_norm = nn.LayerNorm(encoder.embed_dim, eps=1e-6)
        self.head = nn.Linear(encoder.embed_dim, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)  # as MAE: start from equal odds
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: (B, C, H, W) to logits (B, K)."""
        return self.head(self.fc_norm(pool_tokens(self.encoder(images), self.pooling)))
