"""What files tell of whose images they are: which identifiers, never what they say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Identifiers", "count_identifiers", "no_identifiers", "read_identifiers"]

# Of those that DICOM PS3.15, annex E (basic profile) removes: who, where, when and which study.
_KEYWORDS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "MilitaryRank",
    "EthnicGroup",
    "PatientComments",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "DeviceSerialNumber",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "RequestingPhysician",
)
# These tell a person apart in a file's or folder's name.
_NAMING = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")
_SHORTEST = 4  # characters: "1" or "M" in a name is chance

_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class Identifiers:
    """Which identifiers one file holds.

    Parameters
    ----------
    tags : tuple of str
        Filled DICOM attributes, as ``(0010,0010) PatientName``.
    in_name : tuple of str
        What stands in the names of file and folders: keywords of DICOM attributes whose values
        do, "date", or "name in DICOM form".

    Examples
    --------
    >>> Identifiers(tags=("(0010,0020) PatientID",), in_name=())
    Identifiers(tags=('(0010,0020) PatientID',), in_name=())
    """

    tags: tuple[str, ...]
    in_name: tuple[str, ...]


def no_identifiers() -> Identifiers:
    """Give the finding for a file without any.

    Returns
    -------
    Identifiers

    Examples
    --------
    >>> no_identifiers().tags
    ()
    """
    return Identifiers((), ())


def read_identifiers(path: Path, place: str) -> Identifiers:
    """Find the identifiers in a DICOM header, and in the name of any file and of its folders.

    Parameters
    ----------
    path : Path
        The file. One that cannot be read has none.
    place : str
        Its path as a report would show it.

    Returns
    -------
    Identifiers

    Examples
    --------
    >>> read_identifiers(Path("scan.png"), "2019-03-14/scan.png").in_name
    ('date',)
    """
    tags: list[str] = []
    named: list[str] = []
    for keyword, tag, value in _header(path):
        tags.append(f"{tag} {keyword}")
        if keyword in _NAMING and _stands_in(value, place):
            named.append(keyword)
    if not named and _DATE.search(place):
        named.append("date")
    if "^" in place:
        named.append("name in DICOM form")
    return Identifiers(tuple(tags), tuple(named))


def count_identifiers(found: Sequence[Identifiers]) -> dict[str, dict[str, int]]:
    """Count in how many files each identifier stands.

    Parameters
    ----------
    found : sequence of Identifiers
        One per file.

    Returns
    -------
    dict
        ``tags`` and ``in_names``, each from the identifier to the number of files; persons first.

    Examples
    --------
    >>> count_identifiers([Identifiers(("(0010,0020) PatientID",), ("date",)), no_identifiers()])
    {'tags': {'(0010,0020) PatientID': 1}, 'in_names': {'date': 1}}
    """
    tags = Counter(tag for one in found for tag in one.tags)
    in_names = Counter(kind for one in found for kind in one.in_name)
    listed = sorted(tags, key=lambda tag: _rank(tag.partition(" ")[2]))
    return {"tags": {tag: tags[tag] for tag in listed}, "in_names": dict(in_names.most_common())}


def _rank(keyword: str) -> int:
    return _KEYWORDS.index(keyword) if keyword in _KEYWORDS else len(_KEYWORDS)


def _header(path: Path) -> list[tuple[str, str, str]]:
    """Keyword, tag and value of the filled identifying attributes of a DICOM file."""
    if not _is_dicom(path):
        return []
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=False)
        filled = [(keyword, header.get(keyword)) for keyword in _KEYWORDS]
        found = [
            (keyword, _tag(keyword), str(value)) for keyword, value in filled if str(value or "")
        ]
        if header.get("BurnedInAnnotation") == "YES":
            found.append(("BurnedInAnnotation is YES", "(0028,0301)", ""))
        if any(element.tag.is_private for element in header):
            found.append(("private attributes", "(odd groups)", ""))
    except Exception:  # a damaged header: that the image cannot be read is a finding of its own
        return []
    return found


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _tag(keyword: str) -> str:
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(keyword) or 0
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"


def _stands_in(value: str, place: str) -> bool:
    """Whether a value, or a word of it, stands in a path, however it is written."""
    plain = re.sub(r"[\W_]+", "", place).lower()
    words = [re.sub(r"[\W_]+", "", word).lower() for word in re.split(r"[\^\s,\\]+", value)]
    return any(len(word) >= _SHORTEST and word in plain for word in words)
