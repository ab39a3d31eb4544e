"""Fine-tuning: train a classifier, encoder and all, and predict the test part."""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.data import Split
from glcm_mae.errors import UserError
from glcm_mae.models import Classifier, EncoderConfig, Loss, save_encoder, write_tensors
from glcm_mae.settings import FinetuneSettings

from .encoders import check_encoder, encoder_or_random, note_licence
from .fabric import launch
from .gray_values import write_gray_values
from .inputs import (
    Images,
    check_classes,
    check_sides,
    labelled,
    read_images,
    split_of,
    tell_lacking_classes,
)
from .logits import logits_of, probabilities
from .means import Means
from .progress import Meter
from .run import Run
from .seen import refuse_seen, tell_copies, write_seen
from .state import set_up, snapshot
from .step import Plan, augmentation, check_optimizer, make_step
from .tables import prediction_tables

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class NormalizedClassifier(nn.Module):
    """A classifier that takes images in [0, 1]: its normalisation is part of it.

    Parameters
    ----------
    classifier : Classifier
        Takes normalised images.
    config : EncoderConfig
        Its normalisation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, config: EncoderConfig) -> None:
        super().__init__()
        self.classifier = classifier
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name)).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Classify images (B, C, H, W) in [0, 1], by the patches kept: logits (B, K)."""
        return self.classifier((images - self.mean) / self.std, keep)


def finetune(settings: FinetuneSettings) -> Path:
    """Fine-tune a classifier and write its predictions for the test part.

    Training stops when the loss on the validation part has not fallen for `patience` epochs; the
    weights of its lowest point are kept. The test part is looked at once, at the end. The run's
    folder then holds ``predictions.csv``, ``validation.csv`` (the same for the validation part, to
    choose thresholds by), ``encoder.safetensors``, ``config.json``, ``head.safetensors``,
    ``log.jsonl``, ``settings.yaml``, ``seen.csv`` (fingerprints of the training and validation
    images, and of what the encoder had seen before) and ``gray_values.csv`` (how often each occurs
    in these images).

    Parameters
    ----------
    settings : FinetuneSettings
        See there.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        If the settings or the images do not allow it, pre-training has seen test images, or the
        loss is no longer a number.
    """
    check_settings(settings)
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    manifest = labelled(settings.data)
    split = split_of(settings.data, manifest)
    check_classes(manifest, split.train)
    fabric = launch(settings.hardware)
    images = read_images(settings.data, manifest, quiet=fabric.global_rank > 0)
    if images.kept is not None:  # each of the others stays on its side, as in pre-training
        split = split.of(images.kept)
        check_classes(images.manifest, split.train)
        check_sides(split, ("val", "test"))
    if fabric.is_global_zero:
        tell_lacking_classes(images.manifest, [split])
        tell_copies(images, [split])
    seen = refuse_seen(settings.encoder, images, split.test, allow=settings.allow_seen)
    parts = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    if fabric.is_global_zero:
        print(", ".join(f"{n} images to {side}" for side, n in parts.items()), file=sys.stderr)
    plan = Plan(
        len(split.train), settings.optimizer, settings.seed, fabric.global_rank, fabric.world_size
    )
    torch.manual_seed(settings.seed)
    encoder, config = encoder_or_random(
        settings.encoder,
        settings.model,
        settings.data,
        images,
        split.train,
        settings.drop_path,
    )
    classifier = Classifier(encoder, len(manifest.classes), settings.pooling)
    model = NormalizedClassifier(classifier, config)
    if fabric.is_global_zero:
        note_licence(settings.encoder)
        run.begin()
        used = np.concatenate([split.train, split.val])
        write_seen(run.folder, images, used, settings.encoder)
        write_gray_values(run.folder, images, used)
    fabric.barrier()  # whoever looks for a checkpoint finds those of other runs removed
    _train(fabric, run, settings, plan, model, images, split)
    if fabric.is_global_zero:
        held_out = np.concatenate([split.test, split.val])
        chances = probabilities(model, images.pixels, held_out, fabric.device)
        fold = settings.data.fold or 0
        tables = prediction_tables(images.manifest, [split], [chances], settings.seed, fold)
        tables.write(run.folder, seen)
        save_encoder(run.folder, classifier.encoder, config)
        head = {n: t for n, t in classifier.state_dict().items() if not n.startswith("encoder.")}
        write_tensors(run.folder / "head.safetensors", head)
        classes = list(manifest.classes)  # in the order of the head's outputs
        facts = {"classes": classes, **parts, "skipped": images.skipped}
        run.finish({**facts, "test_images_seen_in_pretraining": seen})
    fabric.barrier()  # whoever returns finds the run finished
    return run.folder


