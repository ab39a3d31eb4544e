"""The stages that take up a finished run: classify, explain, embed, export, draw."""

from __future__ import annotations

from pathlib import Path

from glcm_mae import settings
from glcm_mae.errors import UserError
from glcm_mae.files import check_out, keep_inputs, write_atomically
from glcm_mae.stages.checks import (
    check_apart,
    check_empty,
    check_folder,
    check_shared,
    keep_inputs_of_run,
)
from glcm_mae.stages.evaluation import evaluated
from glcm_mae.stages.process import leads


def predict(s: settings.PredictSettings, recipe: str) -> str:
    """Classify other images; see `glcm_mae.training.predict`, and of arms `study.together`."""
    from glcm_mae.study.together import is_of_study, predict_together
    from glcm_mae.training.predict import predict
    from glcm_mae.training.run import facts_of

    _check_out(s)
    run = predict_together(s) if is_of_study(Path(s.run)) else predict(s)
    if not leads():
        return ""
    facts = facts_of(run)
    without = facts["unlabelled"]
    if without == facts["images"]:
        return (
            f"The predictions lie in {_tables(run, 'predictions.csv')}. They are not measured: the "
            "images have no label."
        )
    others = f"\n{without} images have no label: they are in {_tables(run, 'unlabelled.csv')}."
    return evaluated(run) + others * bool(without)


def _check_out(s: settings.PredictSettings | settings.ExplainSettings) -> None:
    from glcm_mae.study.together import keep_out_of_studies
    from glcm_mae.training.inputs import check_cache

    check_folder(s.out)
    keep_out_of_studies(Path(s.out))
    check_apart(s.out, s.images)
    check_cache(s.cache, s.images, s.out)
    keep_inputs_of_run(s.out, s.images)


def _tables(run: Path, name: str) -> str:
    """Name the tables that a run has written: one, or of a probe two."""
    return " and ".join(str(table) for table in sorted(run.rglob(name)))


def explain(s: settings.ExplainSettings, recipe: str) -> str:
    """Show what a fine-tuned run goes by; see `glcm_mae.training.explain.explain`."""
    from glcm_mae.report.explanations import explanation_files, faithfulness, in_words
    from glcm_mae.training.explain import explain
    from glcm_mae.training.others import new_run

    _check_out(s)
    run = new_run(s)
    found = explain(s)
    measured = faithfulness(found, s.seed).to_json()
    patients = len(set(found.manifest.patients.tolist()))
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
        f"{in_words(measured, len(found.maps), patients)} The picture is "
        f"{run.folder / 'explanations.png'}, the values are in {run.folder / 'explanations.csv'}."
    )


def embed(s: settings.EmbedSettings, recipe: str) -> str:
    """Write what an encoder makes of images; see `glcm_mae.training.embed`."""
    from glcm_mae.training.embed import embed, write_embedding
    from glcm_mae.training.inputs import check_cache

    check_cache(s.cache, s.images, s.out)
    check_out(s.out, (".csv",))
    check_apart(s.out, s.run, "the run folder")
    keep_inputs(s.out, [s.images])
    found = embed(s)
    write_embedding(found, s)
    n, width = found.features.shape
    seen, unknown = found.seen.count(True), found.seen.count(None)
    told = [f"Of {n} images, {width} features each lie in {s.out}."]
    if found.skipped:
        told.append(f"{found.skipped} could not be read and have none.")
    if seen:
        told.append(
            f"{seen} were used in the training of {s.run}, or are copies of such images, or of the "
            "same patients."
        )
    if unknown:
        told.append(
            f"Of {unknown} it is unknown whether {s.run} was trained on them, or on others of "
            "their patients (--patient_regex as in training may tell)."
        )
    if seen or unknown:
        told.append("Test on those alone whose seen_in_training is FALSE.")
    return " ".join(told)


def export(s: settings.ExportSettings, recipe: str) -> str:
    """Write an encoder for another library; see `glcm_mae.models.export`."""
    from glcm_mae.data.windows import CT_WINDOWS
    from glcm_mae.models import load_encoder
    from glcm_mae.models.card import loading, model_card
    from glcm_mae.models.export import EXPORTS
    from glcm_mae.training.seen import tells_what_it_saw

    check_folder(s.out)
    out = Path(s.out)
    check_empty(out)
    encoder, config = load_encoder(Path(s.run))
    files = EXPORTS[s.to](encoder, config)
    card = model_card(s.to, config, CT_WINDOWS, own_weights=tells_what_it_saw(s.run))
    for name, content in (files | {"README.md": card.encode()}).items():
        write_atomically(out / name, content)
    head = " Its head is not among it." * (Path(s.run) / "head.safetensors").is_file()
    return f"The encoder lies in {out}.{head} In Python: {'; '.join(loading(s.to, str(out)))}"


def reconstruct(s: settings.ReconstructSettings, recipe: str) -> str:
    """Draw what a model makes of images; see `glcm_mae.report.pictures`."""
    from glcm_mae.models import read_config
    from glcm_mae.report.pictures import draw_reconstructions, kept_texture, redraw
    from glcm_mae.training.encoders import check_fits, check_run
    from glcm_mae.training.inputs import asked_split, manifest_of, read_images
    from glcm_mae.training.pretraining import load_run
    from glcm_mae.training.seen import refuse_seen

    if s.n_images < 1:
        raise UserError(f"n_images is {s.n_images}: set it to 1 or more.")
    if not 0 < s.mask_ratio < 1:
        raise UserError(f"mask_ratio is {s.mask_ratio}: set it between 0 and 1.")
    if not s.out.lower().endswith(".png"):
        raise UserError(f"out is {s.out}: give it a name that ends in .png.")
    check_shared(s.seed, s.data)
    check_apart(s.out, s.data.images)
    check_run(s.run, s.data)
    model = load_run(Path(s.run))
    manifest = manifest_of(s.data)
    keep_inputs(s.out, [s.data.images, *(record.path for record in manifest.records)])
    split = asked_split(s.data, manifest)
    held_out = manifest if split is None else manifest.subset(split.test)
    images = read_images(s.data, held_out.spread(s.n_images))
    check_fits(read_config(Path(s.run)), s.data, images, s.run)
    seen = refuse_seen(s.run, images, range(len(images)), allow=True)
    redrawn = redraw(model, images.pixels[:], s.mask_ratio, s.seed)
    draw_reconstructions(redrawn, Path(s.out))
    kept = kept_texture(redrawn)
    known = f" {seen} of the {len(images)} images, or copies of them, were used in training."
    return (
        f"Redrawn patches have {kept['contrast']:.2f} of the true ones' local contrast (1 is "
        f"right) and a GLCM at a distance of {kept['glcm_distance']:.2f} (0 is the same, 1 has "
        f"nothing in common).{known * bool(seen)} The picture is {s.out}."
    )
