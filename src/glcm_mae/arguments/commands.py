"""The commands, and the settings of each: their dotted names, their types."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from glcm_mae import settings

# Each command and its settings; the function of the same name in `stages`, with _ for a space or a
# hyphen, does the work. The first setting that must be given needs no name: ``glcm-mae features
# IMAGES``.
COMMANDS: dict[str, type] = {
    "pretrain": settings.PretrainSettings,
    "finetune": settings.FinetuneSettings,
    "probe": settings.ProbeSettings,
    "baseline": settings.BaselineSettings,
    "crossval": settings.CrossvalSettings,
    "compare": settings.CompareSettings,
    "evaluate": settings.EvaluateSettings,
    "predict": settings.PredictSettings,
    "explain": settings.ExplainSettings,
    "embed": settings.EmbedSettings,
    "export": settings.ExportSettings,
    "reconstruct": settings.ReconstructSettings,
    "demo": settings.DemoSettings,
    "data check": settings.DataCheckSettings,
    "data split": settings.DataSplitSettings,
    "data manifest": settings.DataManifestSettings,
    "features": settings.FeaturesSettings,
    "texture-map": settings.TextureMapSettings,
}


def names_of(command: str) -> set[str]:
    """List the dotted names of a command's settings.

    Parameters
    ----------
    command : str
        One of `COMMANDS`.

    Returns
    -------
    set of str

    Examples
    --------
    >>> {"data.images", "optimizer.epochs"} <= names_of("pretrain")
    True
    """
    return {name for name, _ in leaves(COMMANDS[command])}


def leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Yield every setting by its dotted name, with its type and whether it must be given."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        annotation = hints[field.name]
        if is_dataclass(annotation):
            yield from leaves(annotation, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            required = field.default is MISSING and field.default_factory is MISSING
            yield f"{prefix}{field.name}", (annotation, required)


def is_list_of_words(annotation: Any) -> bool:
    """Tell whether a setting is a list of texts or names, which are read as they are written."""
    of = get_args(annotation)[0] if get_origin(annotation) is list else None
    return of is str or get_origin(of) is Literal


def readable(annotation: Any) -> str:
    """Write a type as one would write its values: ``int | null``, ``[float, float]``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(readable(argument) for argument in arguments)
    if origin is tuple:
        return f"[{', '.join(readable(argument) for argument in arguments)}]"
    if origin is list:
        return f"[{readable(arguments[0])}, ...]"
    names: dict[Any, str] = {types.NoneType: "null", bool: "true | false", str: "text"}
    return names.get(annotation) or str(annotation.__name__)


def summary(kind: type) -> str:
    """Say in a line what a command does."""
    return (kind.__doc__ or "").splitlines()[0]
