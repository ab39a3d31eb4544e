"""Time of exact GLCMs: glcm_mae, scikit-image, mahotas, pyradiomics, numpy.

    python benchmarks/exact_glcm.py [--images 64] [--repeats 5] [--device cuda]

Three tasks: whole images (224 x 224, 256 levels, 4 directions), and their 16 x 16 patches (2
offsets) at 32 and at 256 levels. Every form's matrices are compared with ours before it is timed.
A form is run on as many items as take a tenth of a second, several times, and the median counts.
All its matrices are kept until the end of a run, but those of patches at 256 levels, gigabytes that
are mostly zeros, are dropped as soon as they are there. "sparse" is
``graycomatrix(..., sparse=True)``. With ``--device cuda`` the tensor form on that device is timed
too.

The peers are used where they are installed, best in an environment of their own:

    python -m venv peers && peers/bin/pip install --constraint constraints.txt torch
    peers/bin/pip install --constraint constraints.txt --editable .
    peers/bin/pip install --constraint constraints.txt scikit-image mahotas pyradiomics-bhklab
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glcm_mae.texture import directions, fixed_bin_number, graycomatrix, windows

Offsets = tuple[tuple[int, ...], ...]
# What gives the matrices of a stack of images (n, H, W), some at a time: (k, O, L, L) or sparse.
Form = Callable[[NDArray[np.uint8], int, Offsets], Iterator[NDArray | Tensor]]

# Cells that a dense form, and pairs that a sparse form counts at a time.
_CELLS = 2**22
_PAIRS = 2**20


def textured(n: int, levels: int) -> NDArray[np.uint8]:
    """Smooth and fine noise, each image from the lowest level to the highest, (n, 224, 224)."""
    noise = torch.rand(2, n, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise[0], 9, stride=1, padding=4)
    return fixed_bin_number((10 * smooth + noise[1]).squeeze(1), levels).numpy().astype(np.uint8)


@functools.cache
def given_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory that is there before the clock runs."""
    return torch.empty(shape, dtype=dtype)


