"""Pre-training: masked autoencoding with any mix of pixel and texture terms."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from glcm_mae.data import Manifest, holdout, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import (
    Encoder,
    EncoderConfig,
    Loss,
    MaskedAutoencoder,
    Objective,
    Reconstruction,
    TextureHead,
    Weights,
    fill_weights,
    read_config,
    save_encoder,
    write_tensors,
)
from glcm_mae.settings import (
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    PretrainSettings,
    TargetSettings,
    TextureSettings,
)
from glcm_mae.texture import Binning, GLCMLoss

from .fabric import launch
from .inputs import Images, build_encoder, encoder_config, moments, read_images
from .means import Means
from .progress import Meter
from .run import Run
from .seen import write_seen
from .state import set_up, snapshot
from .step import Plan, augmentation, check_optimizer, make_step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Images from which the texture head learns the mean and deviation of its targets.
_SAMPLE = 256


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


def pretrain(settings: PretrainSettings) -> Path:
    """Pre-train a masked autoencoder and write its encoder.

    The run's folder then holds ``encoder.safetensors`` and ``config.json`` (for the next stages),
    ``decoder.safetensors`` (to redraw images), ``log.jsonl`` (a line an epoch: each term's mean
    over its steps, before weighting, and the learning rate of its last step), ``settings.yaml``
    and ``seen.csv`` (fingerprints of what was trained on, so that no later stage tests on it).

    Everything random in a step follows from the seed and the step's number, so that a resumed run
    ends as one that was never interrupted.

    Parameters
    ----------
    settings : PretrainSettings
        See there.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        If the settings or the images do not allow it, or the loss is no longer a number.
    """
    _check(settings)
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    manifest = _training_part(settings.data)
    fabric = launch(settings.hardware, idle_weights=_idle_weights(settings.objective))
    images = read_images(settings.data, manifest, quiet=fabric.global_rank > 0)
    config = encoder_config(
        settings.model, settings.data, images.pixels.shape[1], *moments(images.pixels)
    )
    torch.manual_seed(settings.seed)
    model = _build(settings, config, images.pixels)
    if fabric.is_global_zero:
        run.begin()
        write_seen(run.folder, images, np.arange(len(images)), settings.init)
    _train(fabric, run, settings, model, images)
    if fabric.is_global_zero:
        encoder, rest = _split_weights(model)
        save_encoder(run.folder, encoder, config)
        write_tensors(run.folder / "decoder.safetensors", rest)
        run.finish({"images": len(images), "device": str(fabric.device)})
    fabric.barrier()  # whoever returns finds the run finished
    return run.folder


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
    try:
        rest = load_file(folder / "decoder.safetensors")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder / 'decoder.safetensors'} cannot be read ({error}): copy it anew."
        ) from error
    written = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    norm_pix_loss = bool(written["objective"]["norm_pix_loss"])
    decoder = ModelSettings(
        **{name: value for name, value in written["model"].items() if name.startswith("decoder_")}
    )
    # To redraw images no term is needed, whatever the run was trained for.
    pixels_alone = ObjectiveSettings(glcm_prediction=0.0, norm_pix_loss=norm_pix_loss)
    model = _assemble(config, decoder, pixels_alone, written["mask_ratio"], (0.0, 1.0))
    fill_weights(model.mae.encoder, folder)
    model.load_state_dict(
        {name: tensor for name, tensor in rest.items() if name.startswith("mae.")}, strict=False
    )
    return model.eval()


def _check(settings: PretrainSettings) -> None:
    """Refuse what makes no training, before any image is read."""
    if not 0 < settings.mask_ratio < 1:
        raise UserError(f"mask_ratio is {settings.mask_ratio}: set it between 0 and 1.")
    if settings.objective.mse_first and not 0 < settings.objective.mse_first < 1:
        raise UserError("objective.mse_first is a share of the training: set it from 0 to below 1.")
    weights = _weights(settings.objective)
    if not weights.active:
        raise UserError(
            "objective has no term: give one of mse, ssim, glcm, glcm_prediction weight."
        )
    for name, weight in weights.by_term.items():
        if not 0 <= weight < math.inf:
            raise UserError(f"objective.{name} is {weight}: set it to 0 or more.")
    if not settings.checkpoint_minutes >= 0:
        raise UserError(
            f"checkpoint_minutes is {settings.checkpoint_minutes}: set it to 0 or more."
        )
    check_optimizer(settings.optimizer)
    augmentation(settings.data, settings.augment)
    one_block = replace(settings.model, depth=1, decoder_depth=1)
    config = encoder_config(one_block, settings.data, 1, torch.zeros(1), torch.ones(1))
    _assemble(config, one_block, settings.objective, settings.mask_ratio, (0.0, 1.0))


def _idle_weights(objective: ObjectiveSettings) -> bool:
    """Whether a texture head waits for its phase, or nothing asks for the decoder's pixels."""
    return objective.mse_first > 0 or _weights(objective).active == ("glcm_prediction",)


