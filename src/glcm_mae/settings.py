"""Every setting of every stage, with its default: what `--help` shows and recipes fill in.

Nothing here imports anything heavy, so that the command line answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Size = int | tuple[int, int]


@dataclass
class DataSettings:
    """Which images, and how they are read.

    Parameters
    ----------
    images : str
        A folder (class-per-folder, or unlabelled images) or a manifest (CSV with the columns path,
        label, patient, split; only path is needed).
    image_size : int or (int, int)
        Height and width in pixels that the network sees.
    resize : str
        How images of other sizes get there: none (refuse), crop (keep the aspect ratio, cut), pad
        (keep it, fill with zeros), stretch.
    color : str
        auto (as stored; all must be alike), gray (luminance), rgb.
    window : (float, float), optional
        Stored values that become 0 and 1. Default: the full range of the stored type.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    folds : int
        Folds, grouped by patient and stratified by class, where the manifest gives no split.
    fold : int, optional
        The fold that is held out for testing; the next one is for validation. Default: none is
        held out (pretrain uses all images, probe tests each fold in turn, finetune fold 0). Where
        the manifest gives a split, its test part is held out instead.
    split_seed : int
        Seed of the folds: the same in every stage that belongs together.
    on_error : str
        stop at the first unreadable image, or skip and report it.
    """

    images: str
    image_size: Size = 224
    resize: Literal["none", "crop", "pad", "stretch"] = "none"
    color: Literal["auto", "gray", "rgb"] = "auto"
    window: tuple[float, float] | None = None
    patient_regex: str | None = None
    folds: int = 5
    fold: int | None = None
    split_seed: int = 0
    on_error: Literal["stop", "skip"] = "stop"


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
class TargetSettings:
    """The soft GLCM that texture prediction asks for.

    Parameters
    ----------
    levels : int
        Gray levels.
    offsets : list of (int, int)
        (dy, dx) from the first pixel of a pair to the second.
    kernel : str
        gaussian, linear, or sigmoid (the paper's).
    bandwidth : float, optional
        Width of the kernel in intensity units. Default: one bin; for sigmoid a thirtieth of one.
    value_range : (float, float), optional
        Ends of the gray scale; null for the least and greatest value of the training images.
    """

    levels: int = 8
    offsets: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1), (1, 0)])
    kernel: Literal["gaussian", "linear", "sigmoid"] = "gaussian"
    bandwidth: float | None = None
    value_range: tuple[float, float] | None = (0.0, 1.0)


@dataclass
class TextureSettings(TargetSettings):
    """The soft GLCM whose distance texture reconstruction minimises.

    Parameters
    ----------
    levels : int
        Gray levels.
    scaled : bool
        Damp the cells that flat regions fill.
    normalized : bool
        Compare frequencies instead of counts.
    pool : str or int
        patch, image, or a block of so many patches squared, over which GLCMs are averaged before
        they are compared.
    channels : str
        all, first, or luminance.
    """

    levels: int = 32
    scaled: bool = False
    normalized: bool = False
    pool: Literal["patch", "image"] | int = "patch"
    channels: Literal["all", "first", "luminance"] = "all"


@dataclass
class ObjectiveSettings:
    """What pre-training minimises: a weighted sum of terms; a weight of 0 leaves a term out.

    Parameters
    ----------
    mse : float
        Weight of the squared error of the removed patches' pixels.
    ssim : float
        Weight of 1 - SSIM over the removed pixels.
    glcm : float
        Weight of texture reconstruction: the distance between the GLCMs of the redrawn and the
        true patches (the paper's).
    glcm_prediction : float
        Weight of texture prediction: a linear head predicts each removed patch's GLCM.
    norm_pix_loss : bool
        Normalise each target patch to mean 0 and variance 1 for mse.
    balance : str
        fixed (weights as given) or gradient_norm (each term scaled so that its gradient at the
        decoder's output has the norm of the first term's, then weighted).
    mse_first : float
        Share of the training that uses mse alone, with weight 1, before the terms above.
    texture : TextureSettings
        The GLCM of the term glcm.
    target : TargetSettings
        The GLCM of the term glcm_prediction.
    """

    mse: float = 1.0
    ssim: float = 0.0
    glcm: float = 0.0
    glcm_prediction: float = 1.0
    norm_pix_loss: bool = False
    balance: Literal["fixed", "gradient_norm"] = "fixed"
    mse_first: float = 0.0
    texture: TextureSettings = field(default_factory=TextureSettings)
    target: TargetSettings = field(default_factory=TargetSettings)


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
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    flip: bool = False
    rotate: float = 0.0
    brightness_contrast: float = 0.0


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
        Weights to start from: a run folder, or an official MAE or timm checkpoint (.pth,
        .safetensors). Default: random.
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
        The run folder of a pre-training. Default: random weights, the control that a
        pre-trained encoder must beat.
    model : ModelSettings
        The vision transformer where there is no encoder.
    augment : AugmentSettings
        Random changes to the training images.
    optimizer : OptimizerSettings
        Optimiser and schedule.
    hardware : HardwareSettings
        Devices and precision.
    pooling : str
        mean (of the patches) or token (the class token).
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
    pooling: Literal["mean", "token"] = "mean"
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
        The run folder of a pre-training. Default: random weights, the control.
    model : ModelSettings
        The vision transformer where there is no encoder.
    hardware : HardwareSettings
        Devices and precision.
    pooling : str
        mean (of the patches) or token (the class token).
    neighbours : int
        How many neighbours vote.
    allow_seen : bool
        Go on although pre-training has seen test images; their number is reported.
    seed : int
        Fixes random weights and the inner folds.
    """

    data: DataSettings
    out: str
    encoder: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    pooling: Literal["mean", "token"] = "mean"
    neighbours: int = 20
    allow_seen: bool = False
    seed: int = 0


@dataclass
class EvaluateSettings:
    """Measure predictions, each metric with an interval from a bootstrap over patients.

    Parameters
    ----------
    predictions : str
        A predictions.csv, or a run folder that holds one or several.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Seed of the bootstrap.
    positive : str, optional
        With two classes, the one whose sensitivity is meant. Default: the last by name.
    against : str, optional
        The predictions.csv, or run folder, of another arm on the same images: says how much
        better or worse this one is than that, with intervals from the same resamples.
    """

    predictions: str
    n_resamples: int = 2000
    seed: int = 0
    positive: str | None = None
    against: str | None = None


@dataclass
class ReconstructSettings:
    """Draw what a pre-trained model makes of images: input, masked, redrawn, and their GLCMs.

    Parameters
    ----------
    run : str
        The run folder of a pre-training.
    data : DataSettings
        Images; must be read as in pre-training.
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


@dataclass
class DemoSettings:
    """Run the whole of it on a simulated ultrasound phantom: two arms, probed side by side.

    Parameters
    ----------
    out : str
        Folder for data, runs and pictures.
    epochs : int
        Epochs of pre-training of each arm.
    unlabelled_patients : int
        Simulated patients per class whose images are for pre-training alone.
    labelled_patients : int
        Simulated patients per class whose images are for probing.
    images_per_patient : int
        Images of each.
    seed : int
        Fixes everything.
    """

    out: str = "demo"
    epochs: int = 20
    unlabelled_patients: int = 150
    labelled_patients: int = 60
    images_per_patient: int = 4
    seed: int = 0


def height_and_width(size: Size) -> tuple[int, int]:
    """Read an image size given as one number or as two.

    Parameters
    ----------
    size : int or (int, int)
        Side of a square, or height and width.

    Returns
    -------
    (int, int)
        Height and width.

    Examples
    --------
    >>> height_and_width(224), height_and_width((128, 256))
    ((224, 224), (128, 256))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])
