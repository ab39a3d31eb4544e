"""Other images for a finished run, read as its own were."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from glcm_mae.data import Manifest, UnreadableImage, count_gray_values
from glcm_mae.data.manifest import evenly_spread
from glcm_mae.data.pixels import UnusableCache
from glcm_mae.errors import UserError
from glcm_mae.models import EncoderConfig
from glcm_mae.settings import DataSettings, ExplainSettings, OthersSettings, PredictSettings

from .encoders import differing
from .gray_values import LEAST, on_scale_of
from .inputs import Images, manifest_of, read_images
from .run import Run, settings_of
from .seen import seen_by_any, tell_unknown

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# How a run's images are read, of which nothing may differ in others.
_READING = (
    "image_size", "resize", "spacing", "color", "window", "invert_monochrome1", "plane",
)  # fmt: skip


@dataclass(frozen=True)
class Trained(ABC):
    """A finished run that classifies images.

    Parameters
    ----------
    folder : Path
        Where it lies.
    classes : tuple of str
        Its classes, in the order of their probabilities.
    reading : dict
        The settings of `DataSettings` by which its images were read.
    """

    folder: Path
    classes: tuple[str, ...]
    reading: dict[str, Any]

    @abstractmethod
    def chances(self, images: Images, fabric: Fabric) -> dict[str, np.ndarray]:
        """Class probabilities (N, K), for each place in the folder that has a table of its own."""


def classes_of(facts: dict[str, Any]) -> tuple[str, ...]:
    """Read the classes of a finished run's facts; none where they do not tell."""
    classes = facts.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return ()
    return tuple(classes)


def reading_of(run: Path, in_chans: int, config: EncoderConfig | None = None) -> dict[str, Any]:
    """Find out how a run's images were read.

    Parameters
    ----------
    run : Path
        Its folder.
    in_chans : int
        How many channels they had.
    config : EncoderConfig, optional
        Of its encoder, if it has one.

    Returns
    -------
    dict
        Settings of `DataSettings`.

    Raises
    ------
    UserError
        If it does not tell, or its files contradict each other.
    """
    file, written = run / "settings.yaml", settings_of(run).get("data")
    if not isinstance(written, dict) or not {"image_size", "resize", "color"} <= written.keys():
        raise UserError(f"{file} does not tell how the run's images were read: copy it anew.")
    told = {name: written[name] for name in _READING if name in written}
    reading: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
    contradiction = {} if config is None else differing(config, DataSettings("", **reading))
    # All images alike: as the run's were.
    own_color = "gray" if in_chans == 1 else "rgb"
    if reading["color"] not in ("auto", own_color):
        contradiction["color"] = (own_color, reading["color"])
    for name, (there, here) in contradiction.items():
        raise UserError(f"{file} has data.{name} {here}, and the run had {there}: copy it anew.")
    return reading | {"color": own_color}


def list_others(s: OthersSettings, reading: dict[str, Any]) -> Manifest:
    """List the images that a run is asked about.

    Parameters
    ----------
    s : OthersSettings
        Which images.
    reading : dict
        How the run's own were read.

    Returns
    -------
    Manifest

    Raises
    ------
    UserError
        If there are none, or the list is wrong.
    """
    data = _as_data(s, reading)
    return manifest_of(data, may_cross=True)


def read_listed(s: OthersSettings, reading: dict[str, Any], manifest: Manifest) -> Images:
    """Read some of these images as a run's own were, and say on stderr if that costs colours.

    Parameters
    ----------
    s : OthersSettings
        Of which run.
    reading : dict
        How its own were read.
    manifest : Manifest
        Which images.

    Returns
    -------
    Images

    Raises
    ------
    UserError
        If they cannot be read so.
    """
    try:
        images = read_images(
            _as_data(s, reading), manifest, if_dark=f"{s.run} reads all so, convert the images"
        )
    except (UnreadableImage, UnusableCache):
        raise
    except UserError as error:
        raise UserError(
            f"{error} (Here all settings of reading are those of {s.run}: convert the images.)"
        ) from None
    if images.lost_color:
        print(
            f"{images.lost_color} of {len(images)} images have colours and are read as gray, as "
            f"{s.run} reads all",
            file=sys.stderr,
        )
    return images


def new_run(s: PredictSettings | ExplainSettings) -> Run:
    """Name the folder in which what a run says of other images will lie.

    Parameters
    ----------
    s : PredictSettings or ExplainSettings
        The stage's settings.

    Returns
    -------
    Run

    Raises
    ------
    UserError
        If it holds a run already, or several devices are asked for.
    """
    check_hardware(s)
    out = Path(s.out)
    tables = (*out.glob("predictions.csv"), *out.glob("*/predictions.csv"))
    if (out / "settings.yaml").exists() or tables:
        raise UserError(f"{s.out} holds a run already: choose another folder with --out.")
    return Run(s.out, s, resume=False)


