"""Pre-train a convolutional network, too, by the squared error and by texture prediction.

    python benchmarks/evidence/residual.py runs/busi runs/residual --size 128 --patch 16
    python benchmarks/evidence/publish.py runs/residual/study ARCHIVE

For the folds of a study that `glcm-mae compare` has begun: the network of the baseline
convolutional with random weights, pre-trained by the squared error of hidden patches, and by that
and texture prediction (as the arm prediction_neighbourhood), on each fold's training part or on
other images; then trained with labels, and probed. What is finished is not made again, so that
several processes may share the seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from glcm_mae.data.augment import Augment
from glcm_mae.models import Objective, Reconstruction, TextureHead, Weights, write_tensors
from glcm_mae.models.patches import spread_mask
from glcm_mae.models.residual import ResidualNetwork
from glcm_mae.settings import TargetSettings
from glcm_mae.texture import Binning
from glcm_mae.training.classifiers import fitted, linear
from glcm_mae.training.convolutional import train_network
from glcm_mae.training.encoders import moments
from glcm_mae.training.inputs import Images, batches
from glcm_mae.training.logits import probabilities
from glcm_mae.training.schedule import learning_rate
from glcm_mae.training.tables import Tables, prediction_tables
from study import Fold, lay_out, patients_of, read_folds, read_listed_images, read_study_images

ARMS: dict[str, dict[str, float]] = {
    "network_random": {},
    "network_mse": {"mse": 1.0},
    "network_texture": {"mse": 1.0, "glcm_prediction": 1.0},
}
CPU = torch.device("cpu")
MASK_RATIO, WIDTH, BATCH, RATE, WEIGHT_DECAY = 0.6, 128, 16, 1e-3, 0.05


class Asked(NamedTuple):
    """The settings of this script."""

    study: Path
    out: Path
    size: int
    patch: int
    epochs: int
    least_crop: float
    pretrain_on: Path | None
    arms: list[str]
    seeds: list[int]


def main() -> None:
    """Train what is not there yet; when all is, print a comparison of each way of judging."""
    asked = _asked()
    torch.set_num_threads(1)
    folds = read_folds(asked.study)
    images = read_study_images(asked.study, asked.size)
    others = asked.pretrain_on and read_listed_images(asked.pretrain_on, asked.size)
    said: dict[str, dict[str, list[Tables]]] = {"linear": {}, "finetune": {}}
    for seed in asked.seeds:
        for arm in asked.arms:
            cells = [_cell(asked, arm, seed, fold, images, others or None) for fold in folds]
            for way, of_arms in said.items():
                of_arms.setdefault(arm, []).append(
                    prediction_tables(
                        images.manifest,
                        [fold.split for fold in folds],
                        [cell[way] for cell in cells],
                        seed,
                    )
                )
    lay_out(said, asked.arms[0], [], patients_of(asked.study), asked.out / "study")


def _asked() -> Asked:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--patch", type=int, required=True, help="side of a hidden patch")
    parser.add_argument("--epochs", type=int, default=60, help="of pre-training")
    parser.add_argument("--least_crop", type=float, default=0.5, help="share of an image shown")
    parser.add_argument("--pretrain_on", type=Path, help="manifest of other images")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", default=[0, 1, 2], type=int)
    return Asked(**vars(parser.parse_args()))


def _cell(
    asked: Asked, arm: str, seed: int, fold: Fold, images: Images, others: Images | None
) -> dict[str, np.ndarray]:
    """Ask an arm's network about a fold's test and validation images: (n, K) each way."""
    file = asked.out / arm / "said" / f"seed{seed}-fold{fold.number}.safetensors"
    if not file.is_file():
        print(f"{arm}, seed {seed}, fold {fold.number}", flush=True)
        start = _start(asked, arm, seed, fold, images, others)
        found = {
            "linear": _probed(start, images, fold, seed),
            "finetune": _trained(start, images, fold, seed),
        }
        write_tensors(file, {way: torch.from_numpy(chances) for way, chances in found.items()})
    return {way: chances.numpy() for way, chances in load_file(file).items()}


def _start(
    asked: Asked, arm: str, seed: int, fold: Fold, images: Images, others: Images | None
) -> dict[str, Tensor]:
    """Make the weights to begin with; of pre-training on other images, the folds' are the same."""
    name = f"seed{seed}" if others else f"seed{seed}-fold{fold.number}"
    file = asked.out / arm / "weights" / f"{name}.safetensors"
    if not file.is_file():
        torch.manual_seed(seed)
        if others:
            weights = _pretrained(asked, arm, others, np.arange(len(others)))
        else:
            weights = _pretrained(asked, arm, images, fold.split.train)
        write_tensors(file, weights)
    return load_file(file)


def _probed(start: dict[str, Tensor], images: Images, fold: Fold, seed: int) -> np.ndarray:
    network = ResidualNetwork(images.pixels.shape[1], 1)
    network.load_state_dict({**network.state_dict(), **start})
    network.eval()
    with torch.no_grad():
        features = torch.cat(
            [_map(network, some).mean(dim=(2, 3)) for some in batches(images.pixels, _all(images))]
        ).numpy()
    train, labels, patients = fold.split.train, images.manifest.labels, images.manifest.patients
    known = fitted(linear, features[train], labels[train], patients[train], seed)
    return known.chances(features[_told(fold)])


