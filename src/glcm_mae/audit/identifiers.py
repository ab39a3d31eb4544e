"""What files tell of whose images they are: which identifiers, never what they say."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glcm_mae.data.readers import UnreadableImage, read_dicom_header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Identifiers", "count_identifiers", "no_identifiers", "read_identifiers"]

# Of those that DICOM PS3.15, annex E (basic profile) removes: who, where, when and which study.
_KEYWORDS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientAge",
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
    "AcquisitionDateTime",
    "ContentDate",
    "StudyDescription",
    "PerformedProcedureStepDescription",
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
_BURNT_IN = "BurnedInAnnotation"
# These tell a person apart in a file's or folder's name.
_NAMING = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")
_SHORTEST = 4  # characters: "1" or "M" in a name is chance

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<!\d)(?:{_YEAR}([-_.]?){_MONTH}\1{_DAY}(?:[0-2]\d[0-5]\d[0-5]\d)?"
    rf"|{_DAY}([-_.]){_MONTH}\2{_YEAR})(?!\d)"
)


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
    in_source : bool
        Whether such a value stands in the name of the whole set.

    Examples
    --------
    >>> Identifiers(tags=("(0010,0020) PatientID",), in_name=())
    Identifiers(tags=('(0010,0020) PatientID',), in_name=(), in_source=False)
    """

    tags: tuple[str, ...]
    in_name: tuple[str, ...]
    in_source: bool = False


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


def read_identifiers(path: Path, place: str, source: str = "") -> Identifiers:
    """Find the identifiers in a DICOM header, and in the name of any file and of its folders.

    Parameters
    ----------
    path : Path
        The file. One that cannot be read has none.
    place : str
        Its path as a report would show it.
    source : str
        What a report would call the whole set.

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
    in_source = "^" in source
    for keyword, tag, value in _header(path):
        tags.append(f"{tag} {keyword}")
        if keyword in _NAMING and _stands_in(value, place):
            named.append(keyword)
        in_source = in_source or (keyword in _NAMING and _stands_in(value, source))
    if not named and _DATE.search(place):
        named.append("date")
    if "^" in place:
        named.append("name in DICOM form")
    return Identifiers(tuple(tags), tuple(named), in_source)


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
    try:
        header = read_dicom_header(path)
    except UnreadableImage:  # a finding of its own
        return []
    if header is None:
        return []
    values: dict[str, list[str]] = {keyword: [] for keyword in (*_KEYWORDS, _BURNT_IN)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        _collect(header, values)
    found = [(k, _tag(k), " ".join(values[k])) for k in _KEYWORDS if values[k]]
    if "YES" in values[_BURNT_IN]:
        found.append(("BurnedInAnnotation is YES", "(0028,0301)", ""))
    if any(tag.is_private for tag in header.keys()):  # noqa: SIM118 (elements would be decoded)
        found.append(("private attributes", "(odd groups)", ""))
    return found


def _collect(header: Dataset, values: dict[str, list[str]]) -> None:
    """Add the filled values of some attributes, here and in all sequences below."""
    from pydicom.datadict import keyword_for_tag

    for tag in header.keys():  # noqa: SIM118
        try:
            element = header[tag]
        except Exception:  # a damaged element says nothing; the others do
            continue
        if element.VR == "SQ":
            for item in element.value:
                _collect(item, values)
        elif (keyword := keyword_for_tag(tag)) in values and str(element.value or ""):
            values[keyword].append(str(element.value))


def _tag(keyword: str) -> str:
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(keyword) or 0
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"


def _stands_in(value: str, place: str) -> bool:
    """Whether a value, or a word of it, stands in a path, however it is written."""
    plain = re.sub(r"[\W_]+", "", place).lower()
    words = [re.sub(r"[\W_]+", "", word).lower() for word in re.split(r"[\^\s,\\]+", value)]
    return any(len(word) >= _SHORTEST and word in plain for word in words)
