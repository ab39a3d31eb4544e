"""Every setting of every stage, with its default: what `--help` shows and recipes fill in.

Nothing here imports anything heavy, so that the command line answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Size = int | tuple[int, int]
BaselineKind = Literal["glcm_logistic", "glcm_boosting", "pixels", "histogram", "shortcuts"]


@dataclass
class DataSettings:
    """Which images, and how they are read.

    Parameters
    ----------
    images : str
        A folder (class-per-folder, or unlabelled images), a manifest (CSV with the columns path,
        frame, label, patient, split; only path is needed), or a MedMNIST .npz.
    image_size : int or (int, int)
        Height and width in pixels that the network sees.
    resize : str
        How images of other sizes get there: none (refuse), crop (keep the aspect ratio, cut), pad
        (keep it, fill with zeros), stretch.
    color : str
        auto (as stored; all must be alike), gray (luminance), rgb.
    window : (float, float) or str, optional
        Values that become 0 and 1, in the file's real unit (Hounsfield for CT); or lung,
        soft_tissue or bone; or file, the DICOM file's own first window. Default: the full range of
        the stored bits.
    invert_monochrome1 : bool
        Invert the images that store white as 0 (DICOM's MONOCHROME1); without it they are refused.
    plane : str
        How NIfTI volumes are cut into slices: axial, coronal, sagittal.
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
    window: tuple[float, float] | Literal["lung", "soft_tissue", "bone", "file"] | None = None
    invert_monochrome1: bool = False
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
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
class PairSettings:
    """Which pixel pairs are counted, and how softly.

    Parameters
    ----------
    offsets : list of (int, int)
        (dy, dx) from the first pixel of a pair to the second.
    kernel : str
        gaussian, bspline (cubic), linear, or sigmoid (the paper's).
    bandwidth : float, optional
        Width of the kernel in intensity units. Default: one bin; for sigmoid a thirtieth of one;
        for the form pair_kernel 0.05 of the range.
    value_range : (float, float), optional
        Ends of the gray scale; null for the least and greatest value of the training images.
    """

    offsets: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1), (1, 0)])
    kernel: Literal["gaussian", "bspline", "linear", "sigmoid"] = "gaussian"
    bandwidth: float | None = None
    value_range: tuple[float, float] | None = (0.0, 1.0)


@dataclass
class TargetSettings(PairSettings):
    """The texture that texture prediction asks for.

    Parameters
    ----------
    levels : int
        Gray levels.
    scope : str or int
        patch, image, or an odd number of patches: the side of the block of patches around the
        removed one over which its GLCM is taken, cut off at the image's border.
    descriptor : str
        glcm (its entries), haralick (13 features of it) or both.
    """

    levels: int = 8
    scope: Literal["patch", "image"] | int = "patch"
    descriptor: Literal["glcm", "haralick", "both"] = "glcm"


