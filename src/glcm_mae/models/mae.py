"""The masked autoencoder: hide patches, encode the rest, redraw what was hidden."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .vit import Block, Encoder, check_width, initialize, sincos_positions


class Reconstruction(NamedTuple):
    """What the decoder makes of a batch.

    Attributes
    ----------
    patches : Tensor, (B, N, p * p * C)
        Predicted pixels of every patch.
    tokens : Tensor, (B, N, decoder width)
        The decoder's last tokens, from which they are predicted.
    mask : Tensor, (B, N)
        1 where a patch was removed.
    """

    patches: Tensor
    tokens: Tensor
    mask: Tensor


class MaskedAutoencoder(nn.Module):
    """A ViT masked autoencoder (He et al. 2022); the decoder's parameters are named as in theirs.

    Parameters
    ----------
    encoder : Encoder
        The part that is kept after pre-training.
    in_chans : int
        Channels of the images.
    decoder_embed_dim, decoder_depth, decoder_num_heads : int
        The decoder's width, blocks and heads.

    Raises
    ------
    ValueError
        If the decoder's width does not divide into its heads, or its depth is below 0.

    References
    ----------
    He, Chen, Xie, Li, Dollar, Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR
    2022, arXiv 2111.06377.

    Examples
    --------
    >>> encoder = Encoder((32, 32), 8, 1, embed_dim=64, depth=2, num_heads=4)
    >>> mae = MaskedAutoencoder(encoder, 1, 32, 1, 2)
    >>> out = mae(torch.rand(2, 1, 32, 32), mask_ratio=0.75)
    >>> out.patches.shape, out.mask.sum(dim=1).tolist()
    (torch.Size([2, 16, 64]), [12.0, 12.0])
    """

    def __init__(
        self,
        encoder: Encoder,
        in_chans: int,
        decoder_embed_dim: int,
        decoder_depth: int,
        decoder_num_heads: int,
    ) -> None:
        super().__init__()
        check_width("model.decoder_", decoder_embed_dim, decoder_num_heads)
        if decoder_depth < 0:
            raise ValueError(f"model.decoder_depth is {decoder_depth}: set it to 0 or more.")
        self.encoder = encoder
        self.decoder_embed = nn.Linear(encoder.embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = nn.Parameter(
            sincos_positions(decoder_embed_dim, encoder.grid), requires_grad=False
        )
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_embed_dim, decoder_num_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_embed_dim, encoder.patch_size**2 * in_chans)
        nn.init.normal_(self.mask_token, std=0.02)
        for part in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            initialize(part)

    def forward(
        self, images: Tensor, mask_ratio: float = 0.75, noise: Tensor | None = None
    ) -> Reconstruction:
        """Hide patches and redraw them.

        Parameters
        ----------
        images : Tensor, (B, C, H, W)
            Normalised images.
        mask_ratio : float
            Share of patches to remove, to the nearest patch (MAE's release rounds the kept ones
            down). Above 0 at least one is removed; of two or more, one is kept.
        noise : Tensor, (B, N), optional
            The patches with the smallest values are kept. Default: random.

        Returns
        -------
        Reconstruction

        Raises
        ------
        ValueError
            If the ratio is no share, or the noise not of one number a patch.
        """
        n = self.encoder.grid[0] * self.encoder.grid[1]
        if not 0 <= mask_ratio <= 1:
            raise ValueError(f"mask_ratio is {mask_ratio}: give a share between 0 and 1.")
        if noise is None:
            noise = torch.rand(len(images), n, device=images.device)
        if noise.shape != (len(images), n):
            raise ValueError(f"noise is {tuple(noise.shape)}: give {(len(images), n)}, (B, N).")
        order = noise.argsort(dim=1)
        most = n - 1 if mask_ratio > 0 else n
        keep = order[:, : min(most, max(1, round(n * (1 - mask_ratio))))]  # (B, K)
        mask = noise.new_ones(noise.shape).scatter_(1, keep, 0)
        tokens = self.decode(self.encoder(images, keep), keep)
        # Not under autocast: texture is finer than the steps of bfloat16.
        with torch.autocast(tokens.device.type, enabled=False):
            patches = self.decoder_pred(tokens.to(self.decoder_pred.weight.dtype))
        return Reconstruction(patches, tokens, mask)

    def decode(self, encoded: Tensor, keep: Tensor) -> Tensor:
        """Fill mask tokens in for the removed patches and run the decoder.

        Parameters
        ----------
        encoded : Tensor, (B, 1 + K, D)
            Class token and kept patches.
        keep : Tensor of int64, (B, K)
            Which patches were kept.

        Returns
        -------
        Tensor, (B, N, decoder width)
        """
        x = self.decoder_embed(encoded)
        batch, width = len(x), x.shape[-1]
        n = self.decoder_pos_embed.shape[1] - 1
        places = keep[..., None].expand(-1, -1, width)
        full = self.mask_token.to(x.dtype).expand(batch, n, width).scatter(1, places, x[:, 1:])
        x = torch.cat([x[:, :1], full], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_norm(x)[:, 1:]
