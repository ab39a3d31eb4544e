"""Other images for a finished run, read as its own were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from glcm_mae.data import Manifest, UnreadableImage
from glcm_mae.errors import UserError
from glcm_mae.models import EncoderConfig
from glcm_mae.settings import DataSettings, OthersSettings

from .encoders import differing
from .inputs import Images, manifest_of, read_images
from .run import settings_of

# How a run's images are read, of which nothing may differ in others.
_READING = ("image_size", "resize", "color", "window", "invert_monochrome1", "plane")


def reading_of(run: Path, config: EncoderConfig) -> dict[str, Any]:
    """Find out how a run's images were read.

    Parameters
    ----------
    run : Path
        Its folder.
    config : EncoderConfig
        Of its encoder.

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
    contradiction = differing(config, DataSettings("", **reading))
    # All images alike: as the run's were.
    own_color = "gray" if config.in_chans == 1 else "rgb"
    if reading["color"] not in ("auto", own_color):
        contradiction["color"] = (own_color, reading["color"])
    for name, (there, here) in contradiction.items():
        raise UserError(
            f"{file} has data.{name} {here}, and config.json beside it {there}: copy the run anew."
        )
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
    except UnreadableImage:
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


def check_hardware(s: OthersSettings) -> None:
    """Refuse several devices, which would share nothing here."""
    if s.hardware.devices != 1:
        raise UserError(f"hardware.devices is {s.hardware.devices}: set it to 1, one is enough.")


def _as_data(s: OthersSettings, reading: dict[str, Any]) -> DataSettings:
    return DataSettings(s.images, patient_regex=s.patient_regex, on_error=s.on_error, **reading)
