"""What is refused before a stage begins."""

from __future__ import annotations

from pathlib import Path

from glcm_mae import settings
from glcm_mae.errors import UserError
from glcm_mae.files import keep_inputs

# What the runs of several commands write, of what others, or the same in another folder, read.
_OF_RUNS = (
    *("predictions.csv", "validation.csv", "unlabelled.csv", "explanations.csv"),
    *("seen.csv", "gray_values.csv"),
    *("encoder.safetensors", "decoder.safetensors", "head.safetensors"),
)


def check_folder(out: str) -> None:
    """Refuse a file in the place of a run's folder."""
    if Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{out} is a file: choose a folder with --out.")


def check_empty(out: Path) -> None:
    """Refuse a place where something lies already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: remove it, or choose another folder with --out.")


def check_apart(out: str, read: str, what: str = "the folder of images") -> None:
    """Refuse to write into a folder that is read, where results would be taken for its content."""
    folder = Path(read).resolve()
    if folder.is_dir() and folder in (Path(out).resolve(), *Path(out).resolve().parents):
        raise UserError(f"out is {out}, in {what} {read}: choose another.")


def keep_inputs_of_run(out: str, read: str | None) -> None:
    """Refuse a run's folder in which what is read would be written over: a manifest, weights."""
    if read is not None:
        for name in ("", *_OF_RUNS):
            keep_inputs(Path(out) / name, [read])


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that NumPy, PyTorch or scikit-learn does not take."""
    if not 0 <= seed < 2**32:
        raise UserError(f"{name} is {seed}: set it from 0 to {2**32 - 1}.")


def check_shared(seed: int, data: settings.DataSettings, out: str = "") -> None:
    """Refuse early what only the end, or NumPy, PyTorch or scikit-learn would refuse."""
    from glcm_mae.data.fitting import check_image_size
    from glcm_mae.training.inputs import check_cache

    if out:
        check_folder(out)
        check_apart(out, data.images)
        check_cache(data.cache, data.images, out)
        keep_inputs_of_run(out, data.images)
    check_image_size(settings.height_and_width(data.image_size))
    check_seed("seed", seed)
    check_seed("data.split_seed", data.split_seed)
