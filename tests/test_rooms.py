"""Imports run one way, in the order in which CONTRIBUTING.md lists the rooms."""

import ast
import re
from pathlib import Path

import glcm_mae

PACKAGE = Path(glcm_mae.__file__).parent
PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
ROOMS = re.findall(r"^      (\w+)(?:/|\.py) +\w", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

# The demonstration is a command that runs commands.
ALLOWED = {("stages", "demo")}


def rooms_used(file: Path) -> set[str]:
    """Rooms that a file imports, at its top or inside a function."""
    used = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "glcm_mae":
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("glcm_mae."):
            used.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            used |= {name[1] for name in names if name[0] == "glcm_mae" and len(name) > 1}
    return used - {"__version__"}


def test_every_room_is_on_the_page() -> None:
    there = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert set(ROOMS) == there - {"__init__", "__pycache__"}


def test_imports_run_one_way() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for used in rooms_used(file) - {room}:
            runs_back = ROOMS.index(used) > ROOMS.index(room)
            assert not runs_back or (room, used) in ALLOWED, f"{file} imports {used}"


def test_texture_stands_alone() -> None:
    assert not set().union(*map(rooms_used, (PACKAGE / "texture").rglob("*.py"))) - {"texture"}
