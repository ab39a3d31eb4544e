"""The stages that measure texture itself."""

from __future__ import annotations

import sys

from glcm_mae import settings
from glcm_mae.files import check_out, keep_inputs


def features(s: settings.FeaturesSettings, recipe: str) -> tuple[str, int]:
    """Measure the texture of images; see `glcm_mae.measurement`. The code is 2 if none has any."""
    from glcm_mae.measurement import images_to_measure, write_features
    from glcm_mae.training.progress import Meter

    manifest = images_to_measure(s)
    keep_inputs(s.out, [s.images, *(record.path for record in manifest.records)])
    with Meter("measuring texture", len(manifest)) as meter:
        done = write_features(s, manifest, lambda n: meter.advance(images=n, by=n))
    for name, reason in done.skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    empty = f" {done.empty} hold no pixel pair: theirs are NaN." * (done.empty > 0)
    measured = done.measured - done.empty
    return f"{measured} measured.{empty} The features lie in {s.out}.", 0 if measured else 2


def texture_map(s: settings.TextureMapSettings, recipe: str) -> str:
    """Draw a map of texture; see `glcm_mae.report.texture_map`."""
    from glcm_mae.measurement import feature_map
    from glcm_mae.report.texture_map import MAP_ENDINGS, write_map

    check_out(s.out, MAP_ENDINGS)
    keep_inputs(s.out, [s.image])
    write_map(feature_map(s), s)
    return f"The map of {s.feature} lies in {s.out}."
