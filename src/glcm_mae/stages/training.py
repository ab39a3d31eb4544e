"""The stages that train, and what each suggests to run next."""

from __future__ import annotations

import shlex
import sys
from dataclasses import fields, replace
from pathlib import Path

from glcm_mae import settings
from glcm_mae.stages.checks import check_shared, keep_inputs_of_run
from glcm_mae.stages.evaluation import evaluated
from glcm_mae.stages.idle import idle_shape, idle_terms
from glcm_mae.stages.process import leads


def pretrain(s: settings.PretrainSettings, recipe: str) -> str:
    """Pre-train; see `glcm_mae.training.pretrain.pretrain`."""
    from glcm_mae.training.pretrain import pretrain
    from glcm_mae.training.run import facts_of

    check_shared(s.seed, s.data, s.out)
    keep_inputs_of_run(s.out, s.init)
    _tell(*idle_terms(s.objective))
    run = pretrain(s)
    if not leads():
        return ""
    # Where none is held out all these images have been seen: what is tested must be others.
    tested = s.data.images if facts_of(run).get("held_out") else "LABELLED_IMAGES"
    folder = shlex.quote(str(run))
    return (
        f"The encoder lies in {run}. Next: glcm-mae probe{recipe} --encoder {folder} "
        f"{_as_read(s.data, tested)} --out OUT, or finetune in its place, or glcm-mae reconstruct "
        f"--run {folder} {_as_read(s.data, s.data.images)} --out PICTURE.png"
    )


def finetune(s: settings.FinetuneSettings, recipe: str) -> str:
    """Fine-tune and evaluate; see `glcm_mae.training.finetune.finetune`."""
    from glcm_mae.training.finetune import finetune

    check_shared(s.seed, s.data, s.out)
    keep_inputs_of_run(s.out, s.encoder)
    _tell_of_file(s.encoder)
    _tell(*idle_shape(s.model, s.encoder))
    run = finetune(s)
    if not leads():
        return ""
    if s.encoder is None:
        return f"{evaluated(run)} Next: the same with --encoder, into another --out."
    network = "".join(f" {option}" for option in _network_of(run, s))
    return (
        f"{evaluated(run)} Next: the same without --encoder, the control that it must beat, into "
        f"another --out{' and, for the same network, with' * bool(network)}{network}."
    )


def probe(s: settings.ProbeSettings, recipe: str) -> str:
    """Probe and evaluate; see `glcm_mae.training.probe.probe`."""
    from glcm_mae.training.probe import probe

    check_shared(s.seed, s.data, s.out)
    keep_inputs_of_run(s.out, s.encoder)
    _tell_of_file(s.encoder)
    _tell(*idle_shape(s.model, s.encoder))
    run = probe(s)
    if not leads():
        return ""
    if s.encoder is None:
        return f"{evaluated(run)} Next: the same with --encoder, into another --out."
    data = _as_read(s.data, s.data.images)
    shape = [] if Path(s.encoder).is_dir() else _changed("model", s.model)
    encoder = " ".join([f"--encoder {shlex.quote(s.encoder)}", *shape])
    finetune = f"glcm-mae finetune{recipe} {encoder} {data} --out OUT"
    return f"{evaluated(run)} Next: {finetune}"


def baseline(s: settings.BaselineSettings, recipe: str) -> str:
    """Classify without a pre-training and evaluate; see `glcm_mae.training.baseline.baseline`."""
    from glcm_mae.training.baseline import baseline

    check_shared(s.seed, s.data, s.out)
    run = baseline(s)
    data = _as_read(s.data, s.data.images)
    return f"{evaluated(run)} Next: glcm-mae probe --encoder RUN {data} --out OUT must beat this."


def _as_read(data: settings.DataSettings, images: str) -> str:
    """Write the options that read other images as these, leaving defaults out."""
    return " ".join(_changed("data", replace(data, images=images)))


def _changed(group: str, values: settings.DataSettings | settings.ModelSettings) -> list[str]:
    """Write the options of a group of settings that are no defaults."""
    options = []
    for field in fields(values):
        value = getattr(values, field.name)
        if value != field.default:
            text = str(list(value) if isinstance(value, tuple) else value)
            options.append(f"--{group}.{field.name} {shlex.quote(text)}")
    return options


def _network_of(run: Path, s: settings.FinetuneSettings) -> list[str]:
    """Write the options that give random weights the network of a run, leaving out what is so."""
    from glcm_mae.models import read_config
    from glcm_mae.training.encoders import network_shape

    own = read_config(run)
    return [
        f"--model.{name} {getattr(own, name)}"
        for name, asked in network_shape(s.model).items()
        if getattr(own, name) != asked
    ]


def _tell(*sentences: str) -> None:
    """Say what a user may not know, once for all processes."""
    if leads():
        for sentence in sentences:
            print(sentence, file=sys.stderr)


def _tell_of_file(encoder: str | None) -> None:
    """Say what is lost where the weights of a run are given in the place of its folder."""
    from glcm_mae.models import run_of

    if encoder is None or Path(encoder).is_dir():
        return
    run = run_of(Path(encoder))
    if run is not None:
        _tell(
            f"Of {encoder} the weights alone are used, with a mean and deviation from these "
            f"images: for those of its training, give the folder {run}."
        )
