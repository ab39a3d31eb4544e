"""Features of a volume against pyradiomics, with its bins and its names (docs/texture.md)."""

import logging
import math

import numpy as np
import pytest
import torch

from glcm_mae.texture import FEATURE_NAMES, fixed_bin_size, volume_features

pytest.importorskip("radiomics", reason="pyradiomics is not installed: it needs a compiler")

NAMES = {
    "Autocorrelation": "autocorrelation",
    "ClusterProminence": "cluster_prominence",
    "ClusterShade": "cluster_shade",
    "ClusterTendency": "cluster_tendency",
    "Contrast": "contrast",
    "Correlation": "correlation",
    "DifferenceAverage": "difference_average",
    "DifferenceEntropy": "difference_entropy",
    "DifferenceVariance": "difference_variance",
    "Id": "inverse_difference",
    "Idm": "inverse_difference_moment",
    "Idmn": "normalised_inverse_difference_moment",
    "Idn": "normalised_inverse_difference",
    "Imc1": "information_correlation_1",
    "Imc2": "information_correlation_2",
    "InverseVariance": "inverse_variance",
    "JointAverage": "joint_average",
    "JointEnergy": "angular_second_moment",
    "JointEntropy": "joint_entropy",
    "MaximumProbability": "joint_maximum",
    "SumAverage": "sum_average",
    "SumEntropy": "sum_entropy",
    "SumSquares": "joint_variance",
}


def test_a_region_has_the_features_that_pyradiomics_finds():
    import SimpleITK
    from radiomics import glcm

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    volume = np.random.default_rng(0).normal(40, 60, (9, 20, 20)).astype(np.int16)
    region = np.zeros_like(volume, dtype=np.uint8)
    region[2:7, 3:15, 4:18] = 1
    features = glcm.RadiomicsGLCM(
        SimpleITK.GetImageFromArray(volume), SimpleITK.GetImageFromArray(region), binWidth=25
    )
    for name in NAMES:
        features.enableFeatureByName(name)
    expected = features.execute()

    mask = torch.from_numpy(region) > 0
    low = math.floor(volume[region > 0].min() / 25) * 25
    codes, levels = fixed_bin_size(torch.from_numpy(volume), 25.0, low, mask=mask)
    found = volume_features(codes, levels, aggregation="3d_averaged", mask=mask)
    for theirs, ours in NAMES.items():
        value = found[FEATURE_NAMES.index(ours)].item()
        assert value == pytest.approx(float(expected[theirs]), rel=1e-10), theirs
