"""The terms of the pre-training objective, and how they are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from glcm_mae.texture import PatchLoss

from .mae import Reconstruction
from .patches import patchify, spread_mask, unpatchify
from .ssim import ssim_map
from .texture_head import TextureHead

TERMS = ("mse", "ssim", "glcm", "glcm_prediction")


@dataclass(frozen=True)
class Weights:
    """How the terms are added.

    Parameters
    ----------
    by_term : mapping of str to float
        Weight of each term in `TERMS`; 0 leaves it out.
    balance : {"fixed", "gradient_norm"}
        "gradient_norm" first scales each term so that its gradient at the decoder's last tokens
        has the norm of the first term's (in the order of `TERMS`; of those that have a gradient).

    Raises
    ------
    ValueError
        If there is no such term or balance.

    Examples
    --------
    >>> Weights({"glcm": 1.0, "mse": 0.1, "ssim": 0.0}).active
    ('mse', 'glcm')
    """

    by_term: Mapping[str, float]
    balance: Literal["fixed", "gradient_norm"] = "fixed"

    def __post_init__(self) -> None:
        for name in self.by_term:
            if name not in TERMS:
                raise ValueError(f"there is no term {name!r}: choose among {', '.join(TERMS)}.")
        if self.balance not in ("fixed", "gradient_norm"):
            raise ValueError(f"balance is {self.balance!r}: choose fixed or gradient_norm.")

    @property
    def active(self) -> tuple[str, ...]:
        """The terms whose weight is not 0."""
        return tuple(name for name in TERMS if self.by_term.get(name, 0.0))


class Loss(NamedTuple):
    """The sum that is minimised, and each term by itself before weighting."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """Compare a reconstruction with the images it was made from.

    Pixels are compared in the network's normalised units (mse), everything else on images in
    [0, 1]. All terms are means over what was removed (texture prediction may ask for the kept
    patches, too), computed in float32 whatever the autocast.

    Parameters
    ----------
    weights : Weights
        Which terms, and how they are added.
    patch_size : int
        Side of a patch.
    grid : (int, int)
        Patches per column and row.
    mean, std : Tensor or sequence of float, (C,)
        With which images in [0, 1] were normalised; std above 0.
    norm_pix_loss : bool
        Take what the network predicts for a patch up to brightness and contrast: for mse the target
        patch is normalised to mean 0 and variance 1 (He et al. 2022, section 4.1), for ssim and
        glcm the predicted patch gets mean and variance of the target (`redraw`).
    glcm : PatchLoss, optional
        GLCMLoss, PairKernelLoss or TransportLoss: needed for the term glcm.
    head : TextureHead, optional
        Needed for the term glcm_prediction.

    Raises
    ------
    ValueError
        If a term has weight and what it needs is not given, or is of another patch size, or a std
        is not above 0.

    Examples
    --------
    >>> from glcm_mae.models import Encoder, MaskedAutoencoder
    >>> from glcm_mae.texture import GLCMLoss
    >>> mae = MaskedAutoencoder(Encoder((32, 32), 8, 1, 64, 2, 4), 1, 32, 1, 2)
    >>> weights = Weights({"mse": 0.1, "glcm": 1.0})
    >>> mean, std = torch.tensor([0.5]), torch.tensor([0.25])
    >>> objective = Objective(weights, 8, (4, 4), mean, std, glcm=GLCMLoss(patch_size=8))
    >>> images = torch.rand(2, 1, 32, 32)
    >>> loss = objective(images, mae(objective.normalize(images)))
    >>> list(loss.terms), loss.total.requires_grad
    (['mse', 'glcm'], True)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: Weights,
        patch_size: int,
        grid: tuple[int, int],
        mean: Tensor | Sequence[float],
        std: Tensor | Sequence[float],
        *,
        norm_pix_loss: bool = False,
        glcm: PatchLoss | None = None,
        head: TextureHead | None = None,
    ) -> None:
        super().__init__()
        parts: dict[str, PatchLoss | TextureHead | None] = {"glcm": glcm, "glcm_prediction": head}
        for name in parts.keys() & set(weights.active):
            part = parts[name]
            if part is None:
                given = "a GLCMLoss as glcm" if name == "glcm" else "a TextureHead as head"
                raise ValueError(f"the term {name} has weight: give {given}.")
            if part.patch_size != patch_size:
                raise ValueError(
                    f"the {type(part).__name__} is of patches of {part.patch_size} pixels and the "
                    f"objective of {patch_size}: give both the same patch_size."
                )
        self.weights, self.patch_size, self.grid = weights, patch_size, grid
        self.norm_pix_loss, self.glcm, self.head = norm_pix_loss, glcm, head
        for name, moments in (("mean", mean), ("std", std)):
            own = moments if isinstance(moments, Tensor) else torch.Tensor(list(moments))
            self.register_buffer(name, own.view(1, -1, 1, 1))
        if not (self.std > 0).all():
            raise ValueError(f"std is {std}: give numbers above 0.")

    def normalize(self, images: Tensor) -> Tensor:
        """Bring images in [0, 1] to the network's units."""
        return (images - self.mean) / self.std

    def redraw(self, images: Tensor, out: Reconstruction) -> Tensor:
        """Put the predicted patches where patches were removed: images (B, C, H, W) in [0, 1].

        With `norm_pix_loss` the network predicts each patch up to brightness and contrast, which
        are then taken from the true patch.
        """
        patches = out.patches.float()
        if self.norm_pix_loss:
            target = patchify(self.normalize(images), self.patch_size)
            centre, spread = _moments(target)
            patches = patches * spread + centre
        drawn = unpatchify(patches, self.patch_size, self.grid) * self.std + self.mean
        return torch.where(spread_mask(out.mask, self.patch_size, self.grid) > 0, drawn, images)

    def forward(self, images: Tensor, out: Reconstruction, mse_only: bool = False) -> Loss:
        """Compute the terms and their sum.

        Parameters
        ----------
        images : Tensor, (B, C, H, W)
            True images in [0, 1].
        out : Reconstruction
            What the autoencoder made of them.
        mse_only : bool
            Use mse alone, with weight 1.

        Returns
        -------
        Loss

        Raises
        ------
        RuntimeError
            With balance gradient_norm, if the patches were not made of these tokens, or the
            autoencoder was compiled.
        """
        with torch.autocast(images.device.type, enabled=False):
            return self._in_float32(images, out, mse_only)

    def _in_float32(self, images: Tensor, out: Reconstruction, mse_only: bool) -> Loss:
        names = ("mse",) if mse_only else self.weights.active
        drawn = self.redraw(images, out) if {"ssim", "glcm"} & set(names) else images
        terms = {name: self._term(name, images, drawn, out) for name in names}
        if mse_only:
            return Loss(terms["mse"], terms)
        scales = self._scales(terms, out.tokens)
        total = sum(
            (self.weights.by_term[name] * scales[name] * term for name, term in terms.items()),
            start=torch.zeros((), device=images.device),
        )
        return Loss(total, terms)

    def _term(self, name: str, images: Tensor, drawn: Tensor, out: Reconstruction) -> Tensor:
        if name == "mse":
            return self._squared_error(images, out)
        if name == "ssim":
            return _ssim_distance(drawn, images, spread_mask(out.mask, self.patch_size, self.grid))
        if name == "glcm":
            assert self.glcm is not None  # __init__ has seen to it
            return self.glcm(drawn, images, out.mask)
        assert self.head is not None
        return self.head.loss(out.tokens, images, out.mask)

    def _squared_error(self, images: Tensor, out: Reconstruction) -> Tensor:
        target = patchify(self.normalize(images), self.patch_size)
        if self.norm_pix_loss:
            centre, spread = _moments(target)
            target = (target - centre) / spread
        error = (out.patches.float() - target).square().mean(dim=-1)  # (B, N)
        return (error * out.mask).sum() / out.mask.sum().clamp_min(1)

    def _scales(self, terms: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor | float]:
        """Factors that give every term's gradient at the tokens the norm of the first one's."""
        learning = tokens.requires_grad and torch.is_grad_enabled()
        if self.weights.balance == "fixed" or not learning:
            return dict.fromkeys(terms, 1.0)
        norms = torch.stack([_norm_of_gradient(term, tokens) for term in terms.values()])
        learns = norms > 1e-12  # a term without gradient has nothing to scale up
        first = norms[learns.int().argmax()]
        return dict(zip(terms, torch.where(learns, first / norms, 1.0), strict=True))


def _norm_of_gradient(term: Tensor, tokens: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(term, tokens, retain_graph=True, allow_unused=True)
    if gradient is None:  # tokens and patches are two outputs of one piece, and tell no way between
        raise RuntimeError(
            "balance gradient_norm finds no way from a term to out.tokens: give the very tensor "
            "that the patches were made of, and no view of it; wrap an autoencoder in "
            "DistributedDataParallel together with the objective, and leave it uncompiled; or set "
            "balance to fixed."
        )
    return gradient.float().norm()


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch, as MAE takes them: (B, N, 1) each."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def _ssim_distance(drawn: Tensor, images: Tensor, removed: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004, window 11), averaged over the removed pixels."""
    similarity = ssim_map(drawn, images).mean(dim=1, keepdim=True)
    return ((1 - similarity) * removed).sum() / removed.sum().clamp_min(1)
