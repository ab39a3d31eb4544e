"""The texture functions inside of functions that torch compiles, in a process that ran none yet."""

import subprocess
import sys

import pytest

CALLS = {
    "GLCMLoss": "GLCMLoss(8)(x[None], x[None]).sum()",
    "PairKernelLoss": "PairKernelLoss()(x[None], x[None]).sum()",
    "TransportLoss": "TransportLoss()(x[None], x[None]).sum()",
    "soft_glcm": "soft_glcm(x, Binning(8))",
    "graycomatrix": "graycomatrix(quantize(x, 8), 8)",
    "sparse graycomatrix": "graycomatrix(quantize(x, 8), 8, sparse=True).to_dense()",
    "image_features": "image_features(quantize(x, 8), 8)",
    "texture_map": "texture_map(quantize(x, 8), 8, window=3)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_compiled_callers_get_the_same(call):
    program = f"""
import torch
from glcm_mae.texture import *
def work(x):
    return {call} * 2
x = torch.rand(1, 16, 16)
found = torch.compile(work, backend="eager")(x)
assert torch.equal(found, work(x))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
