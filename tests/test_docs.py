"""README and docs can be followed: links lead somewhere, commands are understood, programs run."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import glcm_mae
from glcm_mae.arguments import parse
from glcm_mae.errors import UserError
from glcm_mae.study.arms import read_arms

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The indented lines that call glcm-mae, continued lines joined and comments taken off."""
    joined = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^ {4}(glcm-mae .+)$", joined, re.M)
    return [line for line in found if "..." not in line]


def programs(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.+?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=line) for page in PAGES for line in commands(page)],
)
def test_commands_are_understood(line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize(
    "program",
    [pytest.param(text, id=page.name) for page in PAGES for text in programs(page)],
)
def test_programs_run(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # which pytest clears away
    exec(program, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_arms_that_are_named_exist() -> None:
    lines = [line for page in PAGES for line in commands(page)]
    studies = [parse(shlex.split(line, comments=True)[1:]) for line in lines if " compare " in line]
    assert len(studies) > 5
    read = set()
    for _, settings, options in studies:
        recipes = [word for word in shlex.split(options) if word != "--config"]
        how = recipes, settings.by, settings.set
        new = [arm for arm in settings.arms if (arm, str(how)) not in read]  # each takes a while
        if new:
            read_arms(new, *how)
        read |= {(arm, str(how)) for arm in new}


def test_there_is_something_to_follow() -> None:
    assert len(commands(ROOT / "docs" / "guide.md")) > 15
    assert len(programs(ROOT / "README.md")) == 1
    assert len(programs(ROOT / "docs" / "python.md")) == 6
    assert len(commands(ROOT / "README.md")) > 10
    assert len(links(ROOT / "README.md")) > 5


def test_a_misspelt_command_is_found() -> None:
    with pytest.raises(UserError):
        parse(["pretrain", "--data.imagez", "split.csv", "--out", "run"])


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == glcm_mae.__version__
