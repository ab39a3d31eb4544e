"""Settings that were given and change nothing.

They are told of, not refused: recipes and studies give settings to stages and arms that share them.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from glcm_mae import settings

_NOT_OF_FORM = {
    "pair_kernel": ("levels", "kernel"),
    "transport": ("levels", "kernel", "value_range"),
}
_NOT_OF_DESCRIPTOR = dict.fromkeys(
    ("hog", "deviation"), ("levels", "offsets", "kernel", "bandwidth", "value_range", "relative")
)


def idle_terms(objective: settings.ObjectiveSettings) -> list[str]:
    """Say what is set of a term without weight, or of another form of what it compares.

    Parameters
    ----------
    objective : ObjectiveSettings
        See there.

    Returns
    -------
    list of str
        Sentences; none where every setting counts.

    Examples
    --------
    >>> idle_terms(settings.ObjectiveSettings(texture=settings.TextureSettings(levels=16)))
    ['objective.texture (levels): no effect, for objective.glcm is 0.']
    """
    texture, target = _given(objective.texture), _given(objective.target)
    form, descriptor = objective.texture.form, objective.target.descriptor
    said = []
    redrawn = objective.mse or objective.mse_first or objective.ssim or objective.glcm
    if objective.norm_pix_loss and not redrawn:
        said.append(_said("objective", ["norm_pix_loss"], "objective.mse, ssim and glcm are 0"))
    if not objective.glcm:
        said.append(_said("objective.texture", texture, "objective.glcm is 0"))
    elif form in _NOT_OF_FORM:
        idle = [name for name in texture if name in _NOT_OF_FORM[form]]
        said.append(_said("objective.texture", idle, f"the form {form} does not use them"))
    if not objective.glcm_prediction:
        said.append(_said("objective.target", target, "objective.glcm_prediction is 0"))
    elif descriptor in _NOT_OF_DESCRIPTOR:
        idle = [name for name in target if name in _NOT_OF_DESCRIPTOR[descriptor]]
        why = f"the descriptor {descriptor} does not use them"
        said.append(_said("objective.target", idle, why))
    return [sentence for sentence in said if sentence]


def idle_shape(model: settings.ModelSettings, encoder: str | None) -> list[str]:
    """Say what is set of the network where a run's encoder has another one, and keeps it.

    Parameters
    ----------
    model : ModelSettings
        What was asked for.
    encoder : str, optional
        A run's folder, or what else gives the weights.

    Returns
    -------
    list of str
        A sentence, or none.
    """
    if encoder is None or not (Path(encoder) / "config.json").is_file():
        return []
    from glcm_mae.models import read_config
    from glcm_mae.training.encoders import network_shape

    config, asked = read_config(Path(encoder)), network_shape(model)
    own = {name: getattr(config, name) for name in asked}
    if own == asked:
        return []
    given = [name for name in _given(model) if not name.startswith("decoder_")]
    shape = ", ".join(f"{name} {value}" for name, value in own.items())
    sentence = _said("model", given, f"the network is that of {encoder} ({shape})")
    return [sentence] if sentence else []


def _given(values: Any) -> list[str]:
    """Name the settings of a group that are no defaults."""
    usual = type(values)()
    names = [field.name for field in fields(values)]
    return [name for name in names if getattr(values, name) != getattr(usual, name)]


def _said(group: str, names: list[str], why: str) -> str:
    """Put it as a sentence; of no names nothing."""
    return f"{group} ({', '.join(names)}): no effect, for {why}." if names else ""
