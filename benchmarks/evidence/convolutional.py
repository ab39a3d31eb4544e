"""A convolutional network trained with labels alone, in the folds of a study, to compare with.

    python benchmarks/evidence/convolutional.py runs/busi --out runs/busi-convolutional

A narrow ResNet (He et al., CVPR 2016) of 0.7 million weights, about as many as the transformers of
these studies have, from random weights: AdamW, cosine, the crops of their fine-tuning; the weights
of the lowest validation loss are kept. ``--folds 0,1 --seeds 1`` with several ``--lr`` chose the
learning rate, by the validation loss that is printed. What is written is laid out as a study's
arm, so that `publish.py` adds it to an archive.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.data.augment import Augment
from glcm_mae.evaluation import compare_arms, format_comparison
from glcm_mae.files import write_atomically
from glcm_mae.study.tables import ArmTables, stack_predictions
from glcm_mae.training.finetune import probabilities
from glcm_mae.training.tables import prediction_tables
from study import Fold, read_folds, read_study_images

_NAME = "convolutional"
_WIDTHS = (24, 48, 96, 192)
_BATCH = 16


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a way past them."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            *(nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()),
            *(nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)),
        )
        self.past = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H / stride, W / stride)."""
        return F.relu(self.way(x) + self.past(x))


def network(n_classes: int) -> nn.Sequential:
    """Four blocks after a stem that halves twice; takes gray images (B, 1, H, W) in [0, 1]."""
    first, *widths = _WIDTHS
    stem = [nn.Conv2d(1, first, 7, 2, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    blocks = [Block(first, first, 1)]
    blocks += [Block(a, b, 2) for a, b in zip(_WIDTHS, widths, strict=False)]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTHS[-1], n_classes)]
    return nn.Sequential(nn.BatchNorm2d(1), *stem, nn.MaxPool2d(3, 2, 1), *blocks, *end)


def main() -> None:
    """Train the network on each fold and seed; print what it comes to and write its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, help="nothing is tested without it")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", help="numbers, by commas; all if left out")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--positive")
    arguments = parser.parse_args()
    pixels = read_study_images(arguments.study, arguments.size).pixels[:]
    folds = read_folds(arguments.study)
    asked = [int(k) for k in arguments.folds.split(",")] if arguments.folds else range(len(folds))
    told: list[ArmTables] = []
    for seed in range(arguments.seeds):
        for fold in (folds[k] for k in asked):
            model, loss = _trained(pixels, fold, seed, arguments.lr, arguments.epochs)
            print(f"seed {seed}, fold {fold.number}: validation loss {loss:.4f}", flush=True)
            if arguments.out is not None:
                told.append(_tables(model, pixels, fold, seed))
    if arguments.out is not None:
        _write(told, arguments.study, arguments.out, arguments.positive)


def _trained(
    pixels: Tensor, fold: Fold, seed: int, lr: float, epochs: int
) -> tuple[nn.Module, float]:
    """Train on a fold; return the network at its lowest validation loss, and that."""
    torch.manual_seed(seed)
    labels = torch.from_numpy(fold.manifest.labels)
    train, val = torch.from_numpy(fold.split.train), torch.from_numpy(fold.split.val)
    height, width = pixels.shape[-2:]
    augment = Augment((height, width), crop_scale=(0.6, 1.0), flip=True)
    model = network(len(fold.manifest.classes))
    steps = epochs * (len(train) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    lowest, best = math.inf, model.state_dict()
    for _ in range(epochs):
        model.train()
        for chosen in _dealt(train):
            optimizer.zero_grad()
            F.cross_entropy(model(augment(pixels[chosen])), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            loss = float(F.cross_entropy(model(pixels[val]), labels[val]))
        if loss < lowest:
            lowest = loss
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    return model, lowest


def _rate(done: float) -> float:
    """Rise over a tenth of the training, then fall along a cosine."""
    return min(done / 0.1, 1.0) * (1 + math.cos(math.pi * done)) / 2


def _dealt(train: Tensor) -> Iterator[Tensor]:
    """Deal an epoch's batches; what makes no whole one is left for another."""
    order = train[torch.randperm(len(train))]
    return iter(order[: len(order) // _BATCH * _BATCH].split(_BATCH))


def _tables(model: nn.Module, pixels: Tensor, fold: Fold, seed: int) -> ArmTables:
    split = fold.split
    rows = np.concatenate([split.test, split.val])
    chances = probabilities(model, pixels, rows, torch.device("cpu"))
    test, validation = prediction_tables(fold.manifest, [split], [chances], seed, fold.number)
    assert validation is not None  # every fold of a study has a validation part
    return ArmTables(test, validation)


def _write(told: list[ArmTables], study: Path, out: Path, positive: str | None) -> None:
    """Write the tables as a study's arm that was judged fine-tuned, and what they come to."""
    tables = ArmTables(*(stack_predictions(side) for side in zip(*told, strict=True)))
    folder = out / "arms" / _NAME / "finetune"
    tables.test.write(folder / "predictions.csv")
    tables.validation.write(folder / "validation.csv")
    its = json.loads((study / "comparison.json").read_text(encoding="utf-8"))["results"]
    about = next(iter(its.values()))["patients"]
    found = compare_arms(
        {_NAME: tables.test},
        {_NAME: tables.validation},
        _NAME,
        positive=positive,
    )
    found["patients"] = about
    text = json.dumps({"results": {"finetune": found}}, indent=2, allow_nan=False) + "\n"
    write_atomically(out / "comparison.json", text)
    print(format_comparison(found))


if __name__ == "__main__":
    main()