def _trained(start: dict[str, Tensor], images: Images, fold: Fold, seed: int) -> np.ndarray:
    labels, n_classes = torch.from_numpy(images.manifest.labels), len(images.manifest.classes)
    network = train_network(images.pixels, labels, fold.split, n_classes, seed, CPU, start)
    return probabilities(network, images.pixels, _told(fold), CPU)


def _all(images: Images) -> np.ndarray:
    return np.arange(len(images))


def _told(fold: Fold) -> np.ndarray:
    return np.concatenate([fold.split.test, fold.split.val])


def _map(network: ResidualNetwork, images: Tensor) -> Tensor:
    """Compute the last feature map: (B, C, H, W) to (B, 192, H / 32, W / 32)."""
    return network.blocks(network.stem(images))


class MaskedNetwork(nn.Module):
    """The network, shown images with hidden patches, and a linear decoder that redraws these."""

    def __init__(self, network: ResidualNetwork, in_chans: int, patch: int, size: int) -> None:
        super().__init__()
        self.network, self.patch, self.grid = network, patch, (size // patch, size // patch)
        self.filling = nn.Parameter(torch.zeros(1, in_chans, 1, 1))
        deepest = _map(network.eval(), torch.zeros(1, in_chans, size, size))  # (1, 192, h, h)
        finer = self.grid[0] // deepest.shape[-1]
        self.spread = nn.ConvTranspose2d(deepest.shape[1], WIDTH, finer, finer)
        self.pixels = nn.Linear(WIDTH, patch * patch * in_chans)

    def forward(self, images: Tensor) -> Reconstruction:
        """Hide patches of normalised images (B, C, H, W) and redraw them."""
        n = self.grid[0] * self.grid[1]
        ranks = torch.rand(len(images), n).argsort(dim=1).argsort(dim=1)
        mask = (ranks < round(MASK_RATIO * n)).float()  # (B, N)
        hidden = spread_mask(mask, self.patch, self.grid) > 0
        shown = torch.where(hidden, self.filling, images)
        tokens = self.spread(_map(self.network, shown)).flatten(2).transpose(1, 2)  # (B, N, WIDTH)
        return Reconstruction(self.pixels(tokens), tokens, mask)


def _pretrained(asked: Asked, arm: str, images: Images, rows: np.ndarray) -> dict[str, Tensor]:
    """Weights but those of the last layer, after as many steps as training with labels has."""
    in_chans, weights = images.pixels.shape[1], ARMS[arm]
    network = ResidualNetwork(in_chans, 1)
    if weights:
        masked = MaskedNetwork(network, in_chans, asked.patch, asked.size)
        masked.to(memory_format=torch.channels_last)
        augment = Augment((asked.size, asked.size), (asked.least_crop, 1.0), flip=True)
        objective = _objective(weights, asked.patch, masked.grid, images, rows, augment)
        _pretrain(masked, objective, images, rows, augment, asked.epochs)
    return {name: tensor for name, tensor in network.state_dict().items() if "head" not in name}


def _objective(
    weights: dict[str, float],
    patch: int,
    grid: tuple[int, int],
    images: Images,
    rows: np.ndarray,
    augment: Augment,
) -> Objective:
    target, head = TargetSettings(), None
    if "glcm_prediction" in weights:
        binning = Binning(target.levels, target.kernel, target.bandwidth)
        offsets = tuple(target.offsets)
        head = TextureHead(WIDTH, binning, offsets, images.pixels.shape[1], patch, grid)
        even = np.linspace(0, len(rows) - 1, min(len(rows), 256)).round().astype(int)
        head.fit(augment(images.pixels[torch.from_numpy(rows[even])]))
    mean, deviation = moments(images.pixels, rows)
    return Objective(Weights(weights), patch, grid, mean, deviation, head=head)


def _pretrain(
    masked: MaskedNetwork,
    objective: Objective,
    images: Images,
    rows: np.ndarray,
    augment: Augment,
    epochs: int,
) -> None:
    """Train in place, as `train_network` does: AdamW, a cosine, batches of 16."""
    learnt = [*masked.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(learnt, RATE, weight_decay=WEIGHT_DECAY)
    per_epoch = len(rows) // BATCH
    masked.train()
    for epoch in range(epochs):
        order = torch.from_numpy(rows)[torch.randperm(len(rows))]
        terms: list[Tensor] = []
        for step, chosen in enumerate(order[: per_epoch * BATCH].split(BATCH)):
            done = epoch * per_epoch + step
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done, epochs * per_epoch, RATE, 0.0, 0.1)
            batch = augment(images.pixels[chosen])
            loss = objective(batch, masked(objective.normalize(batch)))
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
            terms.append(torch.stack([term.detach() for term in loss.terms.values()]))
        if (epoch + 1) % 10 == 0:
            print(f"  epoch {epoch + 1}:", torch.stack(terms).mean(dim=0).tolist(), flush=True)


if __name__ == "__main__":
    main()
