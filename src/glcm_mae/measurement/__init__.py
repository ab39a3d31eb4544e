"""Measuring texture in files: from images on disk to a table of features, or to a map of one."""

from glcm_mae.measurement.features import Outcome, images_to_measure, write_features
from glcm_mae.measurement.maps import FeatureMap, feature_map

__all__ = [
    "FeatureMap",
    "Outcome",
    "feature_map",
    "images_to_measure",
    "write_features",
]
