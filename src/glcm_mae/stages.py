"""The commands as functions: each runs one stage and says where its results lie.

`recipe` is the ``--config`` that was given, as one would type it, for the command to run next.

This is the one place that knows all rooms; they know nothing of each other's order.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae import settings
from glcm_mae.errors import UserError
from glcm_mae.files import keep_inputs, write_atomically

if TYPE_CHECKING:
    from glcm_mae.study import Failure


def pretrain(s: settings.PretrainSettings, recipe: str) -> str:
    """Pre-train; see `glcm_mae.training.pretrain.pretrain`."""
    from glcm_mae.training.pretrain import pretrain

    _check_shared(s.seed, s.data, s.out)
    run = pretrain(s)
    if not _leads():
        return ""
    # Without a held-out fold all these images have been seen: what is tested must be others.
    tested = s.data.images if s.data.fold is not None else "LABELLED_IMAGES"
    folder = shlex.quote(str(run))
    return (
        f"The encoder lies in {run}. Next: glcm-mae probe{recipe} --encoder {folder} "
        f"{_as_read(s.data, tested)} --out OUT, or finetune in its place, or glcm-mae reconstruct "
        f"--run {folder} {_as_read(s.data, s.data.images)} --out PICTURE.png"
    )


def finetune(s: settings.FinetuneSettings, recipe: str) -> str:
    """Fine-tune and evaluate; see `glcm_mae.training.finetune.finetune`."""
    from glcm_mae.training.finetune import finetune

    _check_shared(s.seed, s.data, s.out)
    _tell_of_file(s.encoder)
    run = finetune(s)
    if not _leads():
        return ""
    if s.encoder is None:
        return f"{_evaluated(run)} Next: the same with --encoder, into another --out."
    network = "".join(f" {option}" for option in _network_of(run, s))
    return (
        f"{_evaluated(run)} Next: the same without --encoder, the control that it must beat, into "
        f"another --out{' and, for the same network, with' * bool(network)}{network}."
    )


def probe(s: settings.ProbeSettings, recipe: str) -> str:
    """Probe and evaluate; see `glcm_mae.training.probe.probe`."""
    from glcm_mae.training.probe import probe

    _check_shared(s.seed, s.data, s.out)
    _tell_of_file(s.encoder)
    run = probe(s)
    if not _leads():
        return ""
    if s.encoder is None:
        return f"{_evaluated(run)} Next: the same with --encoder, into another --out."
    data = _as_read(s.data, s.data.images)
    shape = [] if Path(s.encoder).is_dir() else _changed("model", s.model)
    encoder = " ".join([f"--encoder {shlex.quote(s.encoder)}", *shape])
    finetune = f"glcm-mae finetune{recipe} {encoder} {data} --out OUT"
    return f"{_evaluated(run)} Next: {finetune}"


def baseline(s: settings.BaselineSettings, recipe: str) -> str:
    """Classify by hand-made features and evaluate; see `glcm_mae.study.baselines`."""
    from glcm_mae.study.baselines import baseline

    _check_shared(s.seed, s.data, s.out)
    run = baseline(s)
    data = _as_read(s.data, s.data.images)
    return f"{_evaluated(run)} Next: glcm-mae probe --encoder RUN {data} --out OUT must beat this."


def crossval(s: settings.CrossvalSettings, recipe: str) -> tuple[str, int]:
    """Cross-validate a recipe; see `glcm_mae.study`. The code is 2 if a cell failed."""
    from glcm_mae.study import crossval

    study = crossval(s, _recipes_in(recipe))
    parts = []
    for way, tables in study.tables.items():
        for arm, found in tables.items():
            table = Path(s.out) / "arms" / arm / way / "predictions.csv"
            # Of more than two classes each is told from the rest anyway.
            positive = s.positive if len(found.test.classes) == 2 else None
            parts.append(_evaluated(table, s.n_resamples, 0, positive, study.about_patients))
    return _with_failures("\n\n".join(parts), study.failures)


def compare(s: settings.CompareSettings, recipe: str) -> tuple[str, int]:
    """Compare arms; see `glcm_mae.study`. The code is 2 if a cell failed."""
    from glcm_mae.report.comparison import draw_comparison
    from glcm_mae.study import compare, format_summary

    study = compare(s, _recipes_in(recipe))
    if study.comparison is None:
        missing = f"There is no comparison: the reference {s.reference} is not complete."
        return _with_failures(missing, study.failures)
    folder = Path(s.out)
    draw_comparison(study.comparison, folder / "comparison.png")
    written = ", ".join(str(folder / f"comparison.{ending}") for ending in ("md", "json", "png"))
    report = (
        f"{format_summary(study.comparison)}\n\n"
        f"All tables, by image and by patient, and in which settings the arms differ: {written}."
    )
    return _with_failures(report, study.failures)


def evaluate(s: settings.EvaluateSettings, recipe: str) -> str:
    """Measure predictions; see `glcm_mae.evaluation.evaluate`."""
    report = _evaluated(Path(s.predictions), s.n_resamples, s.seed, s.positive)
    return report if s.against is None else f"{report}\n\n{_compared(s, s.against)}"


def predict(s: settings.PredictSettings, recipe: str) -> str:
    """Classify other images; see `glcm_mae.training.predict.predict`."""
    from glcm_mae.training.predict import predict

    _check_folder(s.out)
    run = predict(s)
    if not _leads():
        return ""
    unlabelled = json.loads((run / "finished.json").read_text(encoding="utf-8"))["unlabelled"]
    if unlabelled:
        return (
            f"The predictions lie in {run / 'predictions.csv'}. They are not measured: "
            f"{unlabelled} of the images have no label."
        )
    return _evaluated(run)


def explain(s: settings.ExplainSettings, recipe: str) -> str:
    """Show what a fine-tuned run goes by; see `glcm_mae.training.explain.explain`."""
    from glcm_mae.report.explanations import explanation_files, faithfulness, in_words
    from glcm_mae.training.explain import explain
    from glcm_mae.training.finetuned import new_run

    _check_folder(s.out)
    _check_apart(s.out, s.images)
    run = new_run(s)
    found = explain(s)
    measured = faithfulness(found, s.seed).to_json()
    files = explanation_files(found)
    run.begin()
    for name, content in files.items():
        write_atomically(run.folder / name, content)
    run.finish(
        {
            "images": len(found.maps),
            "skipped": found.skipped,
            "images_seen_in_training": found.seen,
            "faithfulness": measured,
        }
    )
    return (
        f"{in_words(measured, len(found.maps))} The picture is "
        f"{run.folder / 'explanations.png'}, the values are in {run.folder / 'explanations.csv'}."
    )


def reconstruct(s: settings.ReconstructSettings, recipe: str) -> str:
    """Draw what a model makes of images; see `glcm_mae.report.pictures`."""
    from glcm_mae.data import read_manifest
    from glcm_mae.models import read_config
    from glcm_mae.report.pictures import draw_reconstructions, kept_texture, redraw
    from glcm_mae.training.encoders import check_fits, check_run
    from glcm_mae.training.inputs import read_images
    from glcm_mae.training.pretraining import load_run

    if s.n_images < 1:
        raise UserError(f"n_images is {s.n_images}: set it to 1 or more.")
    if not 0 < s.mask_ratio < 1:
        raise UserError(f"mask_ratio is {s.mask_ratio}: set it between 0 and 1.")
    if not s.out.lower().endswith(".png"):
        raise UserError(f"out is {s.out}: give it a name that ends in .png.")
    _check_shared(s.seed, s.data)
    check_run(s.run, s.data)
    model = load_run(Path(s.run))
    manifest = read_manifest(s.data.images, s.data.patient_regex, s.data.plane)
    keep_inputs(s.out, [s.data.images, *(record.path for record in manifest.records)])
    images = read_images(s.data, manifest.spread(s.n_images))
    check_fits(read_config(Path(s.run)), s.data, images, s.run)
    redrawn = redraw(model, images.pixels, s.mask_ratio, s.seed)
    draw_reconstructions(redrawn, Path(s.out))
    kept = kept_texture(redrawn)
    return (
        f"Redrawn patches have {kept['contrast']:.2f} of the true ones' local contrast (1 is "
        f"right) and a GLCM at a distance of {kept['glcm_distance']:.2f} (0 is the same, 1 has "
        f"nothing in common). The picture is {s.out}."
    )


def demo(s: settings.DemoSettings, recipe: str) -> str:
    """Run everything on the simulated phantom; see `glcm_mae.demo`."""
    from glcm_mae.demo import demo

    return demo(s)


def data_check(s: settings.DataCheckSettings, recipe: str) -> tuple[str, int]:
    """Audit a data set; see `glcm_mae.audit`. The code is 1 if a split would leak."""
    import sys

    from glcm_mae.audit import check, format_audit, write_audit
    from glcm_mae.data import read_manifest
    from glcm_mae.training.progress import Meter

    _check_folds(s.folds, s.seed)
    if s.out is not None:
        _check_folder(s.out)
    manifest = read_manifest(s.images, s.patient_regex, s.plane, may_cross=True)
    with Meter("reading images", len(manifest)) as meter:
        audit = check(s.images, manifest, s.folds, s.seed, lambda _: meter.advance(images=1))
    report = format_audit(audit, colour=sys.stdout.isatty())
    if s.out is not None:
        folder = Path(s.out)
        write_audit(audit, folder)
        report += f"\nWritten: {folder / 'audit.html'}, {folder / 'audit.json'}"
    return report, int(audit.leaks)


def data_split(s: settings.DataSplitSettings, recipe: str) -> str:
    """Split a data set by patient and copies; see `glcm_mae.data.splits`."""
    import numpy as np

    from glcm_mae.data import read_manifest
    from glcm_mae.data.duplicates import duplicate_groups
    from glcm_mae.data.groups import joined_groups
    from glcm_mae.data.splits import holdout, with_split
    from glcm_mae.training.progress import Meter

    _check_folds(s.folds, s.seed)
    out = _csv(s.out)
    manifest = read_manifest(s.images, s.patient_regex, s.plane)
    keep_inputs(out, [s.images, *(record.path for record in manifest.records)])
    given = any(record.split for record in manifest.records)
    if given and s.method == "kfold":
        raise UserError(
            f"{s.images} gives a split, which folds would override: take the method holdout, or a "
            "manifest without the column split."
        )
    with Meter("reading images", len(manifest)) as meter:
        copies = duplicate_groups(manifest, lambda _: meter.advance(images=1))
    groups = joined_groups(manifest.patients, copies)
    folds = range(s.folds) if s.method == "kfold" else [s.fold]
    lines = []
    for fold in folds:
        split = holdout(manifest, s.folds, fold, s.seed, groups)
        path = out.with_stem(f"{out.stem}-fold{fold}") if s.method == "kfold" else out
        with_split(manifest, split).write(path)
        sizes = ", ".join(f"{len(getattr(split, n))} {n}" for n in ("train", "val", "test"))
        lines.append(f"{path}: {sizes}")
    held = len(manifest) - len(np.unique(copies))
    patients = f"{len(np.unique(manifest.patients))} patients" * manifest.has_patients
    lines.append(
        f"{len(manifest)} images in {len(np.unique(groups))} groups that stay together "
        f"({patients or 'no patients known'}, {held} images copies of others), seed {s.seed}."
    )
    return "\n".join(lines)


def data_manifest(s: settings.DataManifestSettings, recipe: str) -> str:
    """Build a manifest; see `glcm_mae.data.listing`."""
    from glcm_mae.data.listing import build_manifest

    out = _csv(s.out)
    manifest, told = build_manifest(**{**vars(s), "out": out})
    manifest.write(out)
    return f"{out} lists {told} Next: glcm-mae data check {shlex.quote(s.out)}"


def features(s: settings.FeaturesSettings, recipe: str) -> str:
    """Measure the texture of images; see `glcm_mae.measurement`."""
    from glcm_mae.measurement import images_to_measure, write_features
    from glcm_mae.training.progress import Meter

    manifest = images_to_measure(s)
    keep_inputs(s.out, [s.images, *(record.path for record in manifest.records)])
    with Meter("measuring texture", len(manifest)) as meter:
        done = write_features(s, manifest, lambda n: meter.advance(images=n, by=n))
    for name, reason in done.skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    empty = f" {done.empty} hold no pixel pair: theirs are NaN." * (done.empty > 0)
    return f"{done.measured} measured.{empty} The features lie in {s.out}."


def texture_map(s: settings.TextureMapSettings, recipe: str) -> str:
    """Draw a map of texture; see `glcm_mae.report.texture_map`."""
    from glcm_mae.measurement import check_out, feature_map
    from glcm_mae.report.texture_map import MAP_ENDINGS, write_map

    check_out(s.out, MAP_ENDINGS)
    keep_inputs(s.out, [s.image])
    write_map(feature_map(s), s)
    return f"The map of {s.feature} lies in {s.out}."


def _recipes_in(options: str) -> list[str]:
    return [word for word in shlex.split(options) if word != "--config"]


def _with_failures(report: str, failures: Sequence[Failure]) -> tuple[str, int]:
    if not failures:
        return report, 0
    cells: dict[str, list[str]] = defaultdict(list)
    for failure in failures:
        cells[failure.reason].append(failure.cell)
    listed = "\n".join(f"  {'; '.join(names)}: {reason}" for reason, names in cells.items())
    told = f"{len(failures)} failed; the same command tries them again:\n{listed}"
    return f"{report}\n\n{told}".strip(), 2


def _csv(out: str) -> Path:
    if not out.lower().endswith(".csv"):
        raise UserError(f"out is {out}: give it a name that ends in .csv.")
    return Path(out)


def _check_folds(folds: int, seed: int) -> None:
    if folds < 3:
        raise UserError(f"folds is {folds}: set it to 3 or more (one to test, one to validate).")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}: set it from 0 to {2**32 - 1}.")


def _evaluated(
    source: Path,
    n_resamples: int = 2000,
    seed: int = 0,
    positive: str | None = None,
    about_patients: str | None = None,
) -> str:
    """Evaluate a table, or every table of a run; say what came out and where it lies."""
    from glcm_mae.evaluation import evaluate, format_table

    tables = _tables(source)
    parts = []
    for table in tables:
        metrics = evaluate(table, None, n_resamples, seed, positive, about_patients)
        parts.append(f"{table}\n{format_table(metrics)}")
    written = ", ".join(str(table.with_name("metrics.json")) for table in tables)
    return "\n\n".join(parts) + f"\n\nThe metrics lie in {written}."


def _compared(s: settings.EvaluateSettings, other: str) -> str:
    """Compare every table of a run with the table in the same place of another run."""
    from glcm_mae.evaluation import paired_difference, with_interval

    ours, theirs = Path(s.predictions), Path(other)
    tables, others = _tables(ours), _tables(theirs)
    # Of two runs, the tables in the same places; of two tables, these.
    places, other_places = (
        [str(table.relative_to(source)) for table in found]
        for source, found in ((ours, tables), (theirs, others))
    )
    if len(tables) != len(others) or (len(tables) > 1 and places != other_places):
        raise UserError(
            f"{ours} holds {', '.join(places)} and {theirs} {', '.join(other_places)}: give the "
            "two predictions.csv that are to be compared."
        )
    lines = []
    for table, against in zip(tables, others, strict=True):
        lines.append(f"{table} minus {against}")
        for name in ("auroc", "accuracy", "balanced_accuracy"):
            d = paired_difference(
                against,
                table,
                name,
                positive=s.positive,
                n_resamples=s.n_resamples,
                seed=s.seed,
            )["difference"]
            missing = ": a class is missing" if d["value"] is None else ""
            lines.append(f"{name:21}{with_interval(d, signed=True)}{missing}")
    return "\n".join(lines)


def _tables(source: Path) -> list[Path]:
    """List the table that is meant, or all tables of a run."""
    tables = [source] if source.is_file() else sorted(source.glob("**/predictions.csv"))
    if not tables:
        raise UserError(
            f"{source} holds no predictions.csv: give the folder of a run, or the file."
        )
    return tables


def _leads() -> bool:
    """Whether this process speaks and writes: the only one, or the first of several."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0)


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
    import torch

    from glcm_mae.models import read_config
    from glcm_mae.training.encoders import encoder_config

    own = read_config(run)
    nothing = torch.zeros(own.in_chans)
    asked = encoder_config(s.model, s.data, own.in_chans, nothing, nothing)
    names = ("patch_size", "embed_dim", "depth", "num_heads")
    return [
        f"--model.{name} {getattr(own, name)}"
        for name in names
        if getattr(own, name) != getattr(asked, name)
    ]


