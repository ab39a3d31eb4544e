"""What finished runs are asked: of other images, and of what they have learnt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .reading import DataSettings
from .training import HardwareSettings


@dataclass(kw_only=True)
class OthersSettings:
    """Images that a finished run is asked about.

    Parameters
    ----------
    run : str
        The run folder. It tells how images are read.
    images : str
        A folder or manifest, as for data.images of the other commands; with or without labels, and
        whatever side of a split they stand on.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    on_error : str
        stop at the first unreadable image, or skip and report it.
    cache : str, optional
        A folder for the images as they were read, as data.cache of the other commands. Images that
        match_gray_values has changed are in memory.
    match_gray_values : bool
        Bring the images to the gray scale of those that the run was trained on, by one rising
        curve for all of them, as where another scanner, gain or export shows them brighter or
        flatter. They must be of one source, 20 or more. Without it a difference is told.
    hardware : HardwareSettings
        Where and in which precision to compute.
    """

    run: str
    images: str
    patient_regex: str | None = None
    on_error: Literal["stop", "skip"] = "stop"
    cache: str | None = None
    match_gray_values: bool = False
    hardware: HardwareSettings = field(default_factory=HardwareSettings)


@dataclass(kw_only=True)
class PredictSettings(OthersSettings):
    """Classify other images by a fine-tuning, probe, baseline or arm, for an external validation.

    Parameters
    ----------
    run : str
        The run folder of a fine-tuning, of a probe or of a baseline. It tells how images are read.
        Or the folder of a study's arm (runs/study/arms/mse) or baseline: its models of all folds
        and seeds answer together, by the mean of their probabilities.
    out : str
        Folder for predictions.csv and, of images with labels, metrics.json; of a probe, in linear
        and knn; of an arm, in a folder for each way in which it was judged.
    """

    out: str


@dataclass(kw_only=True)
class ExplainSettings(OthersSettings):
    """Show which parts of images a fine-tuned run goes by, and whether that is true.

    Parameters
    ----------
    run : str
        The run folder of a fine-tuning. It tells how images are read.
    out : str
        Folder for explanations.png, explanations.csv and finished.json.
    n_images : int
        How many images, evenly spread over the set.
    window : int
        Side of the square that is left out, in patches: an odd number. Of 8 x 8 patches, single
        ones make the truest maps (docs/results/busi.md); where an image has many, one may tell
        little.
    seed : int
        Fixes the random orders that the maps are compared with, and the bootstrap.
    """

    out: str
    n_images: int = 8
    window: int = 1
    seed: int = 0


@dataclass(kw_only=True)
class EmbedSettings(OthersSettings):
    """Write what an encoder makes of images, a feature vector each, as a table.

    Parameters
    ----------
    run : str
        The run folder of a pre-training or a fine-tuning. It tells how images are read.
    out : str
        The table to write (CSV).
    pooling : str, optional
        mean (of the patches), moments (their mean and deviation) or token (the class token).
        Default: as in the run's fine-tuning; of a pre-training, mean.
    """

    out: str
    pooling: Literal["mean", "moments", "token"] | None = None


@dataclass
class ExportSettings:
    """Write an encoder as transformers or timm keep theirs.

    Parameters
    ----------
    run : str
        The run folder of a pre-training or a fine-tuning.
    to : str
        transformers (a folder for ViTModel.from_pretrained) or timm (for timm.create_model of a
        local-dir).
    out : str
        The folder to write.
    """

    run: str
    to: Literal["transformers", "timm"]
    out: str


@dataclass
class ReconstructSettings:
    """Draw what a pre-trained model makes of images: input, masked, redrawn, and their GLCMs.

    Parameters
    ----------
    run : str
        The run folder of a pre-training.
    data : DataSettings
        Images; must be read as in pre-training. Where a fold is named or a split given, those that
        it tests.
    out : str
        The picture to write (PNG).
    n_images : int
        How many images, evenly spread over the set.
    mask_ratio : float
        Share of patches removed.
    seed : int
        Fixes the masks.
    """

    run: str
    data: DataSettings
    out: str
    n_images: int = 4
    mask_ratio: float = 0.75
    seed: int = 0
