"""A finished fine-tuning, read again: its classifier, and its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.models import Classifier, fill_head, load_encoder, read_config
from glcm_mae.models.classifier import Pooling

from .finetune import NormalizedClassifier
from .inputs import Images
from .logits import probabilities
from .others import Trained, classes_of, reading_of
from .run import facts_of, settings_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Finetuned(Trained):
    """A fine-tuned run.

    Parameters
    ----------
    folder, classes, reading
        See `Trained`.
    model : NormalizedClassifier
        Its classifier.
    """

    model: NormalizedClassifier

    def chances(self, images: Images, fabric: Fabric) -> dict[str, np.ndarray]:
        """See `Trained`."""
        model = self.model.to(fabric.device)
        everything = np.arange(len(images))
        with fabric.autocast():
            return {".": probabilities(model, images.pixels, everything, fabric.device)}

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and row."""
        return self.model.classifier.encoder.grid


def read_finetuned(folder: Path) -> Finetuned:
    """Read a fine-tuned run.

    Parameters
    ----------
    folder : Path
        Of ``glcm-mae finetune``.

    Returns
    -------
    Finetuned

    Raises
    ------
    UserError
        If it is no finished fine-tuning.
    """
    read_config(folder)  # refuses what is no run at all, or not finished
    if not (folder / "head.safetensors").is_file():
        raise UserError(
            f"{folder} is no finished fine-tuning, for it has no head.safetensors: give the folder "
            "of glcm-mae finetune."
        )
    encoder, config = load_encoder(folder)
    reading = reading_of(folder, config.in_chans, config)
    pooling: Any = settings_of(folder).get("pooling")
    classes = classes_of(facts_of(folder))
    if not classes or pooling not in get_args(Pooling):
        raise UserError(
            f"{folder} does not tell its classes and pooling: copy finished.json and settings.yaml "
            "anew."
        )
    classifier = Classifier(encoder, len(classes), pooling)
    fill_head(classifier, folder)
    return Finetuned(folder, classes, reading, NormalizedClassifier(classifier, config))
