"""Keeping decoders' own words about a file from the terminal and the logs."""

from __future__ import annotations

import logging
import warnings

__all__ = ["quieten"]

_LIBRARIES = r"(pydicom|openjpeg|PIL|tifffile|nibabel|h5py|glcm_mae\.data\.readers)\b"
_filter: object = None


def quieten() -> None:
    """Silence the warnings of the libraries that decode files.

    They may quote what a file says, and a DICOM header names the patient; whatever is wrong becomes
    an error of ours. This holds for the whole process, because Python's way of silencing for a
    while is not safe with threads.
    """
    global _filter
    if _filter is not None and _filter in warnings.filters:
        return
    warnings.filterwarnings("ignore", module=_LIBRARIES)
    _filter = warnings.filters[0]
    for name in ("pydicom", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
