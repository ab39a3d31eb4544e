"""An image is known again from its hash, and no other image is taken for it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.data import perceptual
from glcm_mae.data.perceptual import (
    APART,
    alike_in_hashes,
    hash_distances,
    have_copies,
    is_perceptual_hash,
    perceptual_hashes,
)
from glcm_mae.data.symmetries import SYMMETRIES, Symmetry
from glcm_mae.data.thumbnails import thumbnail

from .scenes import make_scenes
from .test_duplicates import CHANGES, Picture

_CROPPED = {name for name in CHANGES if "cropped" in name} | {"everything"}


def _hashes(pictures: list[Picture]) -> list[str]:
    return perceptual_hashes(torch.stack([thumbnail(np.asarray(picture)) for picture in pictures]))


@pytest.mark.parametrize("change", sorted(set(CHANGES) - _CROPPED))
def test_copies_are_known_again(change: str) -> None:
    scenes = make_scenes(4)
    changed = _hashes([CHANGES[change](scene) for scene in scenes[:2]])
    assert have_copies(_hashes(scenes), changed).tolist() == [True, True, False, False]


def test_other_images_of_the_same_kind_are_none() -> None:
    first, *others = [_hashes(make_scenes(60, seed=seed)) for seed in range(3)]
    for other in others:
        assert float(hash_distances(first, other).min()) > 1.5 * APART


def _bodies_on_black(size: int) -> tuple[list[str], list[str]]:
    """Hashes of bodies of about a size, in pixels of 128, and of the same with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]

    def body() -> np.ndarray:
        (row, column), (height, width) = rng.uniform(50, 78, 2), rng.uniform(size, size + 10, 2)
        inside = ((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 1
        return inside * (120 + 30 * np.kron(rng.standard_normal((32, 32)), np.ones((4, 4))))

    clean = [body() for _ in range(40)]
    noisy = [gray + rng.normal(0, 1, gray.shape) for gray in clean]
    first, second = (
        perceptual_hashes(torch.stack([thumbnail(gray) for gray in grays]))
        for grays in (clean, noisy)
    )
    return first, second


def test_bodies_on_black_are_told_apart() -> None:
    clean, noisy = _bodies_on_black(34)
    assert all(clean)
    apart = hash_distances(clean, noisy)
    assert float(apart.diagonal().max()) <= APART
    assert float(apart.fill_diagonal_(1).min()) > APART


def test_small_bodies_on_black_are_not_told_of() -> None:
    clean, _ = _bodies_on_black(10)
    assert not any(clean)


@given(st.integers(0, 2**32 - 1), st.sampled_from(SYMMETRIES))
@settings(max_examples=25, deadline=None)
def test_a_turned_image_has_the_turned_hash(seed: int, symmetry: Symmetry) -> None:
    scene = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(seed))
    turned = perceptual_hashes(symmetry(scene).contiguous())
    assert float(hash_distances(perceptual_hashes(scene), turned)) < 0.01  # rounding at the edge


def test_flat_images_are_copies_of_nothing() -> None:
    edge = torch.zeros(64, 64)
    edge[:, 32:] = 1.0
    hashes = perceptual_hashes(torch.stack([torch.zeros(64, 64), edge]))
    assert hashes[0] == ""
    assert not have_copies(["", hashes[0]], hashes).any()
    assert not have_copies(hashes, [""]).any()
    assert have_copies([], []).shape == (0,)
    assert have_copies(hashes, []).tolist() == [False, False]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = _hashes(make_scenes(7))
    hashes = [scenes[0], "", *scenes[1:], ""]
    expected = have_copies(hashes, scenes[3:5]).tolist()
    assert sum(expected) == 2
    monkeypatch.setattr("glcm_mae.data.perceptual._ROWS", 2)
    assert have_copies(hashes, scenes[3:5]).tolist() == expected


def test_pairs_are_those_of_all_distances() -> None:
    """In every pose, and each pair once where a set is compared with itself."""
    scenes = make_scenes(40)
    turned = [CHANGES[name](scenes[n]) for n, name in enumerate(("mirrored", "turned", "jpeg"))]
    hashes = ["", *_hashes(scenes + turned), ""]
    others = hashes[30:]
    wanted = torch.nonzero(hash_distances(hashes, others) <= APART).tolist()
    found = [torch.stack(pair, 1) for _, *pair in alike_in_hashes(hashes, others)]
    assert torch.cat(found).tolist() == wanted
    wanted = torch.nonzero((hash_distances(hashes, hashes) <= APART).triu(1)).tolist()
    assert len(wanted) == 3
    found = [torch.stack(pair, 1) for _, *pair in alike_in_hashes(hashes)]
    assert torch.cat(found).tolist() == wanted


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_sorted_hashes_share_no_less_than_the_best_pose(seed: int, share: float) -> None:
    torch.manual_seed(seed)
    step = (torch.rand(6, 544) < share) * torch.randn(6, 544)  # up, down or flat
    bits = torch.cat([step > 0, step < 0], dim=1).float()
    hashes = [np.packbits(row.numpy().astype(np.uint8)).tobytes().hex() for row in bits]
    in_order = perceptual._sorted(bits)
    assert torch.equal(in_order.sum(dim=1), bits.sum(dim=1))
    for symmetry in SYMMETRIES:
        assert torch.equal(perceptual._sorted(perceptual._posed(bits, symmetry)), in_order)
    least = perceptual._jaccard(in_order @ in_order.T, bits.sum(1) + bits.sum(1, keepdim=True))
    assert (least <= hash_distances(hashes, hashes)).all()


def test_few_pairs_are_turned_in_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight products of matrices a pair took ten minutes of 50,000 images in five folds."""
    tried = []

    def counted(hashes: list[str], others: list[str]) -> torch.Tensor:
        tried.append(len(hashes) * len(others))
        return hash_distances(hashes, others)

    monkeypatch.setattr(perceptual, "hash_distances", counted)
    monkeypatch.setattr(perceptual, "_ROWS", 64)
    rng = np.random.default_rng(0)
    hashes = perceptual_hashes(torch.stack([thumbnail(gray) for gray in rng.random((256, 64, 64))]))
    assert have_copies(hashes[:128], hashes[100:]).sum() == 28
    assert sum(tried) < 0.3 * 128 * 156  # a block of rows for each column with a copy


def test_what_is_a_hash() -> None:
    (one,) = _hashes(make_scenes(1))
    assert is_perceptual_hash(one)
    for text in (one[:-1], one.upper(), one + "0", "g" * len(one)):
        assert not is_perceptual_hash(text)
