"""Exact gray-level co-occurrence matrices: integer counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .inputs import check_tensors
from .offsets import offsets_at, pair_views
from .regions import Regions, regions
from .untraced import untraced


def graycomatrix(
    images: Tensor,
    levels: int,
    offsets: Sequence[tuple[int, ...]] | None = None,
    *,
    distances: Sequence[float] | None = None,
    angles: Sequence[float] | None = None,
    convention: Literal["skimage", "ibsi"] = "skimage",
    symmetric: bool = False,
    normed: bool = False,
    mask: Tensor | None = None,
    sparse: bool = False,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Count how often two gray levels stand one offset apart.

    The counts equal those of ``skimage.feature.graycomatrix``, whose ``graycomatrix(image, [1],
    [0], levels=8)`` is ``graycomatrix(image, 8, distances=[1], angles=[0])`` here. On a CPU with
    numba they come from a compiled loop, and images share as many threads as
    ``torch.get_num_threads()``; elsewhere, from tensor operations. Both give the same at every
    call, and read views such as `glcm_mae.texture.windows` in place.

    Parameters
    ----------
    images : Tensor of integers, (..., H, W), or (..., D, H, W) where offsets have three components
        Gray levels in ``[0, levels)``; see `glcm_mae.texture.quantize`.
    levels : int
        Number of gray levels L, 1 to 65,536.
    offsets : sequence of (dy, dx) or (dz, dy, dx), optional
        From the first pixel of a pair to the second; ((0, 1), (1, 0)) if neither these nor
        distances and angles are given. `glcm_mae.texture.directions` lists the usual ones.
    distances, angles : sequences of float, optional
        In place of ``offsets``: pixels, and radians clockwise on the screen. All angles of the
        first distance come first: ``.unflatten(-3, (len(distances), len(angles)))`` parts them.
    convention : {"skimage", "ibsi"}
        What a distance is off the axes; see `glcm_mae.texture.offsets_at`. At 45 degrees and
        distance 2 the offset is (1, 1) with "skimage" and (2, 2) with "ibsi".
    symmetric : bool
        Count every pair in both directions.
    normed : bool
        Divide by the number of pairs.
    mask : Tensor, broadcastable to ``images``, optional
        Region of interest: a pair counts only where both its pixels' values are not 0. Gray levels
        outside are not looked at.
    sparse : bool
        Return a coalesced ``torch.sparse_coo`` tensor, whose size follows from the pixels and not
        from L * L: for many levels, or many small patches.
    dtype : torch.dtype, optional
        Integer type of the counts. int32 if not given (int64 where an image has more than 2**30
        pairs). A narrower one saves memory where images are small.
    out : Tensor, contiguous, (..., O, L, L), optional
        Where the counts are written, in its own type: one tensor for many calls saves asking for
        memory each time, which for small patches takes longer than counting. Not with ``sparse``,
        ``normed`` or ``dtype``.

    Returns
    -------
    Tensor, (..., O, L, L)
        Counts, or float64 frequencies if ``normed``. ``[o, i, j]``: pairs of level i and,
        ``offsets[o]`` away, level j. All 0 where no pair lies inside, as when the offset reaches
        across the image; so are the frequencies. ``out`` if it is given.

    Raises
    ------
    TypeError, ValueError
        If the images are no tensor or not integers in range, offsets are missing or mixed, a count
        might not fit into ``dtype``, or ``out`` does not fit the images.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> image = torch.tensor([[0, 0, 1], [1, 0, 0]])
    >>> graycomatrix(image, levels=2, offsets=[(0, 1)]).tolist()
    [[[2, 1], [1, 0]]]
    >>> graycomatrix(image, levels=2, distances=[1], angles=[0], mask=image == 0).tolist()
    [[[2, 0], [0, 0]]]
    """
    area = regions(images, levels, _offsets(offsets, distances, angles, convention), mask)
    shape = (*area.lead, len(area.offsets), area.levels, area.levels)
    if out is not None:
        _check_out(out, shape, area, sparse or normed or dtype is not None)
        dtype = out.dtype
    dtype = _count_type("dtype" if out is None else "out", dtype, area, symmetric)
    if sparse:
        return _sparse(area, symmetric, normed, dtype)
    matrices = _dense(area, symmetric, dtype, out).view(shape)
    if out is not None:
        return out
    if not normed:
        return matrices
    return matrices.double() / matrices.sum(dim=(-2, -1), keepdim=True).clamp_min(1)


def _check_out(out: Tensor, shape: tuple[int, ...], area: Regions, is_other: bool) -> None:
    check_tensors(out=out)
    if is_other:
        raise ValueError("out takes counts, in its own type: leave sparse, normed and dtype out.")
    same_place = out.device == area.codes.device
    if out.shape != shape or not same_place or not out.is_contiguous():
        raise ValueError(
            f"out is {tuple(out.shape)} on {out.device}: it must be contiguous, {shape}, on "
            f"{area.codes.device}."
        )


@untraced
def _dense(area: Regions, symmetric: bool, dtype: torch.dtype, out: Tensor | None) -> Tensor:
    if area.compiled:
        from .hard_cpu import count_dense  # imports numba, which takes half a second

        return count_dense(area, symmetric, dtype, out)
    return scatter_dense(area, symmetric, dtype, out)


