"""Which form of the texture loss is fastest on a CPU: tensors, numba, or C.

    python benchmarks/cpu_forms.py [--images 4] [--repeats 5]

Images of 224 x 224 in patches of 16 x 16, two offsets, the linear kernel (two bins a pixel), value
and gradient, on one thread; every form is checked against the dense one. The C loop does the same
work as the compiled Python loop, in double precision, and is built here by `cc -O3 -march=native
-ffast-math`; it is what an extension module could do, which users would have to compile or get
built for their machine. "times" is against numba.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.texture import Binning, windows
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance
from glcm_mae.texture.fused_cpu import fused_distance
from glcm_mae.texture.patches import Patches
from glcm_mae.texture.sparse import matmul_distance, sparse_distance
from texture_loss import make_images

Pair = tuple[Tensor, Tensor]  # distance (G,), gradient (G, 1, p, p)

OFFSETS = ((0, 1), (1, 0))
_DENSE_PART = 32  # patches at a time: the dense form holds a map of every level

C = """
#include <math.h>
#include <stdlib.h>
typedef struct { long bin[2]; double weight[2], slope[2]; } Soft;

static Soft soft(float x, long levels) {
    double place = x * levels - 0.5, below = floor(place), part = place - below;
    long k = (long) below;
    Soft s = {{k < 0 ? 0 : k, k + 1 < levels ? k + 1 : levels - 1},
              {1 - part, part}, {-levels, levels}};
    return s;
}

static void add(double *cells, long levels, const Soft *a, const Soft *b, double sign) {
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            cells[a->bin[i] * levels + b->bin[j]] += sign * a->weight[i] * b->weight[j];
}

static double look(const double *cells, long levels, const Soft *a, const Soft *b,
                   double *by_a, double *by_b) {
    double value = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            double cell = cells[a->bin[i] * levels + b->bin[j]];
            value += cell * a->weight[i] * b->weight[j];
            *by_a += cell * a->slope[i] * b->weight[j];
            *by_b += cell * a->weight[i] * b->slope[j];
        }
    return value;
}

void distances(const float *p, const float *t, long groups, long side, long levels,
               const long *offsets, long n_offsets, float *distance, float *gradient) {
    long area = side * side;
    double *cells = calloc(levels * levels, sizeof(double));
    Soft *of_p = malloc(area * sizeof(Soft)), *of_t = malloc(area * sizeof(Soft));
    double *slopes = malloc(area * sizeof(double)), unused = 0;
    for (long g = 0; g < groups; g++) {
        double total = 0;
        for (long n = 0; n < area; n++) {
            of_p[n] = soft(p[g * area + n], levels);
            of_t[n] = soft(t[g * area + n], levels);
            slopes[n] = 0;
        }
        for (long o = 0; o < n_offsets; o++)
            for (int turn = 0; turn < 3; turn++)
                for (long y = 0; y < side - offsets[2 * o]; y++)
                    for (long x = 0; x < side - offsets[2 * o + 1]; x++) {
                        long a = y * side + x, b = a + offsets[2 * o] * side + offsets[2 * o + 1];
                        if (turn == 0) {
                            add(cells, levels, of_p + a, of_p + b, 1);
                            add(cells, levels, of_t + a, of_t + b, -1);
                        } else if (turn == 1) {
                            total += look(cells, levels, of_p + a, of_p + b,
                                          slopes + a, slopes + b);
                            total -= look(cells, levels, of_t + a, of_t + b, &unused, &unused);
                        } else {
                            for (int i = 0; i < 2; i++)
                                for (int j = 0; j < 2; j++) {
                                    cells[of_p[a].bin[i] * levels + of_p[b].bin[j]] = 0;
                                    cells[of_t[a].bin[i] * levels + of_t[b].bin[j]] = 0;
                                }
                        }
                    }
        distance[g] = total / (levels * levels * n_offsets);
        for (long n = 0; n < area; n++)
            gradient[g * area + n] = 2 * slopes[n] / (levels * levels * n_offsets);
    }
    free(cells); free(of_p); free(of_t); free(slopes);
}
"""


def build(folder: Path) -> ctypes.CDLL:
    """Compile the loop in C."""
    source, code, library = (folder / f"distances.{ending}" for ending in ("c", "o", "so"))
    source.write_text(C)
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC"]
    # Linked by itself: a library linked for fast mathematics rounds all subnormal numbers of the
    # process that loads it to 0.
    subprocess.run(["cc", *flags, "-c", str(source), "-o", str(code)], check=True)
    subprocess.run(["cc", "-shared", str(code), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def in_c(library: ctypes.CDLL, p: Tensor, t: Tensor, levels: int) -> Pair:
    """Run the loop in C on patches (G, 1, p, p)."""
    distance, gradient = torch.zeros(len(p)), torch.zeros_like(p)
    offsets = np.array(OFFSETS, np.int64)
    pointers = [ctypes.c_void_p(x.data_ptr()) for x in (p, t, distance, gradient)]
    sizes = [ctypes.c_long(n) for n in (len(p), p.shape[-1], levels)]
    library.distances(
        *pointers[:2], *sizes, ctypes.c_void_p(offsets.ctypes.data), ctypes.c_long(len(offsets)),
        *pointers[2:],
    )  # fmt: skip
    return distance, gradient


def in_numba(p: Tensor, t: Tensor, comparison: Comparison) -> Pair:
    """Run the package's loop on patches (G, 1, p, p)."""
    every = torch.arange(len(p))[:, None]
    patches = Patches(every, every >= 0, (1, 1), (p.shape[-2], p.shape[-1]))
    distance, gradient = fused_distance(p[:, 0], t[:, 0], patches, [(comparison, 1.0)])
    return distance, gradient[:, None]