def check_settings(settings: FinetuneSettings) -> None:
    """Refuse what makes no training, before any image is read.

    Parameters
    ----------
    settings : FinetuneSettings
        See there.

    Raises
    ------
    UserError
        Naming the setting.
    """
    if settings.patience < 1:
        raise UserError(f"patience is {settings.patience}: set it to 1 epoch or more.")
    if not 0 < settings.layer_decay <= 1:
        raise UserError(f"layer_decay is {settings.layer_decay}: set it above 0 and up to 1.")
    if not 0 <= settings.drop_path < 1:
        raise UserError(f"drop_path is {settings.drop_path}: set it from 0 to below 1.")
    if not 0 <= settings.label_smoothing < 1:
        raise UserError(f"label_smoothing is {settings.label_smoothing}: set it from 0 to below 1.")
    check_optimizer(settings.optimizer, settings.hardware.devices)
    augmentation(settings.data, settings.augment)
    check_encoder(settings.encoder, settings.model, settings.data)


def _train(
    fabric: Fabric,
    run: Run,
    settings: FinetuneSettings,
    plan: Plan,
    model: NormalizedClassifier,
    images: Images,
    split: Split,
) -> None:
    """Train in place; the model ends with the weights of the lowest validation loss."""
    labels = torch.from_numpy(images.manifest.labels)
    train = torch.from_numpy(split.train)
    class_weights = _class_weights(settings, labels[train], len(images.manifest.classes))
    augment = augmentation(settings.data, settings.augment)
    state, dealt = run.load(), _dealt(images, split, model)
    if state and state.get("dealt", dealt) != dealt:
        raise UserError(
            f"{run.folder} was begun with other labels, sides or normalisation of the images than "
            "the settings give now: restore them, or choose another folder with --out."
        )
    wrapped, optimizer = set_up(fabric, model, settings.optimizer, state, settings.layer_decay)
    first, best_loss, best_epoch, best = 0, math.inf, 0, _copy(model)
    if state:
        first, best = state["epoch"], state["best"]
        best_loss, best_epoch = state["best_loss"], state["best_epoch"]
    if fabric.is_global_zero:
        run.rewind_log(first * plan.steps_per_epoch)

    def loss_of(members: Tensor) -> Loss:
        chosen = train[members]
        total = F.cross_entropy(
            wrapped(augment(fabric.to_device(images.pixels[chosen]))).float(),
            fabric.to_device(labels[chosen]),
            fabric.to_device(class_weights),
            label_smoothing=settings.label_smoothing,
            reduction="sum",
        )
        # Not "mean", which divides by the batch's own weights: of one image they would cancel.
        return Loss(total / len(chosen), {})

    with Meter("fine-tuning", settings.optimizer.epochs, first, enabled=fabric.is_global_zero) as m:
        for epoch in range(first + 1, settings.optimizer.epochs + 1):
            if epoch - 1 - best_epoch >= settings.patience:
                break
            wrapped.train()
            steps = range((epoch - 1) * plan.steps_per_epoch, epoch * plan.steps_per_epoch)
            means = Means()
            for step in steps:
                means.add(make_step(fabric, wrapped, optimizer, plan, step, loss_of))
            held_out = _validation_loss(fabric, model, images, labels, split.val, class_weights)
            if not math.isfinite(held_out):
                raise UserError(
                    f"the validation loss is no longer a number after epoch {epoch}: start anew in "
                    "another folder with a lower optimizer.base_lr."
                )
            if held_out < best_loss:
                best_loss, best_epoch, best = held_out, epoch, _copy(model)
            terms = {"loss": means.take()["total"], "validation": held_out}
            m.advance(plan.images_per_step * plan.steps_per_epoch, terms)
            if fabric.is_global_zero:
                run.log({"step": steps.stop, "epoch": epoch, **terms})
                run.save(
                    {
                        **snapshot(fabric, model, optimizer),
                        "dealt": dealt,
                        "epoch": epoch,
                        "best": best,
                        "best_loss": best_loss,
                        "best_epoch": best_epoch,
                    }
                )
    model.load_state_dict(best)


def _dealt(images: Images, split: Split, model: NormalizedClassifier) -> str:
    """Digest of which image has which label on which side, and of how images are normalised."""
    labels = images.manifest.labels.tolist()
    sides = [
        [(images.hashes[i], labels[i]) for i in side.tolist()]
        for side in (split.train, split.val, split.test)
    ]
    moments = model.mean.flatten().tolist(), model.std.flatten().tolist()
    told = repr((sides, images.manifest.classes, moments))
    return hashlib.sha256(told.encode()).hexdigest()


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _class_weights(settings: FinetuneSettings, labels: Tensor, n_classes: int) -> Tensor:
    if settings.class_weights == "none":
        return torch.ones(n_classes)
    counts = labels.bincount(minlength=n_classes)
    return len(labels) / (n_classes * counts.float())


def _validation_loss(
    fabric: Fabric,
    model: nn.Module,
    images: Images,
    labels: Tensor,
    val: np.ndarray,
    class_weights: Tensor,
) -> float:
    logits = logits_of(model, images.pixels, val, fabric.device)
    loss = F.cross_entropy(logits, labels[val], class_weights.double())
    # Devices may differ in the last digit, and must agree on when to stop.
    return fabric.broadcast(float(loss))
