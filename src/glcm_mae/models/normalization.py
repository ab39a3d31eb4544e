"""By which mean and deviation images were normalised for weights that lie in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .beside import told_beside

# Where these write them: file, group in it, names of mean and deviation.
_PLACES = (
    ("config.json", None, "mean", "std"),
    ("config.json", "pretrained_cfg", "mean", "std"),
    ("preprocessor_config.json", None, "image_mean", "image_std"),
)


def normalization_beside(weights: str | Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Read the normalisation that stands in the files beside a checkpoint.

    Parameters
    ----------
    weights : str or Path
        The file of the weights: of a run, or of a folder of timm's or transformers'.

    Returns
    -------
    (mean, std) or None
        Of each channel, for images in [0, 1]. None where nothing tells it; see `told_beside`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     told = '{"pretrained_cfg": {"mean": [0.4], "std": [0.2]}}'
    ...     _ = Path(folder, "config.json").write_text(told)
    ...     normalization_beside(Path(folder, "model.safetensors"))
    ((0.4,), (0.2,))
    """
    for file, group, mean, std in _PLACES:
        told = told_beside(Path(weights), file)
        if told.get("do_normalize") is False:
            return None
        told = told.get(group, {}) if group else told
        if isinstance(told, dict) and _are_moments(told.get(mean), told.get(std)):
            return tuple(map(float, told[mean])), tuple(map(float, told[std]))
    return None


def _are_moments(mean: Any, std: Any) -> bool:
    lists = isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) > 0
    if not lists or not all(type(value) in (int, float) for value in [*mean, *std]):
        return False
    return all(0 <= value <= 1 for value in mean) and all(0 < value <= 1 for value in std)
