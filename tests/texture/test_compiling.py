"""Compiled code is that of the files as they are, and needs no place to be kept."""

import subprocess
import sys
from types import SimpleNamespace

import numba
import pytest

from glcm_mae.texture import compiling

INNER = """
from glcm_mae.texture.compiling import compiled

@compiled
def inner(x):
    return x + {}
"""
OUTER = """
from glcm_mae.texture.compiling import compiled
from lanes import inner

@compiled
def outer(x):
    return inner(x)
"""
CALL = """
import sys
from pathlib import Path

from glcm_mae.texture import compiling

compiling._HERE = Path(sys.argv[1])
compiling._version.cache_clear()
sys.path.insert(0, sys.argv[1])
from outer_cpu import outer

print(outer(1))
"""


def test_a_change_in_one_file_is_noticed_by_the_functions_of_another(tmp_path):
    (tmp_path / "outer_cpu.py").write_text(OUTER)
    said = []
    for added in (1, 2, 2):
        (tmp_path / "lanes.py").write_text(INNER.format(added))
        call = [sys.executable, "-B", "-c", CALL, str(tmp_path)]  # Python's own cache goes by time
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        said.append(int(done.stdout))
    assert said == [2, 3, 3]
    folders = list((tmp_path / "__pycache__").glob("compiled-*"))
    assert len(folders) == 2  # the third call found what the second had kept
    assert all(list(folder.rglob("*.nbc")) for folder in folders)


def test_numbas_own_settings_stay_as_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    compiling.compiled(lambda x: x)
    kept = numba.config.CACHE_DIR
    assert kept == str(tmp_path)


def test_where_nothing_can_be_written_nothing_is_cached(monkeypatch):
    def read_only(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    known = SimpleNamespace(config=numba.config, njit=read_only)
    monkeypatch.setattr(compiling, "numba", known)

    @compiling.summing
    def double(x):
        return 2 * x

    assert double(3) == 6


@pytest.mark.parametrize("decorator", [compiling.compiled, compiling.summing])
def test_sums_are_reordered_only_where_that_is_asked_for(decorator):
    @decorator
    def add(x):
        return x + 1.0

    reordered = bool(add.targetoptions["fastmath"])
    assert reordered == (decorator is compiling.summing)
