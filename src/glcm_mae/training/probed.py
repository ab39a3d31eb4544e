"""A finished probe or baseline, read again: its classifiers, and the features that they take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from glcm_mae.errors import UserError
from glcm_mae.models import Encoder, EncoderConfig, fill_weights, load_encoder
from glcm_mae.models.classifier import Pooling
from glcm_mae.models.residual import ResidualNetwork
from glcm_mae.settings import BaselineKind, DataSettings, ModelSettings, ProbeSettings

from .baseline import hand_made_features
from .classifier_file import CLASSIFIER, read_kept
from .classifiers import Linear, Neighbours, Rule, Standardized
from .convolutional import read_network
from .encoders import build_encoder, digest, encoder_config
from .inputs import Images
from .logits import probabilities
from .others import Trained, classes_of, reading_of
from .probe import features_of
from .run import facts_of, settings_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PROBES: dict[str, type[Rule]] = {"linear": Linear, "knn": Neighbours}


@dataclass(frozen=True)
class Baseline(Trained):
    """A finished baseline.

    Parameters
    ----------
    folder, classes, reading
        See `Trained`.
    kind : str
        Of `BaselineSettings`.
    classifier : Standardized
        Of its features.
    """

    kind: BaselineKind
    classifier: Standardized

    def chances(self, images: Images, fabric: Fabric) -> dict[str, np.ndarray]:
        """See `Trained`."""
        return {".": self.classifier.chances(hand_made_features(self.kind, images))}


@dataclass(frozen=True)
class Convolutional(Trained):
    """A finished baseline of a network that was trained with labels alone.

    Parameters
    ----------
    folder, classes, reading
        See `Trained`.
    network : ResidualNetwork
        Takes images in [0, 1].
    """

    network: ResidualNetwork

    def chances(self, images: Images, fabric: Fabric) -> dict[str, np.ndarray]:
        """See `Trained`."""
        network = self.network.to(fabric.device)
        everything = np.arange(len(images))
        with fabric.autocast():
            return {".": probabilities(network, images.pixels, everything, fabric.device)}


@dataclass(frozen=True)
class Probed(Trained):
    """A finished probe.

    Parameters
    ----------
    folder, classes, reading
        See `Trained`.
    settings : ProbeSettings
        Those that say how features are made of what the encoder gives.
    encoder, config : Encoder, EncoderConfig
        The one that was probed.
    classifiers : dict of Standardized
        ``linear`` and ``knn``.
    """

    settings: ProbeSettings
    encoder: Encoder
    config: EncoderConfig
    classifiers: dict[str, Standardized]

    def chances(self, images: Images, fabric: Fabric) -> dict[str, np.ndarray]:
        """See `Trained`."""
        encoder = self.encoder.to(fabric.device)
        with fabric.autocast():
            features = features_of(encoder, self.config, images.pixels, self.settings)
        return {name: known.chances(features) for name, known in self.classifiers.items()}


def is_probe(folder: Path) -> bool:
    """Whether a folder is that of a probe, finished or not."""
    return "neighbours" in _settings(folder)


def is_baseline(folder: Path) -> bool:
    """Whether a folder is that of a baseline, finished or not."""
    return "kind" in _settings(folder)


def keeps_classifier(folder: Path) -> bool:
    """Whether a probe or baseline keeps what it has fitted; True of all other folders."""
    return all(path.is_file() for path in _classifiers(folder))


def _classifiers(folder: Path) -> list[Path]:
    if is_probe(folder):
        return [folder / name / CLASSIFIER for name in _PROBES]
    return [folder / CLASSIFIER] if is_baseline(folder) else []


def _settings(folder: Path) -> dict[str, Any]:
    return settings_of(folder) if (folder / "settings.yaml").is_file() else {}


def read_baseline(folder: Path) -> Baseline | Convolutional:
    """Read a baseline.

    Parameters
    ----------
    folder : Path
        Of ``glcm-mae baseline``.

    Returns
    -------
    Baseline or Convolutional

    Raises
    ------
    UserError
        If it is not finished, or keeps no classifier.
    """
    kind = settings_of(folder)["kind"]
    if kind not in get_args(BaselineKind):
        raise UserError(f"{folder} is of no known kind, {kind!r}: copy settings.yaml anew.")
    if kind == "shortcuts":
        raise UserError(
            f"{folder} is a baseline of shortcuts, which are measured among the images of one set "
            "and say nothing of another's: give a baseline of another kind, a probe or a "
            "fine-tuning."
        )
    classes, channels = _told(folder)
    reading = reading_of(folder, channels)
    if kind == "convolutional":
        network = read_network(folder, channels, len(classes))
        return Convolutional(folder, classes, reading, network)
    return Baseline(folder, classes, reading, kind, read_kept(folder, len(classes)))


def read_probe(folder: Path) -> Probed:
    """Read a probe, and the encoder that it stands on.

    Parameters
    ----------
    folder : Path
        Of ``glcm-mae probe``.

    Returns
    -------
    Probed

    Raises
    ------
    UserError
        If it is not finished, keeps no classifier, or its encoder is gone or another one now.
    """
    classes, channels = _told(folder)
    written = settings_of(folder)
    reading = reading_of(folder, channels)
    try:
        settings = ProbeSettings(
            DataSettings("", **reading),
            written["out"],
            model=ModelSettings(**written["model"]),
            encoder=written["encoder"],
            pooling=written["pooling"],
            beside_glcms=written["beside_glcms"],
            seed=written["seed"],
        )
        told = facts_of(folder)["encoder"]
        was = told["digest"], told["mean"], told["std"]
        if settings.pooling not in get_args(Pooling):
            raise ValueError(settings.pooling)
        encoder, config = _encoder(folder, settings, channels, *was)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder} does not tell how it made its features: copy settings.yaml and "
            "finished.json anew."
        ) from error
    classifiers = {
        name: read_kept(folder / name, len(classes), rule) for name, rule in _PROBES.items()
    }
    return Probed(folder, classes, reading, settings, encoder, config, classifiers)


def _told(folder: Path) -> tuple[tuple[str, ...], int]:
    """Read the classes, and the number of channels, of a run that keeps what it has fitted."""
    facts = facts_of(folder)
    if not (folder / "finished.json").is_file():
        raise UserError(f"{folder} is not finished: run it again with --resume true.")
    if not keeps_classifier(folder):
        raise UserError(
            f"{folder} keeps no classifier, for it was made by an earlier version (or its "
            f"{CLASSIFIER} was not copied): remove the folder and run it again (of a study, by the "
            "same command)."
        )
    classes, channels = classes_of(facts), facts.get("channels")
    if not classes or channels not in (1, 3):
        raise UserError(
            f"{folder} does not tell its classes and channels: copy finished.json anew."
        )
    return classes, channels


def _encoder(
    run: Path, s: ProbeSettings, channels: int, was: str, mean: list[float], std: list[float]
) -> tuple[Encoder, EncoderConfig]:
    """Make or read the encoder that was probed, and make sure that it is still the same."""
    weights = None if s.encoder is None else _found(s.encoder, run, s.out)
    if weights is not None and weights.is_dir():
        encoder, config = load_encoder(weights)
    else:
        torch.manual_seed(s.seed)
        config = encoder_config(s.model, s.data, channels, torch.tensor(mean), torch.tensor(std))
        encoder = build_encoder(config)
        if weights is not None:
            fill_weights(encoder, weights)
    if digest(encoder) != was:
        now = f"torch {torch.__version__} draws from seed {s.seed}" if weights is None else weights
        raise UserError(
            f"{run} was fitted on another encoder than {now} is: restore that one, or remove the "
            "folder and probe again."
        )
    return encoder, config


def _found(encoder: str, run: Path, out: str) -> Path:
    """Find the encoder where it lay, or where it lies if both have moved together."""
    beside = run / os.path.relpath(encoder, out)
    for place in (Path(encoder), beside):
        if place.exists():
            return place
    raise UserError(
        f"{run} stands on the encoder {encoder}, which is neither there nor at {beside}: copy it "
        "to one of them."
    )
