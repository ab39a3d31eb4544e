"""The commands as functions: each runs one stage and says where its results lie.

This is the one place that knows all rooms; they know nothing of each other's order.
"""

from __future__ import annotations

from pathlib import Path

from glcm_mae import settings
from glcm_mae.errors import UserError


def pretrain(s: settings.PretrainSettings) -> str:
    """Pre-train; see `glcm_mae.training.pretrain.pretrain`."""
    from glcm_mae.training.pretrain import pretrain

    run = pretrain(s)
    data = f"--data.images {s.data.images}"
    return (
        f"The encoder lies in {run}. Next: glcm-mae probe --encoder {run} {data} ..., "
        f"glcm-mae finetune --encoder {run} {data} ..., "
        f"or glcm-mae reconstruct --run {run} {data} ..."
    )


def finetune(s: settings.FinetuneSettings) -> str:
    """Fine-tune and evaluate; see `glcm_mae.training.finetune.finetune`."""
    from glcm_mae.training.finetune import finetune

    return _evaluated(finetune(s))


def probe(s: settings.ProbeSettings) -> str:
    """Probe and evaluate; see `glcm_mae.training.probe.probe`."""
    from glcm_mae.training.probe import probe

    return _evaluated(probe(s))


def evaluate(s: settings.EvaluateSettings) -> str:
    """Measure predictions; see `glcm_mae.evaluation.evaluate`."""
    return _evaluated(Path(s.predictions), s.n_resamples, s.seed, s.positive)


def reconstruct(s: settings.ReconstructSettings) -> str:
    """Draw what a model makes of images; see `glcm_mae.report.pictures`."""
    from glcm_mae.models import read_config
    from glcm_mae.report.pictures import draw_reconstructions, kept_texture, redraw
    from glcm_mae.training.inputs import check_fits, read_images
    from glcm_mae.training.pretrain import load_run

    if s.n_images < 1:
        raise UserError(f"n_images is {s.n_images}: set it to 1 or more.")
    model = load_run(Path(s.run))
    images = read_images(s.data)
    check_fits(read_config(Path(s.run)), s.data, images, s.run)
    spread = images.pixels[:: max(1, len(images) // s.n_images)][: s.n_images]
    redrawn = redraw(model, spread, s.mask_ratio, s.seed)
    draw_reconstructions(redrawn, Path(s.out))
    kept = kept_texture(redrawn)
    return (
        f"Redrawn patches keep {kept['contrast']:.2f} of the local contrast; GLCM distance to the "
        f"true ones {kept['glcm_distance']:.3f}. The picture is {s.out}."
    )


def demo(s: settings.DemoSettings) -> str:
    """Run everything on the simulated phantom; see `glcm_mae.demo`."""
    from glcm_mae.demo import demo

    return demo(s)


def _evaluated(
    source: Path, n_resamples: int = 2000, seed: int = 0, positive: str | None = None
) -> str:
    """Evaluate a table, or every table of a run; say what came out and where it lies."""
    from glcm_mae.evaluation import evaluate, format_table

    tables = [source] if source.is_file() else sorted(source.glob("**/predictions.csv"))
    if not tables:
        raise UserError(
            f"{source} holds no predictions.csv: give the folder of a run, or the file."
        )
    parts = []
    for table in tables:
        metrics = evaluate(table, n_resamples=n_resamples, seed=seed, positive=positive)
        parts.append(f"{table}\n{format_table(metrics)}")
    written = ", ".join(str(table.with_name("metrics.json")) for table in tables)
    return "\n\n".join(parts) + f"\n\nThe metrics lie in {written}."
