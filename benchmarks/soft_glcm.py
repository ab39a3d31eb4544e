"""How fast soft GLCMs and their gradient are on a CPU, as compiled loops and as tensor operations.

    python benchmarks/soft_glcm.py [--repeats 5]

Images of values between 0 and 1, two offsets; with a gradient the sum of the squared entries is
differentiated, with a mask 7 pixels in 10 are inside. Both forms take turns in one run, after they
have been found to agree. "times" is how many times longer the tensors take.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from glcm_mae.texture import Binning, soft, soft_glcm

Work = Callable[[Tensor, Binning, Tensor | None], list[Tensor]]

CASES = (
    ((1, 256, 256), Binning(256)),
    ((1, 256, 256), Binning(64, "linear")),
    ((8, 224, 224), Binning(32)),
    ((8, 224, 224), Binning(16, "linear")),
    ((1024, 16, 16), Binning(8)),
    ((1024, 16, 16), Binning(32, "bspline")),
    ((64, 16, 16), Binning(256, bandwidth=8 / 256)),
    ((64, 16, 16), Binning(128, "bspline", 0.3)),
)
_COMPILED = soft.runs_compiled


def matrices_and_gradient(images: Tensor, binning: Binning, mask: Tensor | None) -> list[Tensor]:
    """Differentiate the sum of the squares."""
    images = images.clone().requires_grad_()
    matrices = soft_glcm(images, binning, mask=mask)
    matrices.square().sum().backward()
    assert images.grad is not None
    return [matrices.detach(), images.grad]


def matrices_alone(images: Tensor, binning: Binning, mask: Tensor | None) -> list[Tensor]:
    """Compute no gradient."""
    return [soft_glcm(images, binning, mask=mask)]


WORKS: dict[str, tuple[Work, bool]] = {
    "masked": (matrices_alone, True),
    "gradient": (matrices_and_gradient, False),
    "both": (matrices_and_gradient, True),
}


def milliseconds(
    work: Work, images: Tensor, binning: Binning, mask: Tensor | None, repeats: int
) -> list[float]:
    """Time both forms in turns: the loops, the tensors."""
    forms = {"loops": _COMPILED, "tensors": lambda _: False}
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    found = {}
    for turn in range(repeats + 1):
        for form, runs_compiled in forms.items():
            soft.runs_compiled = runs_compiled
            start = time.perf_counter()
            found[form] = work(images, binning, mask)
            if turn:  # the first compiles
                seconds[form].append(time.perf_counter() - start)
    for ours, theirs in zip(*found.values(), strict=True):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm(), binning
    return [1000 * statistics.median(taken) for taken in seconds.values()]


def main() -> None:
    """Print a row for each case and kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    print(f"milliseconds, median of {repeats}, {torch.get_num_threads()} threads")
    print(f"{'images':15}{'levels':>7} {'kernel':10}{'with':10}", end="")
    print(f"{'loops':>9}{'tensors':>10}{'times':>7}")
    for (shape, binning), (name, (work, masked)) in itertools.product(CASES, WORKS.items()):
        images, mask = torch.rand(shape), torch.rand(shape) < 0.7
        ours, theirs = milliseconds(work, images, binning, mask if masked else None, repeats)
        size = "x".join(map(str, shape))
        print(f"{size:15}{binning.levels:7} {binning.kernel:10}{name:10}", end="")
        print(f"{ours:9.1f}{theirs:10.1f}{theirs / ours:7.1f}")


if __name__ == "__main__":
    main()