def _weights(objective: ObjectiveSettings) -> Weights:
    by_term = {
        "mse": objective.mse,
        "ssim": objective.ssim,
        "glcm": objective.glcm,
        "glcm_prediction": objective.glcm_prediction,
    }
    return Weights(by_term, objective.balance)


def _training_part(data: DataSettings) -> Manifest:
    """All images, or without those of the validation and test part where a fold is held out."""
    manifest = read_manifest(data.images, data.patient_regex)
    if data.fold is None and not any(record.split for record in manifest.records):
        return manifest
    return manifest.subset(holdout(manifest, data.folds, data.fold or 0, data.split_seed).train)


def _build(settings: PretrainSettings, config: EncoderConfig, pixels: Tensor) -> Pretraining:
    """Make the model with its initial weights."""
    value_range = float(pixels.min()), float(pixels.max())
    model = _assemble(config, settings.model, settings.objective, settings.mask_ratio, value_range)
    if settings.init is not None:
        fill_weights(model.mae.encoder, Path(settings.init))
    if model.objective.head is not None:
        step = max(1, len(pixels) // _SAMPLE)
        model.objective.head.fit(pixels[::step][:_SAMPLE])
    return model


def _assemble(
    config: EncoderConfig,
    model: ModelSettings,
    objective: ObjectiveSettings,
    mask_ratio: float,
    value_range: tuple[float, float],
) -> Pretraining:
    encoder = build_encoder(config)
    weights = _weights(objective)
    try:
        mae = MaskedAutoencoder(
            encoder,
            config.in_chans,
            model.decoder_embed_dim,
            model.decoder_depth,
            model.decoder_num_heads,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        glcm = (
            _texture_loss(objective.texture, config.patch_size, value_range)
            if "glcm" in weights.active
            else None
        )
        head = (
            _texture_head(objective.target, model.decoder_embed_dim, config, value_range)
            if "glcm_prediction" in weights.active
            else None
        )
    except ValueError as error:
        raise UserError(f"objective: {error}") from error
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
) -> GLCMLoss:
    return GLCMLoss(
        texture.levels,
        texture.offsets,
        texture.kernel,
        texture.bandwidth,
        texture.value_range or value_range,
        scaled=texture.scaled,
        normalized=texture.normalized,
        pool=texture.pool,
        channels=texture.channels,
        patch_size=patch_size,
    )


def _texture_head(
    target: TargetSettings, width: int, config: EncoderConfig, value_range: tuple[float, float]
) -> TextureHead:
    binning = Binning(
        target.levels, target.kernel, target.bandwidth, target.value_range or value_range
    )
    return TextureHead(width, binning, tuple(target.offsets), config.in_chans, config.patch_size)


def _train(
    fabric: Fabric, run: Run, settings: PretrainSettings, model: Pretraining, images: Images
) -> None:
    """Train in place, from the last checkpoint on if there is one."""
    plan = Plan(
        len(images), settings.optimizer, settings.seed, fabric.global_rank, fabric.world_size
    )
    augment = augmentation(settings.data, settings.augment)
    state = run.load()
    start = int(state["step"]) if state else 0
    means = Means(state["means"] if state else None)
    wrapped, optimizer = set_up(fabric, model, settings.optimizer, state)
    if fabric.is_global_zero:
        run.rewind_log(start)
    wrapped.train()
    saved = time.monotonic()
    with Meter("pre-training", plan.steps, start, enabled=fabric.is_global_zero) as meter:
        for step in range(start, plan.steps):
            mse_only = step < plan.steps * settings.objective.mse_first

            def loss_of(members: Tensor, mse_only: bool = mse_only) -> Loss:
                return wrapped(augment(fabric.to_device(images.pixels[members])), mse_only)

            terms = make_step(fabric, wrapped, optimizer, plan, step, loss_of)
            meter.advance(plan.images_per_step, terms)
            means.add(terms)
            done = step + 1
            if not fabric.is_global_zero:
                continue
            if done % plan.steps_per_epoch == 0:
                pace = round(meter.images_per_second, 1)
                place = {"step": done, "epoch": done // plan.steps_per_epoch}
                rate = plan.rate(step)
                run.log({**place, "lr": rate, "images_per_second": pace, **means.take()})
            if time.monotonic() - saved >= 60 * settings.checkpoint_minutes:
                counts = {"step": done, "means": means.sums}
                run.save({**counts, **snapshot(fabric, model, optimizer)})
                saved = time.monotonic()


def _split_weights(model: Pretraining) -> tuple[Encoder, dict[str, Tensor]]:
    rest = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("mae.encoder.")
    }
    return model.mae.encoder, rest
