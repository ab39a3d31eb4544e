"""The stages that train, or judge what was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .objective import ObjectiveSettings
from .reading import DataSettings

FACTS = ("version", "encoder_trained_by")
"""What a run's ``settings.yaml`` tells beside the settings."""

BaselineKind = Literal[
    "glcm_logistic",
    "glcm_boosting",
    "glcm_local",
    "pixels",
    "histogram",
    "shortcuts",
    "convolutional",
]


@dataclass
class ModelSettings:
    """The vision transformer.

    Parameters
    ----------
    size : str
        vit-ti, vit-s, vit-b or vit-l: width, depth and heads by name.
    patch_size : int
        Side of a patch in pixels; divides the image size.
    embed_dim : int, optional
        Token width in place of the named one.
    depth : int, optional
        Number of blocks in place of the named one.
    num_heads : int, optional
        Attention heads in place of the named ones.
    decoder_embed_dim : int
        Token width of the decoder.
    decoder_depth : int
        Blocks of the decoder.
    decoder_num_heads : int
        Attention heads of the decoder.
    """

    size: Literal["vit-ti", "vit-s", "vit-b", "vit-l"] = "vit-b"
    patch_size: int = 16
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_num_heads: int = 16


@dataclass
class AugmentSettings:
    """Random changes to the training images.

    Parameters
    ----------
    crop_scale : (float, float)
        Least and greatest area of the random crop, as a share of the image.
    flip : bool
        Mirror every second image left to right.
    rotate : float
        Greatest rotation in degrees, either way.
    brightness_contrast : float
        Greatest change of brightness and contrast, as a share.
    erase : float
        Chance that a random rectangle is replaced by noise (for fine-tuning: pre-training would
        learn to redraw the noise).
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    flip: bool = False
    rotate: float = 0.0
    brightness_contrast: float = 0.0
    erase: float = 0.0


@dataclass
class OptimizerSettings:
    """AdamW with warm-up and cosine decay.

    Parameters
    ----------
    epochs : int
        Passes over the training images.
    batch_size : int
        Images a step and device.
    accumulate : int
        Batches whose gradients are added up before a step.
    base_lr : float
        Learning rate for 256 images a step; the rate used is base_lr * images / 256.
    min_lr : float
        Learning rate at the end of the cosine.
    warmup : float
        Share of the training over which the rate rises from 0.
    weight_decay : float
        Decoupled weight decay of matrices; biases and norms have none.
    betas : (float, float)
        AdamW's averages.
    clip : float, optional
        Greatest norm of the gradient; null for no clipping.
    """

    epochs: int = 400
    batch_size: int = 64
    accumulate: int = 1
    base_lr: float = 1.5e-4
    min_lr: float = 0.0
    warmup: float = 0.1
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float | None = 1.0


@dataclass
class HardwareSettings:
    """Where and in which precision to compute.

    Parameters
    ----------
    accelerator : str
        auto, cpu, gpu (as Lightning Fabric names them).
    devices : int
        How many of them.
    strategy : str
        auto or ddp (as Lightning Fabric names them).
    precision : str
        fp32, bf16 or fp16; the texture terms are always computed in fp32.
    """

    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


@dataclass
class PretrainSettings:
    """Pre-train a masked autoencoder on images without labels.

    Parameters
    ----------
    data : DataSettings
        Which images, and how they are read.
    out : str
        The run's folder.
    model : ModelSettings
        The vision transformer.
    objective : ObjectiveSettings
        What is minimised.
    augment : AugmentSettings
        Random changes to the images.
    optimizer : OptimizerSettings
        Optimiser and schedule.
    hardware : HardwareSettings
        Devices and precision.
    mask_ratio : float
        Share of patches removed.
    init : str, optional
        Weights to start from: a run folder, or a checkpoint of MAE's release, of timm or of
        transformers (.pth, .safetensors); its decoder too, if it has one of this shape. Default:
        random.
    seed : int
        Fixes weights, order, masks and augmentation.
    checkpoint_minutes : float
        Time between checkpoints.
    resume : bool
        Go on where an interrupted run in the same folder stopped.
    """

    data: DataSettings
    out: str
    model: ModelSettings = field(default_factory=ModelSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    mask_ratio: float = 0.75
    init: str | None = None
    seed: int = 0
    checkpoint_minutes: float = 5.0
    resume: bool = False


def _fine_tuning_optimizer() -> OptimizerSettings:
    return OptimizerSettings(
        epochs=100, batch_size=32, base_lr=1e-3, min_lr=1e-6, warmup=0.05, betas=(0.9, 0.999)
    )


@dataclass
class FinetuneSettings:
    """Train a classifier on a pre-trained encoder, all weights included.

    Parameters
    ----------
    data : DataSettings
        Labelled images; must be read as in pre-training.
    out : str
        The run's folder.
    encoder : str, optional
        The run folder of a pre-training, or a checkpoint file as for pre-training's init, with the
        normalisation that files beside it tell. Default: random weights, the control that a
        pre-trained encoder must beat.
    model : ModelSettings
        The vision transformer where the encoder is no run folder.
    augment : AugmentSettings
        Random changes to the training images.
    optimizer : OptimizerSettings
        Optimiser and schedule.
    hardware : HardwareSettings
        Devices and precision.
    pooling : str
        mean (of the patches), moments (their mean and deviation) or token (the class token).
    layer_decay : float
        Each block's learning rate is this times that of the block above it.
    drop_path : float
        Rate at which the last block is skipped in training.
    label_smoothing : float
        Share of the target spread over all classes.
    class_weights : str
        none, or balanced (inverse to the classes' frequency in the training part).
    patience : int
        Epochs without a lower validation loss after which training stops.
    allow_seen : bool
        Go on although pre-training has seen test images; their number is reported.
    seed : int
        Fixes weights, order and augmentation.
    resume : bool
        Go on where an interrupted run in the same folder stopped.
    """

    data: DataSettings
    out: str
    encoder: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(crop_scale=(0.6, 1.0)))
    optimizer: OptimizerSettings = field(default_factory=_fine_tuning_optimizer)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    pooling: Literal["mean", "moments", "token"] = "mean"
    layer_decay: float = 0.75
    drop_path: float = 0.1
    label_smoothing: float = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    patience: int = 20
    allow_seen: bool = False
    seed: int = 0
    resume: bool = False


@dataclass
class ProbeSettings:
    """Classify an encoder's frozen features with a linear and a nearest-neighbour probe.

    Parameters
    ----------
    data : DataSettings
        Labelled images; must be read as in pre-training.
    out : str
        The run's folder.
    encoder : str, optional
        The run folder of a pre-training, or a checkpoint file as for pre-training's init. Default:
        random weights, the control.
    model : ModelSettings
        The vision transformer where the encoder is no run folder.
    hardware : HardwareSettings
        Devices and precision.
    pooling : str
        mean (of the patches), moments (their mean and deviation) or token (the class token).
    beside_glcms : bool
        Whether the mean GLCM of the image's tiles (the baseline glcm_local) stands beside the
        encoder's features: what the two know together, against the GLCMs alone, is what the
        encoder adds.
    neighbours : int
        How many neighbours vote.
    allow_seen : bool
        Go on although pre-training has seen test images; their number is reported.
    seed : int
        Fixes random weights and the inner folds.
    resume : bool
        Return what a finished run in the same folder has found; begin an unfinished one anew.
    """

    data: DataSettings
    out: str
    encoder: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    pooling: Literal["mean", "moments", "token"] = "mean"
    beside_glcms: bool = False
    neighbours: int = 20
    allow_seen: bool = False
    seed: int = 0
    resume: bool = False


@dataclass
class BaselineSettings:
    """Classify images without a pre-training: what an encoder must beat.

    Parameters
    ----------
    data : DataSettings
        Labelled images, read as for the encoders that they are compared with.
    out : str
        The run's folder.
    kind : str
        glcm_logistic or glcm_boosting (the 25 GLCM features of IBSI at 4 distances, in a logistic
        regression or gradient boosting), glcm_local (the mean GLCM of tiles of 16 x 16 pixels, each
        about its own mean), pixels (the image at 32 x 32), histogram (of its gray levels),
        shortcuts (what has nothing to do with the disease: size, border, sharpness and so on of the
        file), or convolutional (a residual network of 0.7 million weights, trained with the labels
        alone for 60 epochs; on a core some ten minutes for 1,000 images of 128 x 128).
    seed : int
        Fixes the inner folds by which a classifier's strength is chosen; of convolutional its
        first weights, the order of images and their crops (to the bit on a CPU).
    hardware : HardwareSettings
        Where convolutional is trained; the others need a CPU.
    resume : bool
        Return what a finished run in the same folder has found; begin an unfinished one anew.
    """

    data: DataSettings
    out: str
    kind: BaselineKind = "glcm_logistic"
    seed: int = 0
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    resume: bool = False
