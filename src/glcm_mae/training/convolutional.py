"""A convolutional network trained with labels alone: what pre-training must be worth more than."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data import Manifest, Split
from glcm_mae.data.augment import Augment
from glcm_mae.data.pixels import Pixels
from glcm_mae.errors import UserError
from glcm_mae.models.residual import ResidualNetwork

from .classifier_file import CLASSIFIER
from .logits import logits_of, probabilities
from .progress import Meter
from .schedule import learning_rate
from .tables import Tables, prediction_tables

_EPOCHS = 60
_BATCH = 16
_RATE = 1e-3
_WARMUP = 0.1
_WEIGHT_DECAY = 0.05
_CROPS = (0.6, 1.0)


def read_network(folder: Path, in_chans: int, n_classes: int) -> ResidualNetwork:
    """Read a network that was trained with labels alone, and kept.

    Parameters
    ----------
    folder : Path
        Of the baseline.
    in_chans, n_classes : int
        Of its images and of its answers.

    Returns
    -------
    ResidualNetwork

    Raises
    ------
    UserError
        If it is broken, or another one.
    """
    path, network = folder / CLASSIFIER, ResidualNetwork(in_chans, n_classes)
    try:
        network.load_state_dict(load_file(path))
        whole = _is_finite(network)
    except (OSError, SafetensorError, RuntimeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is not a whole classifier: copy the run anew.")
    return network


def networks_out_of_fold(
    pixels: Pixels,
    manifest: Manifest,
    parts: Sequence[Split],
    seed: int,
    device: torch.device,
    first_fold: int = 0,
) -> tuple[Tables, ResidualNetwork]:
    """Train on each training part; predict its test part, and its validation part if it has one.

    Parameters
    ----------
    pixels : Tensor or Picked, (N, C, H, W)
        Images in [0, 1].
    manifest : Manifest
        Their labels.
    parts : sequence of Split
        No image is tested twice.
    seed : int
        Fixes weights, order and crops.
    device : torch.device
        Where to compute.
    first_fold : int
        Number of the first part's fold.

    Returns
    -------
    tables : Tables
        One row a predicted image, with its fold.
    network : ResidualNetwork
        For other images: that of one part, or of several one that was trained on all.
    """
    n_classes = len(manifest.classes)

    def trained(part: Split) -> ResidualNetwork:
        labels = torch.from_numpy(manifest.labels)
        return train_network(pixels, labels, part, n_classes, seed, device)

    networks = [trained(part) for part in parts]
    chances = [
        probabilities(network, pixels, np.concatenate([part.test, part.val]), device)
        for network, part in zip(networks, parts, strict=True)
    ]
    tables = prediction_tables(manifest, parts, chances, seed, first_fold)
    if len(parts) == 1:
        return tables, networks[0]
    none = np.array([], dtype=np.int64)
    return tables, trained(Split(train=np.arange(len(manifest)), val=none, test=none))


def train_network(
    pixels: Pixels,
    labels: Tensor,
    part: Split,
    n_classes: int,
    seed: int,
    device: torch.device,
    start: Mapping[str, Tensor] | None = None,
) -> ResidualNetwork:
    """Train a network, from random weights or those of another training.

    60 epochs of random crops in batches of 16, AdamW at a rate that falls from 0.001 along a
    cosine; none of this was tuned to any set. The weights of the lowest loss on the validation part
    are kept, or where there is none, the last.

    Parameters
    ----------
    pixels : Tensor or Picked, (N, C, H, W)
        Images in [0, 1].
    labels : Tensor of int64, (N,)
        Their classes.
    part : Split
        Which of them train, and which validate.
    n_classes : int
        How many classes there are.
    seed : int
        Fixes weights, order and crops.
    device : torch.device
        Where to compute.
    start : mapping of str to Tensor, optional
        First weights by their names, of all layers but the last.

    Returns
    -------
    ResidualNetwork
        On that device, ready to predict.

    Raises
    ------
    UserError
        If its weights are no longer numbers at the end.
    """
    torch.manual_seed(seed)
    _, in_chans, height, width = pixels.shape
    augment = Augment((height, width), _CROPS, flip=False)  # a mirrored chest is another chest
    network = ResidualNetwork(in_chans, n_classes).to(device)
    if start is not None:
        network.load_state_dict({**network.state_dict(), **start})
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_WEIGHT_DECAY)
    train = torch.from_numpy(part.train)
    size = min(_BATCH, len(train))
    steps, step = _EPOCHS * (len(train) // size), 0
    lowest, best = math.inf, network.state_dict()
    with Meter("training a network", _EPOCHS) as meter:
        for _ in range(_EPOCHS):
            network.train()
            for chosen in _dealt(train, size):
                rate = learning_rate(step, steps, _RATE, 0.0, _WARMUP)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad()
                logits = network(augment(pixels[chosen].to(device)))
                F.cross_entropy(logits, labels[chosen].to(device)).backward()
                optimizer.step()
                step += 1
            loss = _loss(network, pixels, labels, part.val, device)
            if loss < lowest or not len(part.val):
                lowest = loss
                best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            meter.advance(len(train), {"validation": loss} if len(part.val) else {})
    if not _is_finite(network):
        raise UserError(
            "the weights of the convolutional network are no longer numbers: leave this baseline "
            "out, or look for images of extreme values by glcm-mae data check."
        )
    network.load_state_dict(best)
    return network.eval()


def _is_finite(network: ResidualNetwork) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


def _dealt(train: Tensor, size: int) -> Iterator[Tensor]:
    """Deal an epoch's batches; images that make no whole one are left for another epoch."""
    order = train[torch.randperm(len(train))]
    return iter(order[: len(order) // size * size].split(size))


def _loss(
    network: ResidualNetwork, pixels: Pixels, labels: Tensor, rows: np.ndarray, device: torch.device
) -> float:
    """Cross-entropy over some images; infinite over none."""
    if not len(rows):
        return math.inf
    logits = logits_of(network, pixels, rows, device)
    return float(F.cross_entropy(logits, labels[torch.from_numpy(rows)]))