def by_autograd(p: Tensor, t: Tensor, comparison: Comparison) -> Pair:
    """Run the dense form, a few patches at a time."""
    found = []
    for part, target in zip(p.split(_DENSE_PART), t.split(_DENSE_PART), strict=True):
        part = part.clone().requires_grad_()
        distance = dense_distance(part, target, torch.ones(len(part), 1), comparison)
        found.append((distance.detach(), *torch.autograd.grad(distance.sum(), part)))
    distances, gradients = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(gradients)


def main() -> None:
    """Print a table for each number of levels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    target, prediction = make_images(args.images, 224, noise=False)
    p, t = (
        windows(x[:, 0], 16).flatten(0, 2)[:, None].clamp(0.001, 0.999).contiguous()
        for x in (prediction, target)
    )
    valid = torch.ones(len(p), 1)
    print(f"{len(p)} patches of 16 x 16, linear kernel, one thread, median of {args.repeats}")
    print(f"{'levels':8}{'form':28}{'milliseconds':>14}{'times':>8}")
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        for levels in (32, 256):
            comparison = Comparison(Binning(levels, "linear"), OFFSETS)
            scratch = torch.zeros(2, len(p), levels**2) if levels <= 32 else None
            forms: dict[str, Callable[[], Pair]] = {
                "dense (tensors)": lambda c=comparison: by_autograd(p, t, c),
                "matrix products (tensors)": lambda c=comparison: matmul_distance(p, t, valid, c),
                "numba": lambda c=comparison: in_numba(p, t, c),
                "C": lambda n=levels: in_c(library, p, t, n),
            }
            if scratch is not None:  # at 256 levels it would take 800 MiB
                forms["scatter and gather (tensors)"] = lambda c=comparison, s=scratch: (
                    sparse_distance(p, t, valid, c, s)
                )
            print_forms(levels, forms, args.repeats)


def print_forms(levels: int, forms: dict[str, Callable[[], Pair]], repeats: int) -> None:
    """Time forms in turns, after they have been found to agree."""
    expected = forms["dense (tensors)"]()
    for name, form in forms.items():
        distance, gradient = form()
        assert torch.allclose(distance, expected[0], rtol=1e-3), name
        assert (gradient - expected[1]).norm() < 1e-3 * expected[1].norm(), name
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{levels:<8}{name:28}{1000 * median:>14.1f}{median / medians['numba']:>8.2f}")


if __name__ == "__main__":
    main()
