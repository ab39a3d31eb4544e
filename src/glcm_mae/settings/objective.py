"""What pre-training minimises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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
    scope : int or str
        An odd number of patches: the side of the block of patches around the removed one over
        which its GLCM is taken, cut off at the image's border; or patch, or image.
    descriptor : str
        glcm (its entries), haralick (13 features of it) or both; to compare with, histogram (of
        its gray levels), hog (histograms of oriented gradients, as MaskFeat asks for) or deviation
        (of its gray values, one number).
    relative : bool
        Bring each patch's mean gray value to the middle of the range first, so that texture is
        asked for and not brightness.
    whitened : bool
        Let each principal direction of the descriptor count alike, instead of each entry.
    kept : bool
        Ask for the texture of the kept patches, too, which the encoder sees.
    """

    levels: int = 8
    scope: Literal["patch", "image"] | int = 3
    descriptor: Literal["glcm", "haralick", "both", "histogram", "hog", "deviation"] = "glcm"
    relative: bool = True
    whitened: bool = False
    kept: bool = False


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
        Weight of texture prediction: a linear head predicts the texture of patches.
    norm_pix_loss : bool
        Let the network redraw each patch up to brightness and contrast: for mse the target patch
        is normalised to mean 0 and variance 1, for ssim and glcm the redrawn patch gets mean and
        variance of the target.
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
