"""Without numba, and with one that is broken."""

import sys
import warnings

import pytest
import torch

from glcm_mae.texture import GLCMLoss, graycomatrix, image_features, numba_here
from glcm_mae.texture.numba_here import has_numba


@pytest.fixture(autouse=True)
def _asked_anew():
    has_numba.cache_clear()
    yield
    has_numba.cache_clear()


def _measured():
    codes = torch.arange(64).view(8, 8) % 5
    p, t = codes[None, None] / 5, codes.T[None, None] / 5
    return (
        graycomatrix(codes, 5),
        image_features(codes, 5),
        GLCMLoss(8, patch_size=8)(p, t),
    )


def test_nothing_is_compiled_where_numba_may_not(monkeypatch):
    assert has_numba()
    has_numba.cache_clear()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert not has_numba()


@pytest.mark.parametrize("state", ["missing", "broken"])
def test_values_are_the_same(state, monkeypatch, tmp_path):
    expected = _measured()
    has_numba.cache_clear()
    if state == "missing":
        monkeypatch.setattr(numba_here, "find_spec", lambda _: None)
    else:
        (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.4 or less')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "numba")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = _measured()
    about = [str(w.message) for w in told if "numba is installed" in str(w.message)]
    assert len(about) == (state == "broken")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