def scatter_dense(
    area: Regions, symmetric: bool, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """Count by adding a one at each pair's cell: on any device, and the specification.

    Parameters
    ----------
    area : Regions
        Gray levels (..., D, H, W) and all else that says which pairs count.
    symmetric : bool
        Count every pair in both directions.
    dtype : torch.dtype
        Integer type of the counts.
    out : Tensor, contiguous, (..., O, L, L), optional
        Where they are written.

    Returns
    -------
    Tensor, (N, O, L * L)
    """
    shape = area.lead.numel(), len(area.offsets), area.levels**2
    if out is None:
        matrices = torch.zeros(shape, dtype=dtype, device=area.codes.device)
    else:
        matrices = out.view(shape).zero_()
    for part, chunk in area.chunks():
        codes = _as_int64(chunk)
        for o in range(len(area.offsets)):
            first, second, counts = _pairs(codes, o)  # (n, P) each
            ones = counts.to(dtype)
            matrices[part, o].scatter_add_(1, first * area.levels + second, ones)
            if symmetric:
                matrices[part, o].scatter_add_(1, second * area.levels + first, ones)
    return matrices


def unique_cells(
    area: Regions, symmetric: bool, dtype: torch.dtype, grid: Tensor
) -> tuple[Tensor, Tensor]:
    """Count by sorting the pairs' cells: on any device, and the specification of the sparse form.

    Parameters
    ----------
    area : Regions
        Gray levels (..., D, H, W) and all else that says which pairs count.
    symmetric : bool
        Count every pair in both directions.
    dtype : torch.dtype
        Integer type of the counts.
    grid : Tensor of int64, (g, N * O)
        Where in the batch each matrix stands: g indices, the last one the offset's.

    Returns
    -------
    indices : Tensor of int64, (g + 2, E)
        Of every cell that is not empty, in the order of a coalesced tensor: its matrix's place,
        and levels i and j.
    counts : Tensor, (E,)
    """
    area = _as_int64(area)
    n, cells = area.lead.numel(), area.levels**2
    rows = torch.arange(n, device=area.codes.device)[:, None] * len(area.offsets)
    listed = []
    for o in range(len(area.offsets)):
        first, second, counts = _pairs(area, o)  # (N, P) each
        listed.append(((rows + o) * cells + first * area.levels + second)[counts])
        if symmetric:
            listed.append(((rows + o) * cells + second * area.levels + first)[counts])
    places, count = torch.cat(listed).unique(return_counts=True)
    cell = places % cells
    indices = (grid[:, places // cells], cell[None] // area.levels, cell[None] % area.levels)
    return torch.cat(indices), count.to(dtype)


def _pairs(area: Regions, o: int) -> tuple[Tensor, Tensor, Tensor]:
    """First and second level of every pair of an offset, and whether it counts: (N, P) each."""
    n = area.lead.numel()
    first, second = pair_views(area.codes, area.offsets[o])
    counts = torch.ones_like(first, dtype=torch.bool)
    if area.mask is not None:
        from_inside, to_inside = pair_views(area.mask, area.offsets[o])
        counts = from_inside & to_inside
    pairs = first.shape[-3:].numel()
    return first.reshape(n, pairs), second.reshape(n, pairs), counts.reshape(n, pairs)


def _as_int64(area: Regions) -> Regions:
    """Gray levels as indices, checked; 0 outside the region of interest."""
    codes = area.codes.long()
    if area.mask is not None:
        codes = codes.masked_fill(~area.mask, 0)
    area = Regions(codes, area.mask, area.levels, area.offsets)
    area.check_levels()
    return area


@untraced
def _sparse(area: Regions, symmetric: bool, normed: bool, dtype: torch.dtype) -> Tensor:
    batch = (*area.lead, len(area.offsets))
    numbers = [torch.arange(size, device=area.codes.device) for size in batch]
    grid = torch.stack(torch.meshgrid(*numbers, indexing="ij")).flatten(1)  # (g, N * O)
    if area.compiled:
        from .hard_cpu import count_sparse

        indices, values = count_sparse(area, symmetric, dtype, grid)
    else:
        indices, values = unique_cells(area, symmetric, dtype, grid)
    if normed:
        values = values / _totals(indices[:-2], values, batch)
    return torch.sparse_coo_tensor(
        indices, values, (*batch, area.levels, area.levels), device=values.device,
        is_coalesced=True, check_invariants=False,
    )  # fmt: skip


def _totals(matrix: Tensor, values: Tensor, batch: tuple[int, ...]) -> Tensor:
    """Sum of the matrix that each entry (E,) belongs to, in float64."""
    totals = torch.zeros(batch, dtype=torch.float64, device=values.device)
    places = tuple(matrix)
    return totals.index_put_(places, values.double(), accumulate=True)[places]


def _offsets(
    offsets: Sequence[tuple[int, ...]] | None,
    distances: Sequence[float] | None,
    angles: Sequence[float] | None,
    convention: Literal["skimage", "ibsi"],
) -> Sequence[tuple[int, ...]]:
    if convention != "skimage" and (distances is None or angles is None):
        raise ValueError(
            f"convention is {convention!r}, which says what distances at angles are: give both, "
            "or leave it out."
        )
    if offsets is None and distances is None and angles is None:
        return ((0, 1), (1, 0))
    if offsets is not None and distances is None and angles is None:
        return offsets
    if offsets is None and distances is not None and angles is not None:
        return offsets_at(distances, angles, convention)
    raise ValueError("give either offsets, or both distances and angles.")


def _count_type(
    name: str, dtype: torch.dtype | None, area: Regions, symmetric: bool
) -> torch.dtype:
    largest = max(map(area.pairs, area.offsets)) * (2 if symmetric else 1)
    if dtype is None:
        return torch.int32 if largest <= torch.iinfo(torch.int32).max else torch.int64
    if dtype not in (torch.uint8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"{name} is {dtype}: counts can be uint8, int16, int32 or int64.")
    if largest > torch.iinfo(dtype).max:
        raise ValueError(f"{name} is {dtype}, but a count may reach {largest}: choose a wider one.")
    return dtype
