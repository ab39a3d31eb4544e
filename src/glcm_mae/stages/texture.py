"""The stages that measure texture itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae import settings
from glcm_mae.files import check_out, keep_inputs

if TYPE_CHECKING:
    from glcm_mae.data import Manifest
    from glcm_mae.measurement import Outcome

# More are seldom marked by hand; smoothed edges of a mask have dozens of numbers.
_MANY_REGIONS = 16


def features(s: settings.FeaturesSettings, recipe: str) -> tuple[str, int]:
    """Measure the texture of images; see `glcm_mae.measurement`. The code is 2 if none has any."""
    from glcm_mae.measurement import images_to_measure, write_features
    from glcm_mae.training.progress import Meter

    manifest = images_to_measure(s)
    keep_inputs(s.out, [s.images, *(record.path for record in manifest.records)])
    with Meter("measuring texture", len(manifest)) as meter:
        done = write_features(s, manifest, lambda n: meter.advance(images=n, by=n))
    _tell(s, manifest, done)
    empty = f" {done.empty} hold no pixel pair: theirs are NaN." * (done.empty > 0)
    measured = done.measured - done.empty
    return f"{measured} measured.{empty} The features lie in {s.out}.", 0 if measured else 2


def _tell(s: settings.FeaturesSettings, manifest: Manifest, done: Outcome) -> None:
    """Say on stderr what was skipped, and what may not be meant so."""
    for name, reason in done.skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    if len(done.depths) > 1 and s.window is None and s.binning != "fixed_bin_number":
        bits = " and ".join(map(str, sorted(done.depths)))
        print(
            f"images of {bits} bits are measured on one scale, on which those of fewer bits are "
            "darker: measure them apart, or set --window",
            file=sys.stderr,
        )
    most, name = done.most_regions
    if most > _MANY_REGIONS:
        print(
            f"the mask of {name} has {most} regions, each number one: if its edges are smoothed, "
            "cut it at half of its greatest number first",
            file=sys.stderr,
        )
    files = len({record.path for record in manifest.records})
    if s.masks is not None and Path(s.masks).is_file() and files > 1:
        print(f"the mask {s.masks} is used for all {files} files", file=sys.stderr)


def texture_map(s: settings.TextureMapSettings, recipe: str) -> str:
    """Draw a map of texture; see `glcm_mae.report.texture_map`."""
    from glcm_mae.measurement import feature_map
    from glcm_mae.report.texture_map import MAP_ENDINGS, write_map

    check_out(s.out, MAP_ENDINGS)
    keep_inputs(s.out, [s.image])
    write_map(feature_map(s), s)
    return f"The map of {s.feature} lies in {s.out}."
