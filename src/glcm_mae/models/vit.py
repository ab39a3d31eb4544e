"""The pieces of a vision transformer: patch embedding, positions, attention, block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# name: (embed_dim, depth, num_heads), as in Touvron et al. 2021 (Ti, S) and Dosovitskiy et al.
# 2021 (B, L).
SIZES = {
    "vit-ti": (192, 12, 3),
    "vit-s": (384, 12, 6),
    "vit-b": (768, 12, 12),
    "vit-l": (1024, 24, 16),
}


class PatchEmbed(nn.Module):
    """Cut images into patches and project each to a token: (B, C, H, W) to (B, N, D).

    Parameters
    ----------
    patch_size : int
        Side of a patch, in pixels.
    in_chans : int
        Channels C.
    embed_dim : int
        Token width D.

    Examples
    --------
    >>> PatchEmbed(8, 1, 32)(torch.rand(2, 1, 16, 24)).shape
    torch.Size([2, 6, 32])
    """

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Project each patch."""
        return self.proj(images).flatten(2).transpose(1, 2)


def sincos_positions(embed_dim: int, grid: tuple[int, int]) -> Tensor:
    """Embed the places of a grid by sines and cosines, and the class token by zeros.

    Half of the width tells the column, half the row, each as in Vaswani et al. 2017, section 3.5,
    sines before cosines; the order of the MAE checkpoints (He et al. 2022).

    Parameters
    ----------
    embed_dim : int
        Width D, a multiple of 4.
    grid : (int, int)
        Patches per column and row.

    Returns
    -------
    Tensor, (1, 1 + N, D)

    Examples
    --------
    >>> sincos_positions(8, (2, 3)).shape
    torch.Size([1, 7, 8])
    """
    quarter = embed_dim // 4
    frequency = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (x, y)]
    places = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)  # (N, D)
    return torch.cat([torch.zeros(1, embed_dim), places.float()])[None]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2): (B, N, D) to (B, N, D)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token attend to every other."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, D / heads)
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between: (B, N, D) to (B, N, D)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each token by itself."""
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Skip a residual branch for a random part of the samples (Huang et al. 2016).

    Parameters
    ----------
    rate : float
        Share of samples whose branch is skipped in training; the others are scaled up to keep
        the mean.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Drop whole samples of ``branch`` (B, ...)."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        shape = (len(branch),) + (1,) * (branch.ndim - 1)
        return branch * branch.new_empty(shape).bernoulli_(keep) / keep


class Block(nn.Module):
    """Pre-norm transformer block (Dosovitskiy et al. 2021, eqs. 2-3)."""

    def __init__(self, dim: int, num_heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Add attention, then the MLP."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Encoder(nn.Module):
    """A vision transformer up to its last norm, with the key names of the MAE and timm ViTs.

    Parameters
    ----------
    image_size : (int, int)
        Height and width, in pixels.
    patch_size : int
        Side of a patch; divides both.
    in_chans : int
        Channels.
    embed_dim, depth, num_heads : int
        Token width, number of blocks, attention heads.
    drop_path : float
        Rate of the last block; earlier ones rise to it linearly from 0.

    Raises
    ------
    ValueError
        If a number is below 1, the sizes do not divide, or drop_path is no rate.

    Examples
    --------
    >>> encoder = Encoder((32, 48), 8, 1, embed_dim=64, depth=2, num_heads=4)
    >>> encoder(torch.rand(2, 1, 32, 48)).shape  # class token and 24 patches
    torch.Size([2, 25, 64])
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("patch_size", patch_size), ("depth", depth)):
            if value < 1:
                raise ValueError(f"model.{name} is {value}: set it to 1 or more.")
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is {drop_path}: set it from 0 to below 1.")
        height, width = image_size
        if height % patch_size or width % patch_size:
            raise ValueError(
                f"model.patch_size {patch_size} does not divide images of {height}x{width} "
                "pixels: choose one that divides both sides."
            )
        check_width("model.", embed_dim, num_heads)
        self.image_size = (height, width)
        self.patch_size = patch_size
        self.grid = (height // patch_size, width // patch_size)
        self.embed_dim = embed_dim
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(sincos_positions(embed_dim, self.grid), requires_grad=False)
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        nn.init.normal_(self.cls_token, std=0.02)
        initialize(self)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode the kept patches of each image.

        Parameters
        ----------
        images : Tensor, (B, C, H, W)
            Normalised images.
        keep : Tensor of int64, (B, K), optional
            Which patches to keep. Default: all.

        Returns
        -------
        Tensor, (B, 1 + K, D)
            The class token first.

        Raises
        ------
        ValueError
            If the images are of another size: they would get the positions of other places.
        """
        if images.shape[-2:] != self.image_size:
            raise ValueError(
                f"images are {tuple(images.shape)}: this encoder takes (B, C, H, W) of "
                f"{self.image_size[0]}x{self.image_size[1]} pixels."
            )
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        token = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([token, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def check_width(prefix: str, embed_dim: int, num_heads: int) -> None:
    """Refuse a token width that its heads, or sines and cosines in two directions, cannot share.

    Parameters
    ----------
    prefix : str
        Of the settings' names in the message: "model." or "model.decoder_".
    embed_dim, num_heads : int
        Token width and attention heads.

    Raises
    ------
    ValueError
        If it cannot be shared.
    """
    if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads or embed_dim % 4:
        raise ValueError(
            f"{prefix}embed_dim {embed_dim} must be a multiple of 4 and of {prefix}num_heads "
            f"{num_heads}."
        )


def initialize(module: nn.Module) -> None:
    """Initialise as MAE does: Xavier uniform for linear layers and the patch projection.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            # As the linear layer that it is: (D, C * p * p).
            nn.init.xavier_uniform_(part.proj.weight.data.flatten(1))
