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
    from glcm_mae.measurement.spacing import Stretch

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
    measured = done.measured - done.empty
    rows = " rows" if len(s.distances) > 1 else ""  # an image has one for each distance
    told = [f"{measured}{rows} measured."]
    if done.empty:
        ways = {"--range": s.range, "--outliers": s.outliers}
        named = " or ".join(way for way, limit in ways.items() if limit is not None)
        beyond = f", {done.beyond} of them because all their values lie beyond {named}"
        told.append(
            f"{done.empty}{rows} hold no pixel pair{beyond * (done.beyond > 0)}: theirs are NaN."
        )
    if done.skipped:
        told.append(f"{len(done.skipped)} skipped, named above.")
    told.append(f"The features lie in {s.out}.")
    return " ".join(told), 0 if measured else 2


def _tell(s: settings.FeaturesSettings, manifest: Manifest, done: Outcome) -> None:
    """Say on stderr what was skipped, and what may not be meant so."""
    from glcm_mae.data import one_line

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
            f"the mask of {name} has {most} regions, each number one: are image and mask swapped? "
            "If its edges are smoothed, cut it at half of its greatest number first",
            file=sys.stderr,
        )
    if done.without_unit:
        print(
            f"{len(done.without_unit)} file(s), such as {one_line(next(iter(done.without_unit)))}, "
            "name no unit: the sides of their voxels are taken to be in mm",
            file=sys.stderr,
        )
    if done.stretched:
        print(_of_stretch(done.stretched, s), file=sys.stderr)
    files = len({record.path for record in manifest.records})
    if s.masks is not None and Path(s.masks).is_file() and files > 1:
        print(f"the mask {s.masks} is used for all {files} files", file=sys.stderr)


def _of_stretch(stretched: dict[Path, Stretch], s: settings.FeaturesSettings) -> str:
    """Say which files' pixels are no squares, or voxels no cubes, and what to do."""
    from glcm_mae.data import one_line

    path, first = next(iter(stretched.items()))
    have = "1 file has" if len(stretched) == 1 else f"{len(stretched)} files have"
    kind = "voxels that are no cubes" if s.is_3d else "pixels that are no squares"
    advice = "resample them (--spacing)"
    if first.planes:
        plane = s.plane if s.plane in first.planes else first.planes[0]
        way = "--aggregation 2.5d_merged " if s.is_3d else ""
        advice += f", or give {way}--plane {plane}, whose pixels are squares"
    return (
        f"{have} {kind} ({one_line(path)}: {first}), though a step along each side counts as one: "
        f"{advice}"
    )


def texture_map(s: settings.TextureMapSettings, recipe: str) -> str:
    """Draw a map of texture; see `glcm_mae.report.texture_map`."""
    from glcm_mae.measurement import feature_map
    from glcm_mae.report.texture_map import MAP_ENDINGS, write_map

    check_out(s.out, MAP_ENDINGS)
    keep_inputs(s.out, [s.image])
    write_map(feature_map(s), s)
    return f"The map of {s.feature} lies in {s.out}."