def ours(
    stack: NDArray[np.uint8],
    levels: int,
    offsets: Offsets,
    threads: int,
    sparse: bool,
    device: str,
    reuse: bool = False,
) -> Iterator[Tensor]:
    """Run `graycomatrix` on a number of threads; if asked, always into the same memory."""
    torch.set_num_threads(threads)
    images = torch.from_numpy(stack).to(device)
    area = stack[0].size
    pairs = max(math.prod(np.subtract(stack.shape[1:], np.abs(offset))) for offset in offsets)
    dtype = torch.uint8 if pairs < 2**8 else torch.int32  # the narrowest that holds every count
    at_once = _PAIRS // area if sparse else (8 * _CELLS if reuse else _CELLS) // levels**2
    chunks = images.split(max(1, at_once // len(offsets)))
    memory = given_memory((len(chunks[0]), len(offsets), levels, levels), dtype) if reuse else None
    for chunk in chunks:
        if memory is None:
            yield graycomatrix(chunk, levels, offsets, sparse=sparse, dtype=dtype)
        else:
            yield graycomatrix(chunk, levels, offsets, out=memory[: len(chunk)])
    if device == "cuda":
        torch.cuda.synchronize()


def scikit_image(stack, levels, offsets):
    """Run ``skimage.feature.graycomatrix``; offsets at distance 1."""
    from skimage.feature import graycomatrix as reference

    angles = [math.atan2(dy, dx) for dy, dx in offsets]
    for image in stack:
        yield reference(image, [1], angles, levels)[:, :, 0].transpose(2, 0, 1)[None]


def mahotas(stack, levels, offsets):
    """Run ``mahotas.features.texture.cooccurence``."""
    from mahotas.features.texture import cooccurence

    direction = {(0, 1): 0, (1, 1): 1, (1, 0): 2, (1, -1): 3}
    for image in stack:
        yield np.stack(
            [
                cooccurence(image, direction[o], np.zeros((levels, levels), np.int32), False)
                for o in offsets
            ]
        )[None]


def pyradiomics(stack, levels, offsets):
    """Run the C function of pyradiomics, which always counts 4 directions."""
    from radiomics import cMatrices

    mask, distance = np.ones(stack[0].shape, bool), np.array([1])
    for image in stack:
        counts, angles = cMatrices.calculate_glcm(
            image.astype(np.int32) + 1, mask, distance, levels, False, 0
        )
        steps = [tuple(angle) for angle in angles.tolist()]
        places = [steps.index(o if o in steps else (-o[0], -o[1])) for o in offsets]
        yield counts[0].transpose(2, 0, 1)[places][None]


def numpy_bincount(stack, levels, offsets):
    """Count all pairs of many images at once with ``numpy.bincount``."""
    part = max(1, _CELLS // (levels**2 * len(offsets)))
    for start in range(0, len(stack), part):
        chunk = stack[start : start + part].astype(np.int64)
        n, height, width = chunk.shape
        codes = []
        for o, (dy, dx) in enumerate(offsets):
            left, right = max(0, -dx), width - max(0, dx)
            first = chunk[:, : height - dy, left:right]
            second = chunk[:, dy:, left + dx : right + dx]
            matrix = np.arange(n)[:, None, None] * len(offsets) + o
            codes.append(((matrix * levels + first) * levels + second).ravel())
        cells = n * len(offsets) * levels**2
        counts = np.bincount(np.concatenate(codes), minlength=cells)
        yield counts.reshape(n, len(offsets), levels, levels)


PEERS: dict[str, tuple[str, Form]] = {
    "scikit-image": ("skimage", scikit_image),
    "mahotas": ("mahotas", mahotas),
    "pyradiomics": ("radiomics", pyradiomics),
    "numpy bincount": ("numpy", numpy_bincount),
}


def forms(threads: int, device: str) -> dict[str, Form]:
    """List what is timed: name and function."""
    counts = sorted({1, threads})
    found: dict[str, Form] = {}
    for sparse in (False, True):
        for n in counts:
            name = f"glcm_mae{', sparse' if sparse else ''}, {n} thread{'s' if n > 1 else ''}"
            found[name] = functools.partial(ours, threads=n, sparse=sparse, device="cpu")
    for n in counts:
        name = f"glcm_mae, out, {n} thread{'s' if n > 1 else ''}"
        found[name] = functools.partial(ours, threads=n, sparse=False, device="cpu", reuse=True)
    if device == "cuda":
        for sparse in (False, True):
            name = f"glcm_mae{', sparse' if sparse else ''}, cuda"
            found[name] = functools.partial(ours, threads=threads, sparse=sparse, device="cuda")
    for name, (package, form) in PEERS.items():
        if find_spec(package):
            found[name] = form
        else:
            print(f"{name} is not installed")
    return found


def symmetric_counts(form: Form, stack, levels: int, offsets: Offsets) -> NDArray[np.int64]:
    """Matrices plus their transposes, since some count the opposite direction: (n, O, L, L)."""
    parts = [torch.as_tensor(x).cpu() for x in form(stack, levels, offsets)]
    dense = torch.cat([x.to_dense() if x.is_sparse else x for x in parts]).numpy().astype(np.int64)
    return dense + dense.swapaxes(-1, -2)


def rate(form: Form, stack, levels: int, offsets: Offsets, keep: bool, repeats: int) -> float:
    """Median items a second, over as many items as take a tenth of a second."""

    def seconds(n: int) -> float:
        start = time.perf_counter()
        kept = [matrices if keep else None for matrices in form(stack[:n], levels, offsets)]
        took = time.perf_counter() - start
        del kept
        return took

    seconds(1)
    n = 1
    while n < len(stack) and seconds(n) < 0.1:
        n = min(2 * n, len(stack))
    return n / statistics.median(seconds(n) for _ in range(repeats))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    timed = forms(torch.get_num_threads(), args.device)

    def patches(levels: int) -> NDArray[np.uint8]:
        images = torch.from_numpy(textured(args.images, levels))
        return windows(images, 16).reshape(-1, 16, 16).numpy()

    tasks = {
        "images, 256 levels": (textured(args.images, 256), 256, directions(2), True),
        "patches, 32 levels": (patches(32), 32, ((0, 1), (1, 0)), True),
        "patches, 256 levels": (patches(256), 256, ((0, 1), (1, 0)), False),
    }
    print(f"items a second, median of {args.repeats}; in brackets, times the fastest peer's")
    print(f"{'':30}" + "".join(f"{task:>26}" for task in tasks))
    columns = {}
    for task, (stack, levels, offsets, keep) in tasks.items():
        expected = symmetric_counts(timed["glcm_mae, 1 thread"], stack[:3], levels, offsets)
        for name, form in timed.items():
            found = symmetric_counts(form, stack[:3], levels, offsets)
            if not np.array_equal(found, expected):
                raise SystemExit(f"{name} counts otherwise than glcm_mae: {task}")
        rates = {
            name: rate(form, stack, levels, offsets, keep, args.repeats)
            for name, form in timed.items()
        }
        fastest = max(rates[name] for name in PEERS if name in rates)
        columns[task] = {name: f"{r:,.0f} [{r / fastest:.2f}]" for name, r in rates.items()}
    for name in timed:
        print(f"{name:30}" + "".join(f"{column[name]:>26}" for column in columns.values()))


if __name__ == "__main__":
    main()
