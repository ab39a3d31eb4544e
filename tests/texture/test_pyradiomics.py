"""Features of a volume against pyradiomics, with its bins and its names (docs/texture.md)."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from glcm_mae.texture import FEATURE_NAMES, fixed_bin_size, volume_features

pytest.importorskip("radiomics", reason="pyradiomics is not installed: it needs a compiler")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_region_has_the_features_that_pyradiomics_finds(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import SimpleITK
    from radiomics import glcm

    from texture_features import PYRADIOMICS

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    volume = np.random.default_rng(0).normal(40, 60, (9, 20, 20)).astype(np.int16)
    region = np.zeros_like(volume, dtype=np.uint8)
    region[2:7, 3:15, 4:18] = 1
    features = glcm.RadiomicsGLCM(
        SimpleITK.GetImageFromArray(volume), SimpleITK.GetImageFromArray(region), binWidth=25
    )
    features.enableAllFeatures()
    expected = features.execute()
    names = {theirs: ours for theirs, ours in PYRADIOMICS.items() if theirs in expected}
    assert len(names) == 23  # two more are deprecated there

    mask = torch.from_numpy(region) > 0
    low = math.floor(volume[region > 0].min() / 25) * 25
    codes, levels = fixed_bin_size(torch.from_numpy(volume), 25.0, low, mask=mask)
    found = volume_features(codes, levels, aggregation="3d_averaged", mask=mask)
    for theirs, ours in names.items():
        value = found[FEATURE_NAMES.index(ours)].item()
        assert value == pytest.approx(float(expected[theirs]), rel=1e-10), theirs
