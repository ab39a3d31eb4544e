"""Patients under another name: identifiers turned into codes that only a secret key can make."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from glcm_mae.data.readers import read_dicom_header
from glcm_mae.errors import UserError

__all__ = ["dicom_patient", "pseudonym", "read_key"]

_KEY_BYTES = 32
_DIGITS = 16  # of 64: two of a million patients share a code with a probability of 3e-8


def pseudonym(patient: str, key: bytes) -> str:
    """Give a patient's code: the same for the same patient and key.

    HMAC-SHA256 (RFC 2104), because a plain hash of a short identifier is undone by hashing all
    identifiers there are.

    Parameters
    ----------
    patient : str
        The identifier.
    key : bytes
        The secret.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> pseudonym("12345", b"secret"), pseudonym("12345", b"other")
    ('f88c7ebe4740db59', '6850ca3f4a660b81')
    """
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def read_key(path: Path, artefact: Path) -> bytes:
    """Read the secret key, or make one that only its owner can read.

    Parameters
    ----------
    path : Path
        The key's file; created if it does not exist.
    artefact : Path
        The file that will hold the codes. Who gets it must not get the key, so the key may not
        lie in its folder or below.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        The key would lie beside the artefact, is readable by others, is too short, or cannot be
        read or written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> key = read_key(folder / "secret.key", folder / "study" / "manifest.csv")
    >>> len(key), oct((folder / "secret.key").stat().st_mode & 0o777)
    (64, '0o600')
    """
    if path.resolve().is_relative_to(artefact.resolve().parent):
        raise UserError(
            f"{path} would lie beside {artefact}, or below it: name a file elsewhere with "
            "--key_file, such as one in your home folder, so that the key is not passed on."
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UserError(f"{path} can be read by others: run chmod 600 on it.")
    key = path.read_bytes().strip()
    if len(key) < _KEY_BYTES // 2:
        raise UserError(
            f"{path} holds {len(key)} characters, too few for a secret key: name a file that does "
            "not exist yet, to have one made."
        )
    return key


def dicom_patient(path: Path) -> str:
    """Read the patient's identifier from a DICOM header.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        PatientID, with its issuer where the file names one. It must not be written anywhere.

    Raises
    ------
    UserError
        The file is no DICOM file, or has no PatientID.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> dicom_patient(Path(get_testdata_file("CT_small.dcm")))
    '1CT1'
    """
    header = read_dicom_header(path)
    if header is None:
        raise UserError(
            f"{path} is no DICOM file: leave it out with --leave_out, or take the patients "
            "from the file names with --pattern."
        )
    parts = [str(header.get(k) or "").strip() for k in ("PatientID", "IssuerOfPatientID")]
    if not parts[0]:
        raise UserError(
            f"{path} has no PatientID in its header: fill it in, leave the file out with "
            "--leave_out, or take the patients from the file names with --pattern."
        )
    return "\0".join(part for part in parts if part)
