"""Cross-validation of a recipe, and comparison of several arms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.evaluation import compare_arms
from glcm_mae.files import write_atomically
from glcm_mae.provenance import made_by
from glcm_mae.settings import CompareSettings, CrossvalSettings, height_and_width
from glcm_mae.training.inputs import labelled
from glcm_mae.training.run import flat
from glcm_mae.training.seen import tells_what_it_saw

from .alone import alone_in
from .arms import Arm, read_arms, recipe_arm
from .external import ask_models, list_external
from .in_turn import Failure
from .page import format_page
from .run import Study, check_study, reading_of_arms, run_study
from .tables import ArmTables

_SHAPE = ("embed_dim", "depth", "num_heads")  # of an encoder, where not that of its name


def crossval(settings: CrossvalSettings, recipe: Sequence[str]) -> Study:
    """Cross-validate one recipe.

    Parameters
    ----------
    settings : CrossvalSettings
        See there.
    recipe : sequence of str
        Recipes, each laid over those before it.

    Returns
    -------
    Study
        Its only arm is named as the last recipe.

    Raises
    ------
    UserError
        If the settings, recipes or images do not allow it.
    """
    return run_study(settings, [recipe_arm(recipe, settings.by, settings.set)])


def compare(settings: CompareSettings, recipe: Sequence[str]) -> Study:
    """Compare arms, and baselines beside them; write ``comparison.json`` and ``comparison.md``.

    With images of another source, the same of what the models say of these, in ``external``.

    Parameters
    ----------
    settings : CompareSettings
        See there.
    recipe : sequence of str
        Recipes that all arms share, each laid over those before it.

    Returns
    -------
    Study

    Raises
    ------
    UserError
        If the settings, recipes or images do not allow it.
    """
    arms = read_arms(settings.arms, recipe, settings.by, settings.set)
    names = [arm.name for arm in arms]
    if not names:
        raise UserError(
            "arms is empty: give one or more, such as random,mse,prediction_neighbourhood."
        )
    if settings.reference not in (*names, *settings.baselines):
        raise UserError(
            f"reference is {settings.reference}, which is neither an arm nor a baseline of this "
            f"comparison: set it to one of {', '.join([*names, *settings.baselines])}."
        )
    if settings.external is not None and settings.reference == "shortcuts":
        raise UserError(
            "reference is shortcuts, which say nothing of another set, such as external is: take "
            "another one."
        )
    if settings.match_gray_values and settings.external is None:
        raise UserError(
            "match_gray_values is for images of another source: give them by external, or leave "
            "it out."
        )
    twice = sorted(set(names) & set(settings.baselines))
    if twice:
        raise UserError(f"{twice[0]} is an arm and a baseline: give the arm's file another name.")
    published = settings.protocol == "published"
    manifest = None
    if settings.external is not None:
        check_study(settings, arms)  # before another source is read
        reading = reading_of_arms(settings, arms)
        classes = labelled(reading, may_cross=published).classes
        manifest = list_external(settings, reading, classes)
    study = run_study(settings, arms, settings.baselines, published=published)
    complete = {way: tables for way, tables in study.tables.items() if settings.reference in tables}
    if not complete:
        return study
    base = _base(arms, settings.reference)
    init = base.encoder if base.pretrain is None else base.pretrain.init
    comparison = {
        **made_by(),
        "code_of_runs": study.code_of_runs,
        "settings": {**asdict(settings), "recipe": list(recipe)},
        "left_out_of_pretraining": [fold.left_out for fold in study.folds],
        "failed": [asdict(failure) for failure in study.failures],
        "left_out": [way for way in study.tables if way not in complete],
        "training": _trained(base),
        "init": init,
        "init_tells_what_it_saw": init is None or tells_what_it_saw(init),
        "base": base.name,
        "differences": _differences(arms, base.name),
        "results": {
            way: _compared(tables, settings, study.about_patients)
            for way, tables in complete.items()
        },
    }
    _write(comparison, Path(settings.out))
    study = replace(study, comparison=comparison)
    if manifest is None:
        return study
    try:
        return _asked_outside(study, complete, settings, manifest, base)
    except UserError as error:  # what the study has come to is told all the same
        return replace(study, failures=[*study.failures, Failure("external", str(error))])


def _asked_outside(
    study: Study,
    complete: dict[str, dict[str, ArmTables]],
    settings: CompareSettings,
    manifest: Manifest,
    base: Arm,
) -> Study:
    """Compare the arms on images of another source; write the same files as for the study's."""
    assert study.comparison is not None
    out = Path(settings.out)
    judging = next(stage for stage in (base.probe, base.finetune) if stage is not None)
    with alone_in(out):
        found = ask_models(
            settings, manifest, complete, study.folds, judging.hardware, judging.data.cache
        )
        about = None if manifest.tells_patients else "each image counts as one, for none are known"
        external = study.comparison | {
            "external": {
                "images": settings.external,
                "left_out": found.left_out,
                "of_patients_named_alike": found.named_alike,
                "lacking": found.lacking,
                "gray_values_apart": found.apart,
                "seed_of_model": [found.seed_of_model[n] for n in sorted(found.seed_of_model)],
            },
            "results": {
                way: _compared(tables, settings, about, found.seed_of_model)
                for way, tables in found.tables.items()
            },
            "together": {
                way: _compared(tables, settings, about) for way, tables in found.together.items()
            },
        }
        _write(external, out / "external")
    return replace(study, external=external)


