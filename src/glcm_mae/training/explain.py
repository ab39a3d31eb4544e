"""Explain what a fine-tuned run says of images, and put the explanations to the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.files import keep_inputs
from glcm_mae.models import log_odds_without, occlusion_maps
from glcm_mae.settings import ExplainSettings

from .fabric import launch
from .finetuned import Finetuned, read_finetuned
from .others import read_others
from .progress import Meter
from .seen import n_seen

_BATCH = 4  # images at a time, each of which goes through the encoder a hundred times
_ORDERS = 5

SHARES = tuple(tenth / 10 for tenth in range(10))
"""Shares of the patches that are left out to test a map."""


@dataclass(frozen=True)
class Explanations:
    """What a classifier goes by in images.

    Parameters
    ----------
    pixels : Tensor, (B, C, H, W)
        The images, in [0, 1].
    manifest : Manifest
        What they are.
    classes : tuple of str
        The classifier's.
    probabilities : Tensor, (B, K)
        Its answers. What is explained is the most probable class of each image.
    maps : Tensor, (B, rows, columns)
        By how much the log-odds of this class fall without a patch and those around it.
    by_map, at_random : Tensor, (B, len(SHARES))
        Log-odds of this class without `SHARES` of the patches: those of the highest values in the
        map, and random ones (mean over several orders).
    skipped : int
        How many images could not be read.
    seen : int or None
        How many of them the run was trained on; None if that is unknown.
    """

    pixels: Tensor
    manifest: Manifest
    classes: tuple[str, ...]
    probabilities: Tensor
    maps: Tensor
    by_map: Tensor
    at_random: Tensor
    skipped: int
    seen: int | None

    @property
    def gains(self) -> Tensor:
        """How much sooner the log-odds fall by the map than at random, mean over shares: (B,)."""
        return (self.at_random - self.by_map)[:, 1:].mean(dim=1)

    @property
    def predicted(self) -> Tensor:
        """The class that is explained: (B,)."""
        return self.probabilities.argmax(dim=1)


def explain(settings: ExplainSettings) -> Explanations:
    """Find out which patches a fine-tuned run goes by.

    Parameters
    ----------
    settings : ExplainSettings
        See there.

    Returns
    -------
    Explanations

    Raises
    ------
    UserError
        If the run is no finished fine-tuning, the images cannot be read as its were, or the window
        fits no image.
    """
    if settings.n_images < 1:
        raise UserError(f"n_images is {settings.n_images}: set it to 1 or more.")
    if not 0 <= settings.seed < 2**32:
        raise UserError(f"seed is {settings.seed}: set it from 0 to {2**32 - 1}.")
    run = read_finetuned(Path(settings.run))
    _check_window(settings.window, run.grid)
    fabric = launch(settings.hardware)
    images, known, *_ = read_others(run, settings, settings.n_images)
    drawn = Path(settings.out) / "explanations.png"
    keep_inputs(drawn, [record.path for record in images.manifest.records])
    run.model.to(fabric.device).eval()
    generator = torch.Generator().manual_seed(settings.seed)
    chances = torch.rand(len(images), _ORDERS, run.grid[0] * run.grid[1], generator=generator)
    parts = []
    with Meter("leaving patches out", len(images)) as meter, fabric.autocast():
        for batch in zip(images.pixels.split(_BATCH), chances.split(_BATCH), strict=True):
            pixels, chance = (part.to(fabric.device) for part in batch)
            parts.append(_explained(run, pixels, settings.window, chance))
            meter.advance(images=len(pixels), by=len(pixels))
    probabilities, maps, by_map, at_random = (
        torch.cat(part).cpu() for part in zip(*parts, strict=True)
    )
    return Explanations(
        images.pixels[:],
        images.manifest,
        run.classes,
        probabilities,
        maps,
        by_map,
        at_random,
        images.skipped,
        n_seen(known),
    )


def _check_window(window: int, grid: tuple[int, int]) -> None:
    if window < 1 or window % 2 == 0:
        raise UserError(f"window is {window}: set it to an odd number of patches.")
    if max(grid) == 1:
        raise UserError(
            "an image of this run is a single patch, of which no part can be left out: explain a "
            "run with a smaller model.patch_size."
        )
    if window >= max(grid):
        raise UserError(
            f"window is {window}, and an image has {grid[0]} x {grid[1]} patches: set it lower, "
            "that some are left."
        )


@torch.no_grad()
def _explained(
    run: Finetuned, pixels: Tensor, window: int, chances: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the probabilities, the maps, and the log-odds without patches by map and at random.

    The random orders are those of ``chances``, (B, orders, N).
    """

    def classify(images: Tensor, keep: Tensor | None) -> Tensor:
        return run.model(images, keep).double()

    probabilities = classify(pixels, None).softmax(dim=1)
    classes = probabilities.argmax(dim=1)
    maps = occlusion_maps(classify, pixels, run.grid, classes, window)
    by_value = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    by_map = log_odds_without(classify, pixels, classes, by_value, SHARES)
    at_random = [
        log_odds_without(classify, pixels, classes, chance.argsort(dim=1), SHARES)
        for chance in chances.unbind(dim=1)
    ]
    return probabilities, maps, by_map, torch.stack(at_random).mean(dim=0)
