"""Windows are those of the DICOM standard; nothing is scaled by a range that it does not have."""

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from glcm_mae.data.readers import Facts, Lookup, Window
from glcm_mae.data.windows import CT_WINDOWS, Unscalable, rescaled, unit_range

from .readers.samples import dicom, item

CT = Facts(
    "dicom", "int16", 16, "MONOCHROME2", (-32768, 32767), slope=2, intercept=-1000, unit="HU"
)
CR = Facts("dicom", "uint16", 12, "MONOCHROME1", (0, 4095), unit="US")


def test_rescaling_is_exact() -> None:
    stored = np.array([-32768, 0, 32767], np.int16)
    assert rescaled(stored, CT).tolist() == [-66536, -1000, 64534]
    wide = np.array([2**31 - 1, -(2**31)], np.int32)
    assert rescaled(wide, replace(CT, slope=1, intercept=0.5)).tolist() == [
        2**31 - 0.5,
        0.5 - 2**31,
    ]
    table = replace(CR, modality_lut=Lookup(0, np.array([5, 6], np.uint16), 16))
    assert rescaled(np.array([0, 1, 9], np.uint16), table).tolist() == [5, 6, 6]


def test_two_numbers_and_names_are_in_hounsfield() -> None:
    hounsfield = np.array([-1350, -600, 150, 4000])
    stored = ((hounsfield + 1000) // 2).astype(np.int16)
    for window in ("lung", CT_WINDOWS["lung"]):
        np.testing.assert_allclose(unit_range(stored, CT, window), [0, 0.5, 1, 1], atol=1e-6)
    for level, width, name in ((-600, 1500, "lung"), (50, 400, "soft_tissue"), (400, 1800, "bone")):
        assert CT_WINDOWS[name] == (level - width / 2, level + width / 2)


@pytest.mark.parametrize(
    "facts",
    [
        CR,
        replace(CT, unit="US"),  # a signed MR
        Facts("png", "uint8", 8, "L", (0, 255)),
        Facts("nifti", "uint16", 16, "L", (0, 65535)),
    ],
)
def test_a_ct_window_needs_hounsfield(facts: Facts) -> None:
    with pytest.raises(Unscalable, match="is no CT in Hounsfield units"):
        unit_range(np.zeros((1, 2, 2), facts.dtype), facts, "bone")


def test_nifti_has_no_unit_but_values_below_0() -> None:
    facts = Facts("nifti", "int16", 16, "L", (-32768, 32767))
    assert unit_range(np.array([400], np.int16), facts, "bone").tolist() == [0.5]


def test_the_full_range_is_that_of_the_stored_bits() -> None:
    np.testing.assert_allclose(
        unit_range(np.array([0, 4095], np.uint16), replace(CR, photometric="MONOCHROME2")), [0, 1]
    )
    for facts, reason in (
        (replace(CT, slope=1, intercept=0), "signed values"),
        (CT, "rescales to a real unit"),
        (Facts("tiff", "float32", 32, "MINISBLACK", None), "floating-point values"),
    ):
        with pytest.raises(Unscalable, match=reason):
            unit_range(np.zeros((1, 2, 2), facts.dtype), facts)


@pytest.mark.parametrize("window", [None, (0, 4095), "file"])
def test_white_is_1_whatever_is_stored(window: tuple[float, float] | str | None) -> None:
    facts = replace(CR, windows=(Window(2047.5, 4095, "LINEAR_EXACT"),))
    stored = np.array([0, 4095], np.uint16)
    np.testing.assert_allclose(unit_range(stored, facts, window), [1, 0], atol=1e-6)
    plain = replace(facts, photometric="MONOCHROME2")
    np.testing.assert_allclose(unit_range(stored, plain, window), [0, 1], atol=1e-6)


def test_a_file_without_a_window() -> None:
    with pytest.raises(Unscalable, match="has no window of its own"):
        unit_range(np.zeros((1, 2, 2), np.uint16), CR, "file")


@given(
    center=st.floats(-500, 3000), width=st.floats(1, 4000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)  # fmt: skip
def test_windows_are_those_of_the_standard(center: float, width: float, function: str) -> None:
    # pydicom as the oracle: it gives the same, times the greatest value.
    stored = np.arange(0, 4096, 7, dtype=np.uint16)[None]
    dataset = pydicom.Dataset()
    dataset.BitsStored, dataset.PixelRepresentation = 12, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = f"{center:.6g}", f"{width:.6g}"
    dataset.VOILUTFunction = function
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
    oracle = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)
    if dataset.WindowWidth == 1 and function == "LINEAR":
        return  # a threshold, for which pydicom divides by 0
    low, high = -1024, 4095 * 2 - 1024  # pydicom's ends of the output
    facts = replace(
        CR, photometric="MONOCHROME2", slope=2, intercept=-1024,
        windows=(Window(float(dataset.WindowCenter), float(dataset.WindowWidth), function),),
    )  # fmt: skip
    ours = unit_range(stored, facts, "file")
    np.testing.assert_allclose(ours, (oracle - low) / (high - low), atol=1e-4)


def test_a_window_of_width_1_is_a_threshold() -> None:
    facts = replace(CR, photometric="MONOCHROME2", windows=(Window(10, 1),))
    assert unit_range(np.array([9, 10, 11], np.uint16), facts, "file").tolist() == [0, 1, 1]


def test_a_table_wins_over_a_window() -> None:
    table = np.array([0, 9, 99, 255], np.uint16)
    facts = replace(CR, photometric="MONOCHROME2", voi_lut=Lookup(1, table, 8),
                    windows=(Window(1, 2),))  # fmt: skip
    stored = np.array([0, 1, 2, 3, 4, 5], np.uint16)
    wanted = np.array([0, 0, 9, 99, 255, 255]) / 255
    np.testing.assert_allclose(unit_range(stored, facts, "file"), wanted, atol=1e-6)
    # As pydicom does.
    data = dicom(
        stored[None],
        VOILUTSequence=[item(LUTDescriptor=[4, 1, 8], LUTData=table.astype("<u2").tobytes())],
    )
    dataset = pydicom.dcmread(io.BytesIO(data))
    np.testing.assert_allclose(apply_voi_lut(stored, dataset) / 255, wanted)