def _write(comparison: dict[str, Any], folder: Path) -> None:
    text = json.dumps(comparison, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "comparison.json", text)
    write_atomically(folder / "comparison.md", format_page(comparison))


def _compared(
    tables: dict[str, ArmTables],
    settings: CompareSettings,
    about_patients: str | None,
    seed_of_model: dict[int, int] | None = None,
) -> dict[str, Any]:
    found = compare_arms(
        {name: found.test for name, found in tables.items()},
        {name: found.validation for name, found in tables.items()},
        settings.reference,
        positive=settings.positive,
        n_resamples=settings.n_resamples,
        baselines=settings.baselines,
        seed_of_model=seed_of_model,
    )
    if about_patients is None:
        return found
    by_image = [one for one in found["comparisons"] if one["unit"] == "image"]
    return {**found, "comparisons": by_image, "patients": about_patients}


def _base(arms: Sequence[Arm], reference: str) -> Arm:
    """Choose the arm from whose settings those of the others are told.

    That is the reference if it is pre-trained, else the first that is.
    """
    pretrained = [arm for arm in arms if arm.pretrain is not None]
    named = [arm for arm in pretrained if arm.name == reference]
    given = [arm for arm in arms if arm.encoder is not None]
    return [*named, *pretrained, *given, *arms][0]


def _trained(arm: Arm) -> str:
    """Say how large and how long the training is that arms share."""
    parts = []
    if arm.pretrain is not None:
        pretrain, model = arm.pretrain, asdict(arm.pretrain.model)
        height, width = height_and_width(pretrain.data.image_size)
        given = ", ".join(f"{name} {model[name]}" for name in _SHAPE if model[name] is not None)
        parts += [
            f"{model['size']}{f' ({given})' if given else ''}",
            f"images of {height} x {width} in patches of {model['patch_size']}",
            f"{pretrain.optimizer.epochs} epochs of pre-training in batches of "
            f"{pretrain.optimizer.batch_size}",
        ]
    if arm.finetune is not None:
        parts.append(f"fine-tuning for {arm.finetune.optimizer.epochs} epochs at most")
    return ", ".join(parts)


def _differences(arms: Sequence[Arm], base: str) -> dict[str, dict[str, Any]]:
    """List for each arm the settings in which it differs from the base."""
    settings = {arm.name: _named_settings(arm) for arm in arms}
    shared = settings[base]
    return {
        name: {key: value for key, value in own.items() if key in shared and shared[key] != value}
        for name, own in settings.items()
        if name != base
    }


def _named_settings(arm: Arm) -> dict[str, Any]:
    """Name the settings of an arm, those of pre-training without their section."""
    later = {"probe": arm.probe, "finetune": arm.finetune}
    named = {name: asdict(stage) for name, stage in later.items() if stage is not None}
    pretraining = {} if arm.pretrain is None else asdict(arm.pretrain)
    return {"pretraining": arm.pretrain is not None, **flat(pretraining), **flat(named)}
