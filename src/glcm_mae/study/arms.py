"""The arms of a study: what their stages are set to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from glcm_mae.arguments import names_of, parse, sections
from glcm_mae.errors import UserError
from glcm_mae.settings import FinetuneSettings, PretrainSettings, ProbeSettings

RANDOM = "random"
"""The arm without pre-training: the control that every other must beat."""

INIT = "init"
"""The arm of the weights that pre-training starts from, as they are."""

_STAGES = ("pretrain", "probe", "finetune")
_STUDYS = (
    *("out", "seed", "resume", "encoder", "allow_seen", "beside_glcms"),
    *("data.images", "data.fold", "data.folds", "data.split_seed"),
)
_ENCODER = ("size", "patch_size", "embed_dim", "depth", "num_heads")
_PACKAGED = files("glcm_mae") / "recipes" / "arms"
_NONE = "none"  # stands where a stage wants images and a folder, until a cell gives its own


@dataclass(frozen=True)
class Arm:
    """One setting of a comparison: its stages, but for images, folder and seed.

    Parameters
    ----------
    name : str
        What tables call it.
    pretrain : PretrainSettings or None
        None for an encoder that is not pre-trained here.
    encoder : str or None
        Weights to judge in the place of a pre-training's; without either, random ones.
    probe : ProbeSettings or None
        None if the study asks for no probe.
    probe_glcm : ProbeSettings or None
        The same with GLCMs beside the features; None unless the study asks for linear_glcm.
    finetune : FinetuneSettings or None
        None if the study does not fine-tune.
    """

    name: str
    pretrain: PretrainSettings | None
    encoder: str | None
    probe: ProbeSettings | None
    probe_glcm: ProbeSettings | None
    finetune: FinetuneSettings | None


def read_arms(
    names: Sequence[str], recipe: Sequence[str], by: Sequence[str], winning: Sequence[str] = ()
) -> list[Arm]:
    """Lay each arm's recipe over the one that all arms share.

    Parameters
    ----------
    names : sequence of str
        ``random``, ``init``, names of the package's arms (``recipes/arms``), or YAML files.
    recipe : sequence of str
        Recipes that all arms share, each laid over those before it.
    by : sequence of {"linear", "knn", "linear_glcm", "finetune"}
        How encoders are judged.
    winning : sequence of str
        ``name=value`` for every stage that has the setting, or ``stage.name=value`` for one: wins
        over all recipes.

    Returns
    -------
    list of Arm

    Raises
    ------
    UserError
        If a recipe cannot be read, a setting does not exist, or two arms have one name.
    """
    arms = [_read_arm(name, recipe, by, winning) for name in names]
    taken = [arm.name for arm in arms]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise UserError(f"arms has {twice[0]} twice: give each arm's file a name of its own.")
    return arms


def recipe_arm(recipe: Sequence[str], by: Sequence[str], winning: Sequence[str] = ()) -> Arm:
    """Take what a recipe itself says as the only arm.

    Parameters
    ----------
    recipe, by, winning
        As for `read_arms`.

    Returns
    -------
    Arm
        Named as the last recipe, or ``default`` if there is none.
    """
    return _arm(Path(recipe[-1]).stem if recipe else "default", recipe, by, winning)


def _read_arm(name: str, recipe: Sequence[str], by: Sequence[str], winning: Sequence[str]) -> Arm:
    if name in (RANDOM, INIT):
        arm = _arm(name, recipe, by, winning)
        _check_same_network(arm)
        return replace(arm, pretrain=None, encoder=_init_of(arm) if name == INIT else None)
    if Path(name).is_file() and Path(name).stem in (RANDOM, INIT):
        raise UserError(f"arms has {name}, and {Path(name).stem} is another arm: rename the file.")
    if Path(name).is_file():
        return _arm(Path(name).stem, recipe, by, winning, name)
    known = sorted(file.name.removesuffix(".yaml") for file in _PACKAGED.iterdir())
    if name not in known:
        near = get_close_matches(name, [RANDOM, INIT, *known], 1)
        maybe = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"arms has {name}, which is no YAML file and no arm of the package{maybe}: those are "
            f"{RANDOM}, {INIT}, {', '.join(known)}."
        )
    return _arm(name, recipe, by, winning, f"arms/{name}")


def _init_of(arm: Arm) -> str:
    """Name the file: of a run folder, too, the other arms take the weights and nothing else."""
    assert arm.pretrain is not None
    if arm.pretrain.init is None:
        raise UserError(
            f"the arm {INIT} judges the weights that pre-training starts from, and there are none: "
            "set pretrain.init, or leave the arm out."
        )
    given = Path(arm.pretrain.init)
    return str(given / "encoder.safetensors" if given.is_dir() else given)


def _check_same_network(arm: Arm) -> None:
    """Refuse weights of another network than the one that the other arms pre-train."""
    assert arm.pretrain is not None
    for section, stage in (("probe", arm.probe), ("finetune", arm.finetune)):
        if stage is None:
            continue
        for name in _ENCODER:
            others, own = getattr(arm.pretrain.model, name), getattr(stage.model, name)
            if others != own:
                raise UserError(
                    f"the arm {arm.name} would be of another network than the others: "
                    f"pretrain.model.{name} is {others} and {section}.model.{name} {own}; set both "
                    "alike in the recipe."
                )


def _arm(
    name: str,
    recipe: Sequence[str],
    by: Sequence[str],
    winning: Sequence[str],
    own: str | None = None,
) -> Arm:
    recipes = [*recipe, *([own] if own else [])]
    if recipe:
        _check_sections(recipes, by)
    options = _options(winning)
    arm = Arm(
        name,
        pretrain=_stage("pretrain", recipes, options),
        encoder=None,
        probe=_stage("probe", recipes, options) if set(by) - {"finetune"} else None,
        probe_glcm=None,
        finetune=_stage("finetune", recipes, options) if "finetune" in by else None,
    )
    if arm.probe is not None and arm.probe.beside_glcms:
        raise UserError("a recipe has probe.beside_glcms: leave it out, and ask --by linear_glcm.")
    if arm.probe is None or "linear_glcm" not in by:
        return arm
    return replace(arm, probe_glcm=replace(arm.probe, beside_glcms=True))


def _options(winning: Sequence[str]) -> dict[str, list[str]]:
    """Turn ``name=value`` into the options of each stage that it is for."""
    options: dict[str, list[str]] = {stage: [] for stage in _STAGES}
    for text in winning:
        name, equals, value = text.partition("=")
        stage, _, rest = name.partition(".")
        meant = {stage: rest} if stage in _STAGES else dict.fromkeys(_STAGES, name)
        known = {stage: own for stage, own in meant.items() if own in names_of(stage)}
        if not equals or not known:
            every = sorted({own for stage in meant for own in names_of(stage)})
            near = get_close_matches(next(iter(meant.values())), every, 1)
            meant_maybe = f" Did you mean {near[0]}?" if near and not known else ""
            raise UserError(
                f"set has {text!r}: write name=value with a setting of {', '.join(_STAGES)}, as in "
                f"data.resize=crop or pretrain.optimizer.epochs=50.{meant_maybe}"
            )
        if set(known.values()) & set(_STUDYS):
            raise UserError(f"set has {text!r}, which the study gives each cell: leave it out.")
        for stage, own in known.items():
            options[stage] += [f"--{own}={value}"]
    return options


def _check_sections(recipe: Sequence[str], by: Sequence[str]) -> None:
    """Refuse recipes that leave the network of a stage to chance."""
    told = set().union(*map(sections, recipe))
    asked = {"finetune" if way == "finetune" else "probe" for way in by}
    for missing in sorted(asked - told):
        ways = ",".join(way for way in by if (way == "finetune") == (missing != "finetune"))
        instead = f", or leave it out by --by {ways}" if ways else ""
        raise UserError(
            f"{', '.join(recipe)} has no section for {missing}, of which --by {','.join(by)} asks: "
            f"add one{instead}."
        )


def _stage(command: str, recipes: Sequence[str], options: dict[str, list[str]]) -> Any:
    words = [command, "--data.images", _NONE, "--out", _NONE, *options[command]]
    for recipe in recipes:
        if command in sections(recipe):
            words += ["--config", recipe]
    try:
        return parse(words)[1]
    except UserError as error:
        raise UserError(f"{command}: {error}") from error
