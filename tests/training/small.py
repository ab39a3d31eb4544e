"""Settings small enough for a test, and what tests look up in a run's folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from glcm_mae.data import Manifest, Record
from glcm_mae.settings import (
    AugmentSettings,
    DataSettings,
    FinetuneSettings,
    HardwareSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PretrainSettings,
    ProbeSettings,
)
from glcm_mae.training.inputs import Images

ROOT = Path(__file__).parents[2]
CPU = HardwareSettings(accelerator="cpu")


def data(manifest: Path, **changes: Any) -> DataSettings:
    return DataSettings(**({"images": str(manifest), "image_size": 16, "folds": 3} | changes))


def model(**changes: Any) -> ModelSettings:
    shape = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    decoder = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    return ModelSettings(**(shape | decoder | changes))


def optimizer(**changes: Any) -> OptimizerSettings:
    return OptimizerSettings(**({"epochs": 3, "batch_size": 8, "base_lr": 1e-2} | changes))


def images(channels: int = 1) -> Images:
    """Four images of two classes, each of a patient of its own."""
    records = tuple(Record(Path(f"{i}.png"), "ab"[i % 2], f"p{i}", None) for i in range(4))
    pixels = torch.rand(4, channels, 16, 16)
    return Images(
        pixels, Manifest(records, ("a", "b"), True), [f"h{i}" for i in range(4)], [""] * 4
    )


class Watched:
    """Images (N, C, H, W) that remember how many of them were taken at once, at most."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels, self.shape, self.most = pixels, pixels.shape, 0

    def __getitem__(self, rows: Tensor) -> Tensor:
        self.most = max(self.most, len(rows))
        return self.pixels[rows]


def clusters(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, ...]:
    """Features of three classes, well apart, labels, and patients of two images each."""
    labels = np.arange(n) // 2 % 3
    features = rng.normal(size=(n, 5))
    features[np.arange(n), labels] += 3
    return features, labels, np.array([f"p{i // 2}" for i in range(n)])


def pretraining(images: DataSettings, out: Path, **changes: Any) -> PretrainSettings:
    defaults: dict[str, Any] = {
        "model": model(),
        "optimizer": optimizer(),
        "objective": ObjectiveSettings(),
        "hardware": CPU,
        "checkpoint_minutes": 0.0,
    }
    return PretrainSettings(images, str(out), **(defaults | changes))


def finetuning(images: DataSettings, out: Path, **changes: Any) -> FinetuneSettings:
    defaults: dict[str, Any] = {
        "model": model(),
        "optimizer": optimizer(),
        "augment": AugmentSettings(crop_scale=(0.6, 1.0)),
        "hardware": CPU,
    }
    return FinetuneSettings(images, str(out), **(defaults | changes))


def probing(images: DataSettings, out: Path, **changes: Any) -> ProbeSettings:
    defaults: dict[str, Any] = {"model": model(), "hardware": CPU, "neighbours": 5}
    return ProbeSettings(images, str(out), **(defaults | changes))


def weights(run: Path) -> dict[str, Tensor]:
    files = ("encoder", "decoder", "head")
    paths = [run / f"{name}.safetensors" for name in files]
    return {f"{p.stem}.{n}": t for p in paths if p.exists() for n, t in load_file(p).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """To the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log(run: Path) -> list[dict[str, float]]:
    lines = (run / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [{n: v for n, v in entry.items() if n != "images_per_second"} for entry in entries]


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "finished.json").read_text())


def python(script: Path, *words: object, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, one that can be killed."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, words)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


# Kills its own process when the checkpoint of a given step or epoch is due.
KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from glcm_mae.training.{stage} import {stage}
from glcm_mae.training.run import Run
from tests.training import small

save = Run.save

def save_or_die(self, state):
    if state[{count!r}] == {last}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, state)

Run.save = save_or_die
images = small.data(Path(sys.argv[1]))
{stage}(small.{settings}(images, Path(sys.argv[2])))
"""
