"""Gray-level co-occurrence matrices (GLCM) in PyTorch, and the texture loss built on them.

Needs torch only (numba, where it is installed, makes the loss fast on a CPU) and imports nothing
else of the package.
"""

from .binning import Binning
from .features import FEATURE_NAMES, glcm_features
from .hard import graycomatrix, quantize
from .loss import GLCMLoss
from .soft import soft_glcm

__all__ = [
    "FEATURE_NAMES",
    "Binning",
    "GLCMLoss",
    "glcm_features",
    "graycomatrix",
    "quantize",
    "soft_glcm",
]
