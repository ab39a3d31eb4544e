"""Gray-level co-occurrence matrices (GLCM) in PyTorch, and the texture losses built on them.

Needs torch and numpy alone (numba, where it is installed, makes it fast on a CPU), and imports
nothing else of the package.
"""

from .binning import Binning
from .features import FEATURE_NAMES, glcm_features
from .hard import graycomatrix
from .loss import GLCMLoss
from .maps import texture_map
from .offsets import directions, offsets_at
from .pair_kernel import PairKernelLoss
from .patch_loss import PatchLoss
from .properties import graycoprops
from .quantization import fixed_bin_number, fixed_bin_size, quantize
from .region_features import image_features, volume_features
from .soft import soft_glcm
from .transport import TransportLoss
from .windows import windows
from .within import patches_within

__all__ = [
    "FEATURE_NAMES",
    "Binning",
    "GLCMLoss",
    "PairKernelLoss",
    "PatchLoss",
    "TransportLoss",
    "directions",
    "fixed_bin_number",
    "fixed_bin_size",
    "glcm_features",
    "graycomatrix",
    "graycoprops",
    "image_features",
    "offsets_at",
    "patches_within",
    "quantize",
    "soft_glcm",
    "texture_map",
    "volume_features",
    "windows",
]
