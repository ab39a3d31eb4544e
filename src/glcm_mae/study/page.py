"""A comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glcm_mae.evaluation import format_comparison, verdict

from .arms import INIT, RANDOM

TITLES = {
    "linear": "Linear probe of frozen features",
    "knn": "Nearest neighbours of frozen features",
    "linear_glcm": "Linear probe of frozen features beside GLCMs",
    "finetune": "Fine-tuning",
}

_TOGETHER = "all models of an arm together"
_SHOWN = 12  # digits of a code's name


def format_page(comparison: dict[str, Any]) -> str:
    """Lay out what `compare` writes as ``comparison.json``.

    Parameters
    ----------
    comparison : dict
        The file's content.

    Returns
    -------
    str
        Markdown: what was compared and what came of it, a section for each way of judging an
        encoder, and in which settings the arms differ.
    """
    parts = [format_summary(comparison)]
    for way, found in comparison["results"].items():
        parts += [f"## {TITLES[way]}", format_comparison(found)]
        if "together" in comparison:
            parts += [
                f"## {TITLES[way]}, {_TOGETHER}",
                format_comparison(comparison["together"][way]),
            ]
    parts += ["## Settings", *_settings(comparison)]
    return "\n\n".join(parts) + "\n"


def format_summary(comparison: dict[str, Any]) -> str:
    """Say what was compared and what came of it: the head of the page.

    Parameters
    ----------
    comparison : dict
        As for `format_page`.

    Returns
    -------
    str
        Markdown.
    """
    title = (
        "# Comparison on images of another source" if "external" in comparison else "# Comparison"
    )
    return "\n\n".join([title, *_about(comparison), *_verdicts(comparison)])


def _verdicts(comparison: dict[str, Any]) -> Iterator[str]:
    for way, found in comparison["results"].items():
        first = found["comparisons"][0]
        said = [f"- {sentence}" for sentence in verdict(found, comparison["settings"]["baselines"])]
        title = f"**{TITLES[way]}**, AUROC by {first['unit']}, {first['task']}:"
        yield "\n".join([title, "", *said])


def _about(comparison: dict[str, Any]) -> Iterator[str]:
    settings = comparison["settings"]
    recipe = " ".join(settings["recipe"]) or "the defaults"
    won = f" Over it: {', '.join(settings['set'])}." if settings["set"] else ""
    yield (
        f"Images: {settings['images']}. Recipe: {recipe}.{won} Arms share images, splits, budget "
        "and, seed by seed, initial weights, but for what stands under Settings. "
        f"glcm-mae {comparison['glcm_mae']}, code {comparison['code'][:_SHOWN]}."
    )
    if "external" in comparison:
        yield _about_external(comparison["external"], settings["match_gray_values"])
    others = {
        code: n for code, n in comparison["code_of_runs"].items() if code != comparison["code"]
    }
    if others:
        named = ", ".join(f"{code[:_SHOWN] or 'not told'} ({n})" for code, n in others.items())
        yield f"Runs that other code made, and how many: {named}."
    if comparison["training"]:
        yield f"Training: {comparison['training']}."
    if "convolutional" in settings["baselines"]:
        yield (
            "convolutional is trained once a fold: that another training of it would come to "
            "something else is in no interval."
        )
    if settings["protocol"] == "published":
        yield (
            "**Protocol published: image by image, with one pre-training on all images. Test "
            "images were seen in pre-training, and copies and other images of their patients stand "
            "in the training part: these figures are too good.**"
        )
    if settings["pretrain_on"] is not None:
        counts = ", ".join(map(str, comparison["left_out_of_pretraining"]))
        yield (
            f"Pre-trained on {settings['pretrain_on']}; images left out of it because the fold "
            f"tests on them, on copies of them or on their patients: {counts}."
        )
    if comparison["failed"]:
        names = ", ".join(failure["cell"] for failure in comparison["failed"])
        yield f"Cells that failed, whose arms are missing here: {names}."
    if comparison["left_out"]:
        ways = ", ".join(TITLES[way] for way in comparison["left_out"])
        yield f"Left out, for {settings['reference']} is not complete in it: {ways}."


def _about_external(external: dict[str, Any], matched: bool) -> str:
    told = [
        f"**Asked about: {external['images']}.** The model of each fold and seed is asked by "
        "itself, and has its thresholds by its own validation images; figures are means over the "
        f"folds' models of a seed. Below each such table stands what {_TOGETHER} say, by the mean "
        "of their probabilities (glcm-mae predict --run with the folder of an arm), with intervals "
        "over patients alone. That other patients would also train the models is in no interval. "
        "Left out, for a model was trained on them or on copies: "
        f"{external['left_out'] or 'none'}."
    ]
    if external["of_patients_named_alike"]:
        told.append(
            f"**{external['of_patients_named_alike']} images are of patients that are named as "
            "some of the study's: if they are the same people, these are no images of another "
            "source.**"
        )
    if external["gray_values_apart"] is not None:
        told.append(_about_gray_values(external["gray_values_apart"], matched))
    if external["lacking"]:
        told.append(
            f"There is no image of {', '.join(external['lacking'])}: figures over all classes are "
            "not defined."
        )
    return " ".join(told)


def _about_gray_values(apart: float, matched: bool) -> str:
    how = "brought to" if matched else "as they are, not brought to"
    return (
        f"Their gray values, {how} the scale of those that each model was trained on, were at most "
        f"{apart:.2f} apart from these (0: alike, 1: nothing in common)."
    )


def _settings(comparison: dict[str, Any]) -> Iterator[str]:
    arms, init = comparison["settings"]["arms"], comparison["init"]
    if RANDOM in arms:
        others = f", nor {init}, from which the others start" if init else ""
        yield f"{RANDOM}: no pre-training{others}."
    if INIT in arms:
        yield f"{INIT}: the weights {init}, without pre-training on these images."
    if not comparison["init_tells_what_it_saw"]:
        yield f"Whether {init} has seen tested images is unknown."
    for arm, settings in comparison["differences"].items():
        listed = ", ".join(f"{name} {value}" for name, value in settings.items())
        if arm not in (RANDOM, INIT) or len(settings) > 1:  # more than no pre-training
            yield f"{arm}, other than {comparison['base']}: {listed or 'nothing'}."