class Others(NamedTuple):
    """Other images, read as a run's own were.

    Parameters
    ----------
    images : Images
    known : list of bool or None
        Whether the run, or what it started from, was trained on each; None if that is unknown.
    alike : int
        How many others are of patients that are named as some of those.
    apart : float or None
        How far their gray values were from the run's own; None if that is unknown.
    """

    images: Images
    known: list[bool | None]
    alike: int
    apart: float | None


def read_others(
    run: Trained, s: PredictSettings | ExplainSettings, at_most: int | None = None
) -> Others:
    """Read other images as a run's own were.

    Parameters
    ----------
    run : Trained
        The run.
    s : PredictSettings or ExplainSettings
        Which images.
    at_most : int, optional
        How many, evenly spread over the set. Default: all.

    Returns
    -------
    Others

    Raises
    ------
    UserError
        If they cannot be read so, or have a class that the run does not know.
    """
    manifest = list_for(run, s)
    at_most = len(manifest) if at_most is None else at_most
    wanted = manifest.spread(at_most)
    # One curve for a source: all of its images count, whichever of them are wanted.
    read = manifest if s.match_gray_values else _with_more(manifest, at_most)
    images = read_listed(s, run.reading, read)
    counts = count_gray_values(images.pixels)
    scaled = on_scale_of(run.folder, images, counts, match=s.match_gray_values)
    scaled.tell()
    images = scaled.images.of(wanted)
    known, alike = known_to([run.folder], run.folder, images)
    return Others(images, known, alike, scaled.apart)


def known_to(runs: Sequence[Path], name: Path, images: Images) -> tuple[list[bool | None], int]:
    """Find out which images runs were trained on, and say so on stderr.

    Parameters
    ----------
    runs : sequence of Path
        Their folders.
    name : Path
        What the message calls them.
    images : Images
        Of another source.

    Returns
    -------
    known : list of bool or None
        Whether one of them, or what it started from, was trained on each image; None if that is
        unknown.
    alike : int
        How many others are of patients that are named as some of those.
    """
    folders = list(map(str, runs))
    known = seen_by_any(folders, as_strangers(images))
    tell_unknown(str(name), known)
    seen = known.count(True)
    if seen:
        print(
            f"{seen} of {len(images)} images, or copies of them, were used in the training of "
            f"{name}",
            file=sys.stderr,
        )
    alike = seen_by_any(folders, images).count(True) - seen
    if alike:
        print(
            f"{alike} images are of patients that are named as some of those that {name} was "
            "trained on: if they are the same people, this is no external validation",
            file=sys.stderr,
        )
    return known, alike


def _with_more(manifest: Manifest, at_most: int) -> Manifest:
    """Spread some images over the set, and beside them as many as tell its gray scale."""
    positions = (evenly_spread(len(manifest), n) for n in (at_most, LEAST))
    return manifest.subset(np.unique(np.concatenate(list(positions))))


def list_for(run: Trained, s: OthersSettings) -> Manifest:
    """List the images that a run is asked about, whose classes it must know.

    Parameters
    ----------
    run : Trained
        The run.
    s : OthersSettings
        Which images.

    Returns
    -------
    Manifest

    Raises
    ------
    UserError
        If there are none, the list is wrong, or it has a class that the run does not know.
    """
    manifest = list_others(s, run.reading)
    others = [name for name in manifest.classes if name not in run.classes]
    if others:
        raise UserError(
            f"{s.images} has the class {others[0]!r}, which {run.folder} does not know: name the "
            f"classes as there, {', '.join(run.classes)} (glcm-mae data manifest --rename), or "
            "leave the labels out."
        )
    return manifest


def as_strangers(images: Images) -> Images:
    """Leave out the patients of images, whom another source may name as a run's own are."""
    records = tuple(replace(record, person="") for record in images.manifest.records)
    strangers = replace(images.manifest, records=records, has_patients=False, has_persons=False)
    return replace(images, manifest=strangers)


def check_hardware(s: OthersSettings) -> None:
    """Refuse several devices, which would share nothing here."""
    if s.hardware.devices != 1:
        raise UserError(f"hardware.devices is {s.hardware.devices}: set it to 1, one is enough.")


def _as_data(s: OthersSettings, reading: dict[str, Any]) -> DataSettings:
    return DataSettings(
        s.images, patient_regex=s.patient_regex, on_error=s.on_error, cache=s.cache, **reading
    )
