"""Fine-tuning: train a classifier, encoder and all, and predict the test part."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.data import Predictions, Split, holdout
from glcm_mae.errors import UserError
from glcm_mae.models import Classifier, EncoderConfig, save_encoder, write_tensors
from glcm_mae.settings import FinetuneSettings

from .fabric import launch
from .inputs import Images, encoder_or_random, labelled, read_images, refuse_seen
from .progress import Meter
from .run import Run
from .schedule import make_optimizer
from .step import Plan, StepLoss, augmentation, check_optimizer, make_step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_BATCH = 64  # images at a time where nothing is learned


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

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W) in [0, 1]: logits (B, K)."""
        return self.classifier((images - self.mean) / self.std)


def finetune(settings: FinetuneSettings) -> Path:
    """Fine-tune a classifier and write its predictions for the test part.

    Training stops when the loss on the validation part has not fallen for `patience` epochs; the
    weights of its lowest point are kept. The test part is looked at once, at the end. The run's
    folder then holds ``predictions.csv``, ``encoder.safetensors``, ``config.json``,
    ``head.safetensors``, ``log.jsonl`` and ``settings.yaml``.

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
    if settings.patience < 1:
        raise UserError(f"patience is {settings.patience}: set it to 1 epoch or more.")
    check_optimizer(settings.optimizer)
    manifest = labelled(settings.data)
    fold = settings.data.fold or 0
    holdout(manifest, settings.data.folds, fold, settings.data.split_seed)  # refuse early
    fabric = launch(settings.hardware)
    images = read_images(settings.data, manifest, quiet=fabric.global_rank > 0)
    split = holdout(images.manifest, settings.data.folds, fold, settings.data.split_seed)
    seen = refuse_seen(settings.encoder, images, split.test, allow=settings.allow_seen)
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
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    _train(fabric, run, settings, model, images, split)
    if fabric.is_global_zero:
        chances = predict(model, images.pixels[split.test], fabric.device)
        _table(images, split.test, chances, fold, settings.seed).write(
            run.folder / "predictions.csv"
        )
        save_encoder(run.folder, classifier.encoder, config)
        head = {n: t for n, t in classifier.state_dict().items() if not n.startswith("encoder.")}
        write_tensors(run.folder / "head.safetensors", head)
        parts = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
        run.finish({**parts, "test_images_seen_in_pretraining": seen})
    return run.folder


def predict(model: nn.Module, pixels: Tensor, device: torch.device) -> np.ndarray:
    """Class probabilities of images.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W) in [0, 1], returns logits (B, K).
    pixels : Tensor, (N, C, H, W)
        The images.
    device : torch.device
        Where to compute.

    Returns
    -------
    ndarray of float64, (N, K)
    """
    model.eval()
    with torch.no_grad():
        logits = [model(batch.to(device)).double().cpu() for batch in pixels.split(_BATCH)]
    return torch.cat(logits).softmax(dim=1).numpy()


def _train(
    fabric: Fabric,
    run: Run,
    settings: FinetuneSettings,
    model: NormalizedClassifier,
    images: Images,
    split: Split,
) -> None:
    """Train in place; the model ends with the weights of the lowest validation loss."""
    labels = torch.from_numpy(images.manifest.labels)
    train = torch.from_numpy(split.train)
    plan = Plan(
        len(train), settings.optimizer, settings.seed, fabric.global_rank, fabric.world_size
    )
    class_weights = _class_weights(settings, labels[train], len(images.manifest.classes))
    augment = augmentation(settings.data, settings.augment)
    state = run.load()
    if state:
        model.load_state_dict(state["model"])
    optimizer = make_optimizer(model, settings.optimizer, settings.layer_decay)
    wrapped, optimizer = fabric.setup(model, optimizer)
    first, best_loss, best_epoch, best = 0, math.inf, 0, _copy(model)
    if state:
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        first, best_loss, best_epoch = state["epoch"], state["best_loss"], state["best_epoch"]
        best = state["best"]
    if fabric.is_global_zero:
        run.rewind_log(first * plan.steps_per_epoch)

    def loss_of(members: Tensor) -> StepLoss:
        chosen = train[members]
        loss = F.cross_entropy(
            wrapped(augment(fabric.to_device(images.pixels[chosen]))).float(),
            fabric.to_device(labels[chosen]),
            fabric.to_device(class_weights),
            label_smoothing=settings.label_smoothing,
        )
        return StepLoss(loss, {})

    with Meter("fine-tuning", settings.optimizer.epochs, first, enabled=fabric.is_global_zero) as m:
        for epoch in range(first + 1, settings.optimizer.epochs + 1):
            if epoch - 1 - best_epoch >= settings.patience:
                break
            wrapped.train()
            steps = range((epoch - 1) * plan.steps_per_epoch, epoch * plan.steps_per_epoch)
            losses = [
                make_step(fabric, wrapped, optimizer, plan, step, loss_of)["total"]
                for step in steps
            ]
            held_out = _validation_loss(fabric, model, images, labels, split.val, class_weights)
            if held_out < best_loss:
                best_loss, best_epoch, best = held_out, epoch, _copy(model)
            terms = {"loss": sum(losses) / len(losses), "validation": held_out}
            m.advance(plan.images_per_step * plan.steps_per_epoch, terms)
            if fabric.is_global_zero:
                run.log({"step": steps.stop, "epoch": epoch, **terms})
                run.save(
                    {
                        "epoch": epoch,
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "precision": fabric.strategy.precision.state_dict(),
                        "best": best,
                        "best_loss": best_loss,
                        "best_epoch": best_epoch,
                    }
                )
    model.load_state_dict(best)


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
    chances = predict(model, images.pixels[val], fabric.device)
    log_chances = torch.from_numpy(chances).clamp_min(1e-12).log()
    return float(F.nll_loss(log_chances, labels[val], class_weights.double()))


def _table(
    images: Images, test: np.ndarray, chances: np.ndarray, fold: int, seed: int
) -> Predictions:
    records = [images.manifest.records[i] for i in test]
    return Predictions(
        paths=tuple(str(record.path) for record in records),
        patients=tuple(record.patient for record in records),
        labels=images.manifest.labels[test],
        classes=images.manifest.classes,
        probabilities=chances,
        folds=np.full(len(test), fold),
        seeds=np.full(len(test), seed),
    )
