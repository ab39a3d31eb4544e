"""What the texture terms cost in a pre-training step on a CPU.

    python benchmarks/step_share.py [--size vit-ti] [--batch 8] [--repeats 5]

Steps of a masked autoencoder on images of 224 x 224 in patches of 16 (mask ratio 0.75, decoder of
8 blocks of width 512, as in He et al. 2022), forward, backward and AdamW, with the squared error
alone and with each texture term beside it, in turns so that a busy machine slows all alike. The
share is that of the term in the step: the median over the rounds of 1 - without / with.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from glcm_mae.models import Encoder, MaskedAutoencoder, Objective, TextureHead, Weights
from glcm_mae.texture import Binning, GLCMLoss, PairKernelLoss, TransportLoss

WIDTHS = {"vit-ti": (192, 12, 3), "vit-s": (384, 12, 6), "vit-b": (768, 12, 12)}
PATCH, SIDE = 16, 224
GRID = (SIDE // PATCH, SIDE // PATCH)


class Step:
    """A model and an optimiser, and one term beside the squared error."""

    def __init__(self, size: str, term: str, loss: GLCMLoss | None, head: TextureHead | None):
        torch.manual_seed(0)
        encoder = Encoder((SIDE, SIDE), PATCH, 1, *WIDTHS[size])
        self.model = MaskedAutoencoder(encoder, 1, 512, 8, 16)
        weights = Weights({"mse": 1.0, **({term: 1.0} if term else {})})
        half = torch.tensor([0.5])
        self.objective = Objective(weights, PATCH, GRID, half, half, glcm=loss, head=head)
        parameters = [*self.model.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4)

    def seconds(self, images: torch.Tensor) -> float:
        """Make one step; return its seconds."""
        start = time.perf_counter()
        out = self.model(self.objective.normalize(images), 0.75)
        self.objective(images, out).total.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - start


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=WIDTHS, default="vit-ti")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    pairs = (0, 1), (1, 0)
    images = torch.rand(args.batch, 1, SIDE, SIDE)
    head = TextureHead(512, Binning(8), pairs, 1, PATCH, GRID, scope=3, relative=True)
    head.fit(images)
    terms = {
        "sigmoid 256 (paper)": ("glcm", GLCMLoss(256, kernel="sigmoid", scaled=True), None),
        "Gaussian 32": ("glcm", GLCMLoss(32), None),
        "Gaussian 32, image": ("glcm", GLCMLoss(32, pool="image"), None),
        "pair kernel 0.05": ("glcm", PairKernelLoss(0.05), None),
        "transport": ("glcm", TransportLoss(), None),
        "texture prediction 8": ("glcm_prediction", None, head),
    }
    plain = Step(args.size, "", None, None)
    steps = {name: Step(args.size, *term) for name, term in terms.items()}
    for step in (plain, *steps.values()):
        step.seconds(images)
    rounds = [
        {name: step.seconds(images) for name, step in {"": plain, **steps}.items()}
        for _ in range(args.repeats)
    ]
    without = statistics.median(r[""] for r in rounds)
    print(
        f"{args.size}/16, batch {args.batch}, {torch.get_num_threads()} threads: "
        f"{without:.3f} s a step with the squared error alone"
    )
    print(f"{'term':24}{'seconds':>10}{'share of the step':>20}")
    for name in steps:
        share = statistics.median(1 - r[""] / r[name] for r in rounds)
        print(f"{name:24}{statistics.median(r[name] for r in rounds):>10.3f}{share:>20.1%}")


if __name__ == "__main__":
    main()
