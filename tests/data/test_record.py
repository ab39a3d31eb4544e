"""Images of one file are read together, whatever the order of the table that lists them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from glcm_mae.audit.inspection import inspect
from glcm_mae.data import Manifest, Record, file_hashes, load_images
from glcm_mae.data.duplicates import duplicate_groups
from glcm_mae.data.readers import nifti
from glcm_mae.data.record import file_by_file

from .readers import samples

# Two threads may each be at another file where one ends and the next begins.
_ONCE_EACH = 3 + 2 * 2


@pytest.fixture
def shuffled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Record], list[int]]:
    """Slices of three packed volumes, in no order, and the bytes of each that was unpacked."""
    rng = np.random.default_rng(0)
    records = []
    for name in "abc":
        path = tmp_path / f"{name}.nii.gz"
        voxels = rng.integers(0, 255, (40, 48, 20)).astype(np.uint8)
        path.write_bytes(gzip.compress(samples.nifti(voxels)))
        records += [Record(path, name, name, None, frame) for frame in range(20)]
    unpacked: list[int] = []
    unpack = nifti._gunzipped
    monkeypatch.setattr(nifti, "_gunzipped", lambda file: unpacked.append(1) or unpack(file))
    return [records[n] for n in rng.permutation(60)], unpacked


def test_an_order_that_is_by_file_stays_as_it_is() -> None:
    records = [Record(Path(name), None, name, None, n) for n, name in enumerate("aaabbc")]
    assert file_by_file(records) == list(range(6))
    assert file_by_file([]) == []


def test_each_packed_file_is_unpacked_once(shuffled: tuple[list[Record], list[int]]) -> None:
    records, unpacked = shuffled
    found = load_images(records, image_size=(48, 40))
    assert len(unpacked) <= _ONCE_EACH
    for n, record in enumerate(records[:10]):
        alone = load_images([record], image_size=(48, 40))
        assert torch.equal(found.pixels[n], alone.pixels[0])
        assert (found.hashes[n], found.perceptual[n]) == (alone.hashes[0], alone.perceptual[0])
    unpacked.clear()
    assert file_hashes(records) == found.hashes
    assert len(unpacked) <= _ONCE_EACH


def test_the_audit_and_the_search_for_copies_unpack_once(
    shuffled: tuple[list[Record], list[int]],
) -> None:
    records, unpacked = shuffled
    manifest = Manifest((*records, records[3]), ("a", "b", "c"), True)
    looks = inspect(manifest)
    groups = duplicate_groups(manifest)
    assert len(unpacked) <= 2 * _ONCE_EACH
    assert [look.digest for look in looks] == file_hashes(manifest.records)
    assert groups.tolist() == [*range(60), 3]


def test_skipped_images_leave_no_gaps(shuffled: tuple[list[Record], list[int]]) -> None:
    records, _ = shuffled
    for place in (0, 7, 16):
        records.insert(place, Record(Path(f"none{place}.png"), None, "", None))
    found = load_images(records, image_size=(48, 40), on_error="skip")
    assert [name for name, _ in found.skipped] == ["none0.png", "none7.png", "none16.png"]
    assert found.kept.tolist() == [n for n in range(63) if n not in (0, 7, 16)]
    whole = load_images([records[n] for n in found.kept], image_size=(48, 40))
    assert torch.equal(found.pixels, whole.pixels)
    assert found.hashes == whole.hashes
