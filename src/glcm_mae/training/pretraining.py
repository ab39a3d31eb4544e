"""The model that pre-training trains: the autoencoder with its objective, built from settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glcm_mae.errors import UserError
from glcm_mae.models import (
    EncoderConfig,
    Loss,
    MaskedAutoencoder,
    Objective,
    Reconstruction,
    TextureHead,
    Weights,
    fill_decoder,
    fill_weights,
    read_config,
)
from glcm_mae.settings import ModelSettings, ObjectiveSettings, TargetSettings, TextureSettings
from glcm_mae.texture import Binning, GLCMLoss, PairKernelLoss, PatchLoss, TransportLoss

from .encoders import build_encoder
from .run import settings_of


class Pretraining(nn.Module):
    """The autoencoder and its objective in one module, as distributed training wants it.

    Parameters
    ----------
    mae : MaskedAutoencoder
        What is trained.
    objective : Objective
        What it is trained for.
    mask_ratio : float
        Share of patches removed.
    """

    def __init__(self, mae: MaskedAutoencoder, objective: Objective, mask_ratio: float) -> None:
        super().__init__()
        self.mae, self.objective, self.mask_ratio = mae, objective, mask_ratio

    def forward(self, images: Tensor, mse_only: bool = False) -> Loss:
        """Loss of a batch of images (B, C, H, W) in [0, 1]."""
        out = self.mae(self.objective.normalize(images), self.mask_ratio)
        # In fp16 the gradients at the tokens, by whose norms terms are balanced, would vanish.
        full = Reconstruction(*(part.float() for part in out))
        return self.objective(images, full, mse_only)


def assemble(
    config: EncoderConfig,
    model: ModelSettings,
    objective: ObjectiveSettings,
    mask_ratio: float,
    value_range: tuple[float, float],
) -> Pretraining:
    """Build an autoencoder and its objective, with random weights.

    Parameters
    ----------
    config : EncoderConfig
        The encoder.
    model : ModelSettings
        The decoder.
    objective : ObjectiveSettings
        The terms and how they are added.
    mask_ratio : float
        Share of patches removed.
    value_range : (float, float)
        Ends of the gray scale of GLCMs whose settings leave them open.

    Returns
    -------
    Pretraining

    Raises
    ------
    UserError
        If a setting is out of its range, naming its group.
    """
    encoder = build_encoder(config)
    weights = weights_of(objective)
    with _named("model"):
        mae = MaskedAutoencoder(
            encoder,
            config.in_chans,
            model.decoder_embed_dim,
            model.decoder_depth,
            model.decoder_num_heads,
        )
    glcm, head = None, None
    if "glcm" in weights.active:
        with _named("objective.texture"):
            glcm = _texture_loss(objective.texture, config.patch_size, value_range)
    if "glcm_prediction" in weights.active:
        with _named("objective.target"):
            head = _texture_head(objective.target, model.decoder_embed_dim, config, value_range)
    terms = Objective(
        weights,
        config.patch_size,
        encoder.grid,
        torch.tensor(config.mean),
        torch.tensor(config.std),
        norm_pix_loss=objective.norm_pix_loss,
        glcm=glcm,
        head=head,
    )
    return Pretraining(mae, terms, mask_ratio)


def _texture_loss(
    texture: TextureSettings, patch_size: int, value_range: tuple[float, float]
) -> PatchLoss:
    ends = texture.value_range or value_range
    shared: dict[str, Any] = {
        "offsets": texture.offsets,
        "weights": texture.weights,
        "pool": texture.pool,
        "channels": texture.channels,
        "patch_size": patch_size,
    }
    if texture.form != "glcm" and (texture.scaled or texture.normalized):
        raise ValueError(f"scaled and normalized belong to the form glcm, not to {texture.form}.")
    if texture.form == "transport":
        if texture.bandwidth is not None or texture.bandwidth_end is not None:
            raise ValueError("the form transport has no bandwidth: leave bandwidth out.")
        return TransportLoss(**shared)
    loss: GLCMLoss | PairKernelLoss
    if texture.form == "pair_kernel":
        loss = PairKernelLoss(_first_bandwidth(texture, ends), value_range=ends, **shared)
    else:
        loss = GLCMLoss(
            texture.levels,
            kernel=texture.kernel,
            bandwidth=texture.bandwidth,
            value_range=ends,
            scaled=texture.scaled,
            normalized=texture.normalized,
            **shared,
        )
    for progress in (1.0, 0.0):  # so that a wrong end is found now and not at the end
        anneal(loss, texture, ends, progress)
    return loss


def anneal(
    loss: PatchLoss | None,
    texture: TextureSettings,
    value_range: tuple[float, float],
    progress: float,
) -> None:
    """Set the bandwidth of a texture loss on its way from ``bandwidth`` to ``bandwidth_end``.

    Each step multiplies it by the same factor. Without an end it stays as it is.

    Parameters
    ----------
    loss : PatchLoss or None
        Of `assemble`.
    texture : TextureSettings
        The bandwidths.
    value_range : (float, float)
        Ends of the gray scale.
    progress : float
        Share of the steps with this loss that are behind, 0 to 1.

    Examples
    --------
    >>> loss = PairKernelLoss()
    >>> anneal(loss, TextureSettings(bandwidth=0.1, bandwidth_end=0.001), (0.0, 1.0), 0.5)
    >>> round(loss.bandwidth, 6)
    0.01
    """
    if texture.bandwidth_end is None or not isinstance(loss, GLCMLoss | PairKernelLoss):
        return
    if not texture.bandwidth_end > 0:
        raise ValueError(f"bandwidth_end is {texture.bandwidth_end}: set it above 0.")
    start = _first_bandwidth(texture, value_range)
    loss.anneal(start * (texture.bandwidth_end / start) ** progress)


def _first_bandwidth(texture: TextureSettings, value_range: tuple[float, float]) -> float:
    if texture.bandwidth is not None:
        return texture.bandwidth
    if texture.form == "glcm":
        raise ValueError("bandwidth_end needs a bandwidth to begin with: set both.")
    return 0.05 * (value_range[1] - value_range[0])


def _texture_head(
    target: TargetSettings, width: int, config: EncoderConfig, value_range: tuple[float, float]
) -> TextureHead:
    binning = Binning(
        target.levels, target.kernel, target.bandwidth, target.value_range or value_range
    )
    return TextureHead(
        width,
        binning,
        tuple(target.offsets),
        config.in_chans,
        config.patch_size,
        config.grid,
        scope=target.scope,
        descriptor=target.descriptor,
        relative=target.relative,
        whitened=target.whitened,
        kept=target.kept,
    )


def weights_of(objective: ObjectiveSettings) -> Weights:
    """Collect the weights of all terms from the settings."""
    by_term = {
        "mse": objective.mse,
        "ssim": objective.ssim,
        "glcm": objective.glcm,
        "glcm_prediction": objective.glcm_prediction,
    }
    return Weights(by_term, objective.balance)


def load_run(folder: Path) -> Pretraining:
    """Build the model of a finished run and fill in encoder and decoder.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    Pretraining
        In evaluation mode.

    Raises
    ------
    UserError
        If the folder is not that of a finished pre-training.
    """
    config = read_config(folder)
    if not (folder / "decoder.safetensors").is_file():
        raise UserError(f"{folder} holds no decoder: give the folder of a finished pretrain run.")
    written = settings_of(folder)
    try:
        norm_pix_loss = bool(written["objective"]["norm_pix_loss"])
        mask_ratio = float(written["mask_ratio"])
        model = {n: v for n, v in written["model"].items() if n.startswith("decoder_")}
        decoder = ModelSettings(**model)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / 'settings.yaml'} does not tell how the run was trained: copy it anew."
        ) from error
    # To redraw images no term is needed, whatever the run was trained for.
    pixels_alone = ObjectiveSettings(glcm_prediction=0.0, norm_pix_loss=norm_pix_loss)
    pretraining = assemble(config, decoder, pixels_alone, mask_ratio, (0.0, 1.0))
    fill_weights(pretraining.mae.encoder, folder)
    lacking = fill_decoder(pretraining.mae, folder)
    if lacking is not None:
        raise UserError(f"{lacking}; copy {folder} anew.")
    return pretraining.eval()


@contextmanager
def _named(group: str) -> Iterator[None]:
    """Turn the complaint of a model or a loss about its settings into the user's."""
    try:
        yield
    except ValueError as error:
        said = str(error)
        raise UserError(said if said.startswith(group) else f"{group}: {said}") from error