@dataclass
class TextureSettings(PairSettings):
    """The distance between textures that texture reconstruction minimises.

    Parameters
    ----------
    form : str
        glcm (squared difference of soft GLCMs, the paper's), pair_kernel (the same without bins)
        or transport (how far gray levels must move).
    levels : int or list of int
        Of the form glcm: gray levels; several for the sum over several bandwidths.
    weights : list of float
        How much each offset counts. Default: all alike.
    bandwidth_end : float, optional
        Bandwidth at the end of the training, approached by a constant factor a step. Default: that
        of the beginning.
    scaled : bool
        Of the form glcm: damp the cells that flat regions fill.
    normalized : bool
        Of the form glcm: compare frequencies instead of counts.
    pool : str or int
        patch, image, or a block of so many patches squared, over which pixel pairs are pooled
        before they are compared.
    channels : str
        all, first, or luminance.
    """

    form: Literal["glcm", "pair_kernel", "transport"] = "glcm"
    levels: int | list[int] = 32
    weights: list[float] = field(default_factory=list)
    bandwidth_end: float | None = None
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
        Weight of texture reconstruction: the distance between the textures of the redrawn and the
        true patches (the paper's).
    glcm_prediction : float
        Weight of texture prediction: a linear head predicts the texture of each removed patch.
    norm_pix_loss : bool
        Normalise each target patch to mean 0 and variance 1 for mse.
    balance : str
        fixed (weights as given) or gradient_norm (each term scaled so that its gradient at the
        decoder's output has the norm of the first term's, then weighted).
    mse_first : float
        Share of the training that uses mse alone, with weight 1, before the terms above.
    texture : TextureSettings
        The distance of the term glcm.
    target : TargetSettings
        The texture that the term glcm_prediction asks for.
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
    resume : bool
        Return what a finished run in the same folder has found; begin an unfinished one anew.
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
    resume: bool = False


@dataclass
class BaselineSettings:
    """Classify images by hand-made features: what an encoder must beat.

    Parameters
    ----------
    data : DataSettings
        Labelled images, read as for the encoders that they are compared with.
    out : str
        The run's folder.
    kind : str
        glcm_logistic or glcm_boosting (the 25 GLCM features of IBSI at 4 distances, in a logistic
        regression or gradient boosting), pixels (the image at 32 x 32), histogram (of its gray
        levels), or shortcuts (what has nothing to do with the disease: size, border, sharpness and
        so on of the file).
    seed : int
        Fixes the inner folds by which a classifier's strength is chosen.
    resume : bool
        Return what a finished run in the same folder has found; begin an unfinished one anew.
    """

    data: DataSettings
    out: str
    kind: BaselineKind = "glcm_logistic"
    seed: int = 0
    resume: bool = False


@dataclass
class EngineSettings:
    """Where the cells of a study run.

    Parameters
    ----------
    name : str
        here (one after another in this process); local or slurm (jobs of submitit, an extra:
        pip install 'glcm-mae[cluster]').
    jobs : int
        Of local and slurm: jobs among which the cells are shared out, at work at the same time.
    hours : float
        Of local and slurm: time after which a job is ended. The same command goes on.
    options : list of str
        Of slurm: further parameters of submitit, each as name=value, such as slurm_partition=gpu
        or gpus_per_node=1.
    """

    name: Literal["here", "local", "slurm"] = "here"
    jobs: int = 1
    hours: float = 24.0
    options: list[str] = field(default_factory=list)


@dataclass
class CrossvalSettings:
    """Cross-validate a recipe: pre-train, probe and fine-tune in each fold, over several seeds.

    The recipe's sections pretrain, probe and finetune say how (--config). The same command goes on
    with what was stopped, and takes up more seeds.

    Parameters
    ----------
    images : str
        Labelled images: a folder or a manifest. A split that it gives is the only fold.
    out : str
        The study's folder.
    folds : int
        Folds, stratified by class, in which patients and copies stay together.
    seeds : int
        How many trainings of each fold; they differ in initial weights, order and masks.
    split_seed : int
        Seed of the folds.
    by : list of str
        How encoders are judged: linear, knn (on frozen features), finetune.
    set : list of str
        Settings that win over the recipe's and the arms': data.resize=crop for every stage,
        pretrain.optimizer.epochs=50 for one.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    pretrain_on : str, optional
        Images to pre-train on. Those that a fold tests, as copies or by their patient, are left
        out there and counted. Default: the fold's training part.
    positive : str, optional
        The class whose sensitivity is meant; of more than two, it is also told from the rest.
    n_resamples : int
        Bootstrap samples.
    engine : EngineSettings
        Where the cells run.
    """

    images: str
    out: str
    folds: int = 5
    seeds: int = 3
    split_seed: int = 0
    by: list[Literal["linear", "knn", "finetune"]] = field(
        default_factory=lambda: ["linear", "knn", "finetune"]
    )
    set: list[str] = field(default_factory=list)
    patient_regex: str | None = None
    pretrain_on: str | None = None
    positive: str | None = None
    n_resamples: int = 2000
    engine: EngineSettings = field(default_factory=EngineSettings)


@dataclass
class CompareSettings(CrossvalSettings):
    """Compare pre-trainings: arms x folds x seeds on the same splits, and baselines beside them.

    The recipe (--config) is what all arms share; an arm is a recipe laid over it. The same command
    goes on with what was stopped, tries again what failed, and takes up more arms and seeds.

    Parameters
    ----------
    arms : list of str
        random (no pre-training), names of the package's arms (mse, paper, texture_prediction and
        so on), or YAML files with a section pretrain.
    reference : str
        The arm that the others are compared with.
    baselines : list of str
        Classifiers on hand-made features: glcm_logistic, glcm_boosting, pixels, histogram,
        shortcuts.
    protocol : str
        leak_free; or published: folds image by image and one pre-training on all images for all
        folds, as in the release of GLCM-MAE, to see what its leaks are worth.
    """

    arms: list[str] = field(
        default_factory=lambda: ["random", "mse", "paper", "gaussian_pooled", "texture_prediction"]
    )
    reference: str = "mse"
    baselines: list[BaselineKind] = field(
        default_factory=lambda: [
            "glcm_logistic",
            "glcm_boosting",
            "pixels",
            "histogram",
            "shortcuts",
        ]
    )
    protocol: Literal["leak_free", "published"] = "leak_free"


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


@dataclass
class DataCheckSettings:
    """Audit a data set: damaged images, copies, shortcuts, leaks (then the exit code is 1).

    Exits with 0 if a split made as asked would not leak, with 1 if it would: if the given split
    has a patient or a copy on two sides, or, where none is given, if copies are of two patients.

    Parameters
    ----------
    images : str
        A folder or a manifest, as for training.
    out : str, optional
        Folder for audit.json and audit.html. Default: only the terminal.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    folds : int
        Folds that every class shall allow, and those in which shortcuts are tested.
    seed : int
        Seed of these folds and of the bootstrap.
    """

    images: str
    out: str | None = None
    patient_regex: str | None = None
    folds: int = 5
    seed: int = 0


@dataclass
class DataSplitSettings:
    """Split a data set so that neither a patient nor a copy stands on two sides.

    Parameters
    ----------
    images : str
        A folder or a manifest, as for training. A split that it gives is kept and lacks at most
        its validation part.
    out : str
        The manifest to write (CSV); for kfold one for each fold, with -fold0 and so on behind
        its name.
    method : str
        holdout (a fold for testing, one for validation, the rest for training) or kfold (each
        fold for testing in turn).
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    folds : int
        Folds, stratified by class and grouped by patient and copies together.
    fold : int
        The fold that holdout tests on.
    seed : int
        Seed of the folds.
    """

    images: str
    out: str
    method: Literal["holdout", "kfold"] = "holdout"
    patient_regex: str | None = None
    folds: int = 5
    fold: int = 0
    seed: int = 0


@dataclass
class DataManifestSettings:
    """Build a manifest from folders, file names, DICOM headers or a known set.

    Parameters
    ----------
    images : str
        A folder of images (or the .npz file of a MedMNIST set).
    out : str
        The manifest to write (CSV).
    layout : str, optional
        A public set by name: busi, chest_xray, covid_ct, gbcu or medmnist.
    pattern : str, optional
        Regular expression with groups named label, patient or split, searched in each path below
        the folder, as in '(?P<label>[^/]+)/(?P<patient>p[0-9]+)'.
    leave_out : str, optional
        Regular expression; files whose path it finds are left out.
    dicom_patients : bool
        Take the patients from the DICOM headers; needs key_file.
    key_file : str, optional
        A secret with which patients are turned into codes; made if it does not exist. It must
        lie outside the manifest's folder.
    official_split : bool
        Keep the split that folders or a layout give.
    """

    images: str
    out: str
    layout: Literal["busi", "chest_xray", "covid_ct", "gbcu", "medmnist"] | None = None
    pattern: str | None = None
    leave_out: str | None = None
    dicom_patients: bool = False
    key_file: str | None = None
    official_split: bool = True


@dataclass
class MeasurementSettings:
    """How texture is measured: the values, their gray levels, and the pixel pairs.

    Parameters
    ----------
    color : str
        auto (gray images as they are, colour images are refused) or gray (their luminance).
    window : (float, float) or str, optional
        Values that become 0 and 1, those beyond too, in the file's real unit (Hounsfield for CT);
        or lung, soft_tissue or bone; or file, the DICOM file's own first window. Default: the
        values in their real unit, none of them changed.
    invert_monochrome1 : bool
        Invert the images that store white as 0 (DICOM's MONOCHROME1); without it they are refused.
    plane : str
        How NIfTI volumes are cut into slices: axial, coronal, sagittal.
    binning : str
        fixed_bin_number (the region's own range is cut into levels bins), fixed_bin_size (bins of
        bin_width from the lower end of range, or from 0), range (range is cut into levels bins).
    levels : int
        Number of gray levels, except with fixed_bin_size.
    bin_width : float, optional
        Width of a bin of a fixed size, in the unit of the values.
    range : (float, float), optional
        Values that are measured; pixels beyond are left out of the region. With a window, which
        runs from 0 to 1, that is the default of binning range.
    distance : int
        Chebyshev distance of the two pixels of a pair.
    """

    color: Literal["auto", "gray"] = "auto"
    window: tuple[float, float] | Literal["lung", "soft_tissue", "bone", "file"] | None = None
    invert_monochrome1: bool = False
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    binning: Literal["fixed_bin_number", "fixed_bin_size", "range"] = "fixed_bin_number"
    levels: int = 32
    bin_width: float | None = None
    range: tuple[float, float] | None = None
    distance: int = 1


@dataclass(kw_only=True)
class FeaturesSettings(MeasurementSettings):
    """Measure the texture of images: the 25 GLCM features of IBSI, as a table.

    Parameters
    ----------
    images : str
        An image, a folder of images, or a manifest (CSV); a file of several images stands for all.
    out : str
        The table to write (CSV).
    masks : str, optional
        Where each image's mask lies: a folder with files of the images' names; or a file, with
        {folder} and {name} for the image's folder and its name without the ending. 0 is outside,
        each other number a region of its own.
    per : str
        image, or patient: the mean over each patient's images.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    aggregation : str
        averaged (over the 4 directions) or merged (the pairs of all), slice by slice; or IBSI's
        name of a way over the volume that the images of a file make, whose voxels should be cubes.
    on_error : str
        stop at the first unreadable image, or skip and report it.
    """

    images: str
    out: str
    masks: str | None = None
    per: Literal["image", "patient"] = "image"
    patient_regex: str | None = None
    aggregation: Literal[
        "averaged",
        "merged",
        "2d_averaged",
        "2d_slice_merged",
        "2.5d_direction_merged",
        "2.5d_merged",
        "3d_averaged",
        "3d_merged",
    ] = "averaged"
    on_error: Literal["stop", "skip"] = "stop"

    @property
    def is_volumetric(self) -> bool:
        """Whether the images of a file are measured as one volume."""
        return self.aggregation not in ("averaged", "merged")


@dataclass(kw_only=True)
class TextureMapSettings(MeasurementSettings):
    """Draw a map of texture: a GLCM feature in a window around each pixel.

    Parameters
    ----------
    image : str
        The image.
    out : str
        The file to write: a picture (.png), or the bare values (.npy, or .tif of 32-bit floats).
    feature : str
        One of IBSI's 25 GLCM features, such as joint_entropy or contrast.
    window_size : int
        Side of the window in pixels, odd.
    frame : int, optional
        Which image of a file that holds several, counted from 0.
    """

    image: str
    out: str
    feature: str = "joint_entropy"
    window_size: int = 15
    frame: int | None = None


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