def _tell_of_file(encoder: str | None) -> None:
    """Say what is lost where the weights of a run are given in the place of its folder."""
    from glcm_mae.models import run_of

    if encoder is None or Path(encoder).is_dir() or not _leads():
        return
    run = run_of(Path(encoder))
    if run is not None:
        print(
            f"Of {encoder} the weights alone are used, with a mean and deviation from these "
            f"images: for those of its training, give the folder {run}.",
            file=sys.stderr,
        )


def _check_folder(out: str) -> None:
    if Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{out} is a file: choose a folder with --out.")


def _check_apart(out: str, images: str) -> None:
    """Refuse to draw into a folder of images, where pictures would be taken for images."""
    folder = Path(images).resolve()
    if folder.is_dir() and folder in (Path(out).resolve(), *Path(out).resolve().parents):
        raise UserError(f"out is {out}, in the folder of images {images}: choose another.")


def _check_shared(seed: int, data: settings.DataSettings, out: str = "") -> None:
    """Refuse early what only the end, or NumPy, PyTorch or scikit-learn would refuse."""
    from glcm_mae.data.images import check_image_size

    if out:
        _check_folder(out)
    check_image_size(settings.height_and_width(data.image_size))
    for name, value in (("seed", seed), ("data.split_seed", data.split_seed)):
        if not 0 <= value < 2**32:
            raise UserError(f"{name} is {value}: set it from 0 to {2**32 - 1}.")
