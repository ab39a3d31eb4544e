"""Pre-training: masked autoencoding with any mix of pixel and texture terms."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import Augment, Manifest
from glcm_mae.errors import UserError
from glcm_mae.models import (
    Encoder,
    EncoderConfig,
    Loss,
    MaskedAutoencoder,
    fill_decoder,
    fill_weights,
    save_encoder,
    write_tensors,
)
from glcm_mae.settings import (
    DataSettings,
    ObjectiveSettings,
    PretrainSettings,
    height_and_width,
)

from .encoders import check_weights, encoder_config, moments, note_licence
from .fabric import launch
from .gray_values import write_gray_values
from .inputs import Images, asked_split, manifest_of, read_images
from .means import Means
from .pretraining import Pretraining, anneal, assemble, weights_of
from .progress import Meter
from .run import Run
from .seen import write_seen
from .state import set_up, snapshot
from .step import Plan, augmentation, check_optimizer, make_step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Images from which the texture head learns the mean and deviation of its targets.
_SAMPLE = 256


def pretrain(settings: PretrainSettings) -> Path:
    """Pre-train a masked autoencoder and write its encoder.

    The run's folder then holds ``encoder.safetensors`` and ``config.json`` (for the next stages),
    ``decoder.safetensors`` (to redraw images), ``log.jsonl`` (a line an epoch: each term's mean
    over its steps, before weighting, and the learning rate of its last step), ``settings.yaml``,
    ``seen.csv`` (fingerprints of what was trained on, so that no later stage tests on it) and
    ``gray_values.csv`` (how often each occurs there).

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
    check_settings(settings)
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    manifest, held_out = _training_part(settings.data)
    fabric = launch(settings.hardware, idle_weights=_idle_weights(settings.objective))
    images = read_images(settings.data, manifest, quiet=fabric.global_rank > 0)
    _check_phases(settings, len(images), fabric.world_size)
    everything = np.arange(len(images))
    mean, deviation = moments(images.pixels, everything)
    config = encoder_config(settings.model, settings.data, images.pixels.shape[1], mean, deviation)
    torch.manual_seed(settings.seed)
    augment = augmentation(settings.data, settings.augment)
    model = _build(settings, config, images, augment)
    facts: dict[str, object] = {
        "images": len(images),
        "skipped": images.skipped,
        "held_out": held_out,
        "device": str(fabric.device),
    }
    if settings.init is not None:
        facts["decoder"] = _start_from(settings.init, model.mae, quiet=not fabric.is_global_zero)
    if fabric.is_global_zero:
        run.begin()
        write_seen(run.folder, images, everything, settings.init)
        write_gray_values(run.folder, images, everything)
    fabric.barrier()  # whoever looks for a checkpoint finds those of other runs removed
    _train(fabric, run, settings, model, images, augment)
    if fabric.is_global_zero:
        encoder, rest = _split_weights(model)
        save_encoder(run.folder, encoder, config)
        write_tensors(run.folder / "decoder.safetensors", rest)
        run.finish(facts)
    fabric.barrier()  # whoever returns finds the run finished
    return run.folder


def check_settings(settings: PretrainSettings) -> None:
    """Refuse what makes no training, before any image is read.

    Parameters
    ----------
    settings : PretrainSettings
        See there.

    Raises
    ------
    UserError
        Naming the setting.
    """
    if not 0 < settings.mask_ratio < 1:
        raise UserError(f"mask_ratio is {settings.mask_ratio}: set it between 0 and 1.")
    height, width = height_and_width(settings.data.image_size)
    if height * width <= settings.model.patch_size**2:
        raise UserError(
            f"model.patch_size is {settings.model.patch_size} for images of {height}x{width}: that "
            "is one patch, and nothing is seen of it while it is hidden; set a smaller one."
        )
    if settings.objective.mse_first and not 0 < settings.objective.mse_first < 1:
        raise UserError("objective.mse_first is a share of the training: set it from 0 to below 1.")
    weights = weights_of(settings.objective)
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
    check_optimizer(settings.optimizer, settings.hardware.devices)
    augmentation(settings.data, settings.augment)
    if settings.init is not None:
        check_weights(settings.init, settings.model, settings.data)
    one_block = replace(settings.model, depth=1, decoder_depth=1)
    config = encoder_config(one_block, settings.data, 1, torch.zeros(1), torch.ones(1))
    assemble(config, one_block, settings.objective, settings.mask_ratio, (0.0, 1.0))


def _check_phases(settings: PretrainSettings, n_images: int, world: int) -> None:
    """Refuse a training so short that the terms behind ``mse_first`` never have their turn."""
    steps = Plan(n_images, settings.optimizer, settings.seed, 0, world).steps
    share = settings.objective.mse_first
    if share and steps * share > steps - 1:
        raise UserError(
            f"objective.mse_first {share} leaves none of the {steps} step(s) for the other terms: "
            "raise optimizer.epochs."
        )


def _idle_weights(objective: ObjectiveSettings) -> bool:
    """Whether a texture head waits for its phase, or nothing asks for the decoder's pixels."""
    return objective.mse_first > 0 or weights_of(objective).active == ("glcm_prediction",)


def _training_part(data: DataSettings) -> tuple[Manifest, int]:
    """All images, or without those of the validation and test part, and how many these are."""
    manifest = manifest_of(data)
    split = asked_split(data, manifest)
    part = manifest if split is None else manifest.subset(split.train)
    return part, len(manifest) - len(part)


def _build(
    settings: PretrainSettings, config: EncoderConfig, images: Images, augment: Augment
) -> Pretraining:
    """Make the model with its initial weights."""
    model = assemble(
        config, settings.model, settings.objective, settings.mask_ratio, _value_range(images)
    )
    if model.objective.head is not None:
        # Evenly, for images lie class by class. As they will be shown: crops of an image differ
        # more than whole images do.
        even = torch.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).round().long()
        model.objective.head.fit(augment(images.pixels[even]))
    return model


def _start_from(init: str, mae: MaskedAutoencoder, *, quiet: bool) -> str:
    """Fill in the weights of another training; say where the decoder's come from."""
    fill_weights(mae.encoder, Path(init))
    lacking = fill_decoder(mae, Path(init))
    said = f"of {init}" if lacking is None else f"random, for {lacking}"
    if not quiet:
        note_licence(init)
        print(f"The decoder's first weights are {said}.", file=sys.stderr)
    return said


def _value_range(images: Images) -> tuple[float, float]:
    least, greatest = images.extremes
    return float(least.min()), float(greatest.max())


def _train(
    fabric: Fabric,
    run: Run,
    settings: PretrainSettings,
    model: Pretraining,
    images: Images,
    augment: Augment,
) -> None:
    """Train in place, from the last checkpoint on if there is one."""
    plan = Plan(
        len(images), settings.optimizer, settings.seed, fabric.global_rank, fabric.world_size
    )
    state = run.load()
    start = int(state["step"]) if state else 0
    means = Means(state["means"] if state else None)
    wrapped, optimizer = set_up(fabric, model, settings.optimizer, state)
    if fabric.is_global_zero:
        run.rewind_log(start)
    value_range = settings.objective.texture.value_range or _value_range(images)
    wrapped.train()
    saved = time.monotonic()
    with Meter("pre-training", plan.steps, start, enabled=fabric.is_global_zero) as meter:
        for step in range(start, plan.steps):
            first = plan.steps * settings.objective.mse_first
            mse_only = step < first
            progress = max(0.0, step - first) / max(1.0, plan.steps - 1 - first)
            anneal(model.objective.glcm, settings.objective.texture, value_range, progress)

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
