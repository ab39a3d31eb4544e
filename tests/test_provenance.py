import shutil
import subprocess

import pytest

import glcm_mae
from glcm_mae.provenance import made_by, tree_name


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git, whose names these are")
def test_a_folder_has_the_name_that_git_gives_it(tmp_path):
    package = tmp_path / "package"
    for name in ("a.py", "ab.py", "a/b.yaml", "a/empty.py", "a-b/c.py", "é.txt"):
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"" if "empty" in name else name.encode() * 100)
    _run_git(tmp_path, "init", "--quiet")
    _run_git(tmp_path, "add", "package")
    named = _run_git(tmp_path, "rev-parse", f"{_run_git(tmp_path, 'write-tree')}:package")
    for name in ("__pycache__/a.pyc", "a/__pycache__/b.pyc", ".hidden", "gone/__pycache__/c.pyc"):
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"compiled")
    assert tree_name(package) == named


def test_a_change_in_any_file_changes_the_name(tmp_path):
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "a.py"
    file.write_text("x = 1\n")
    before = tree_name(tmp_path)
    file.write_text("x = 2\n")
    assert tree_name(tmp_path) != before


def test_results_name_version_and_code():
    facts = made_by()
    assert facts["glcm_mae"] == glcm_mae.__version__
    assert len(facts["code"]) == 40


def _run_git(folder, *arguments):
    told = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()
