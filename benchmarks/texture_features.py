"""Time of the IBSI GLCM features: glcm_mae, pyradiomics, mirp, fastrad, flash-radiomics, others.

    python benchmarks/texture_features.py [--images 64] [--repeats 5] [--device cuda]

The features of 224 x 224 images at 32 and 256 levels, 4 directions, each direction's features
averaged (IBSI's 2D averaged). The values that a peer gives are compared with ours before it is
timed; the column "same" counts those that agree to a relative 1e-6, of those that it has under any
of IBSI's definitions. A form is run on as many images as take a tenth of a second, several times,
and the median counts. With ``--device cuda`` the tensor form on that device is timed too.

scikit-image has its own ten properties, mahotas Haralick's 13: other definitions, so that nothing
is compared. The peers are used where they are installed, best in an environment of their own:

    python -m venv peers && peers/bin/pip install --constraint constraints.txt torch
    peers/bin/pip install --constraint constraints.txt --editable .
    peers/bin/pip install --constraint constraints.txt scikit-image mahotas pyradiomics-bhklab \
        pytorchradiomics numpyradiomics fastrad flash-radiomics mirp nyxus
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from exact_glcm import textured
from glcm_mae.texture import FEATURE_NAMES, image_features

# What gives the features of a stack of images (n, H, W), image by image.
Form = Callable[[NDArray[np.uint8], int], Iterator[dict[str, float]]]

# pyradiomics' names, which its followers use too.
PYRADIOMICS = {
    "MaximumProbability": "joint_maximum",
    "JointAverage": "joint_average",
    "SumSquares": "joint_variance",
    "JointEntropy": "joint_entropy",
    "DifferenceAverage": "difference_average",
    "DifferenceVariance": "difference_variance",
    "DifferenceEntropy": "difference_entropy",
    "SumAverage": "sum_average",
    "SumVariance": "sum_variance",
    "SumEntropy": "sum_entropy",
    "JointEnergy": "angular_second_moment",
    "Contrast": "contrast",
    "Dissimilarity": "dissimilarity",
    "Id": "inverse_difference",
    "Idn": "normalised_inverse_difference",
    "Idm": "inverse_difference_moment",
    "Idmn": "normalised_inverse_difference_moment",
    "InverseVariance": "inverse_variance",
    "Correlation": "correlation",
    "Autocorrelation": "autocorrelation",
    "ClusterTendency": "cluster_tendency",
    "ClusterShade": "cluster_shade",
    "ClusterProminence": "cluster_prominence",
    "Imc1": "information_correlation_1",
    "Imc2": "information_correlation_2",
}
# mirp's names, in our order.
_MIRP = """
    joint_max joint_avg joint_var joint_entr diff_avg diff_var diff_entr sum_avg sum_var sum_entr
    energy contrast dissimilarity inv_diff inv_diff_norm inv_diff_mom inv_diff_mom_norm inv_var corr
    auto_corr clust_tend clust_shade clust_prom info_corr1 info_corr2
"""
MIRP = dict(zip(_MIRP.split(), FEATURE_NAMES, strict=True))
# nyxus' names, in our order.
_NYXUS = """
    JMAX JAVE JVAR JE DIFAVE DIFVAR DIFENTRO SUMAVERAGE SUMVARIANCE SUMENTROPY
    ASM CONTRAST DIS ID IDN IDM IDMN IV CORRELATION
    ACOR CLUTEND CLUSHADE CLUPROM INFOMEAS1 INFOMEAS2
"""
NYXUS = dict(zip((f"GLCM_{k}_AVE" for k in _NYXUS.split()), FEATURE_NAMES, strict=True))


def ours(
    stack: NDArray[np.uint8], levels: int, threads: int, device: str
) -> Iterator[dict[str, float]]:
    """Run `image_features` on a number of threads."""
    torch.set_num_threads(threads)
    values = image_features(torch.from_numpy(stack).to(device), levels).cpu()
    for row in values:
        yield dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


def renamed(features, names: dict[str, str]) -> dict[str, float]:
    """Features under our names; others are left out."""
    return {names[name]: float(value) for name, value in features.items() if name in names}


def _radiomics(stack, kind, **settings):
    """Run a class of pyradiomics' form, without its maximal correlation coefficient."""
    import SimpleITK

    mask = SimpleITK.GetImageFromArray(np.ones(stack[0].shape, np.uint8))
    for image in stack:
        volume = SimpleITK.GetImageFromArray(image.astype(np.int32))
        glcm = kind(volume, mask, binWidth=1, **settings)
        glcm.enableAllFeatures()
        glcm.enabledFeatures.pop("MCC")
        yield renamed(glcm.execute(), PYRADIOMICS)


def pyradiomics(stack, levels):
    """Run ``radiomics.glcm.RadiomicsGLCM``."""
    from radiomics.glcm import RadiomicsGLCM

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    return _radiomics(stack, RadiomicsGLCM)


def pytorchradiomics(stack, levels):
    """Run ``torchradiomics.TorchRadiomicsGLCM`` on the CPU; its matrices are pyradiomics'."""
    from torchradiomics import TorchRadiomicsGLCM

    logging.getLogger("torchradiomics").setLevel(logging.ERROR)
    return _radiomics(stack, TorchRadiomicsGLCM, device="cpu")


def numpyradiomics(stack, levels):
    """Run ``numpyradiomics.mod_glcm.glcm``."""
    from numpyradiomics.mod_glcm import glcm

    for image in stack:
        yield renamed(glcm(image + 1.0, np.ones(image.shape), binWidth=1), PYRADIOMICS)


def flash_radiomics(stack, levels):
    """Run ``flash_radiomics.glcm.RadiomicsGLCM`` on the CPU."""
    from flash_radiomics.glcm import RadiomicsGLCM

    for image in stack:
        mask = np.ones(image.shape, np.uint8)
        glcm = RadiomicsGLCM(image.astype(np.float32), mask, binWidth=1, backend="cpu")
        yield renamed(glcm.execute(), PYRADIOMICS)


def fastrad(stack, levels):
    """Run ``fastrad.features.glcm.compute``, whose directions out of the plane find no pair."""
    from fastrad.features.glcm import compute
    from fastrad.settings import FeatureSettings

    settings = FeatureSettings(bin_width=1, device="cpu")
    names = {_snake(name): ours for name, ours in PYRADIOMICS.items()}
    for image in stack:
        volume = torch.from_numpy(image).float()[None]
        found = compute(volume, torch.ones_like(volume), settings)
        yield renamed({k.removeprefix("glcm:"): v for k, v in found.items()}, names)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def mirp(stack, levels):
    """Run ``mirp.extract_features`` with its whole workflow, which is how it is used."""
    from mirp import extract_features

    logging.disable(logging.INFO)
    for image in stack:
        (table,) = extract_features(
            image=image[None] + 1.0, mask=np.ones((1, *image.shape), int), by_slice=True,
            base_feature_families="glcm", base_discretisation_method="none",
            glcm_spatial_method="2d_average", no_approximation=True,
        )  # fmt: skip
        cells = table.iloc[0].to_dict()
        yield renamed({k[3:-10]: v for k, v in cells.items() if k.startswith("cm_")}, MIRP)


def nyxus(stack, levels):
    """Run ``nyxus.Nyxus``, whose IBSI mode keeps the levels but leaves out pixels of zero."""
    from nyxus import Nyxus

    extractor = Nyxus(list(NYXUS), ibsi=True)
    extractor.set_metaparam("glcm/offset=1")  # 0 in version 0.11: each pixel with itself
    for image in stack:
        table = extractor.featurize(image + 1.0, np.ones(image.shape))
        yield renamed(table.iloc[0].to_dict(), NYXUS)


def scikit_image(stack, levels):
    """Run scikit-image's matrices and all its properties."""
    from skimage.feature import graycomatrix, graycoprops

    props = "contrast dissimilarity homogeneity ASM energy correlation mean variance std entropy"
    for image in stack:
        angles = [k * math.pi / 4 for k in range(4)]
        matrices = graycomatrix(image, [1], angles, levels, symmetric=True)
        for prop in props.split():
            graycoprops(matrices, prop)
        yield {}


def mahotas(stack, levels):
    """Run ``mahotas.features.haralick``."""
    from mahotas.features import haralick

    for image in stack:
        haralick(image, return_mean=True)
        yield {}


PEERS: dict[str, tuple[str, Form]] = {
    "pyradiomics": ("radiomics", pyradiomics),
    "pytorchradiomics": ("torchradiomics", pytorchradiomics),
    "numpyradiomics": ("numpyradiomics", numpyradiomics),
    "fastrad": ("fastrad", fastrad),
    "flash-radiomics": ("flash_radiomics", flash_radiomics),
    "mirp": ("mirp", mirp),
    "nyxus": ("nyxus", nyxus),
    "scikit-image, 10 properties": ("skimage", scikit_image),
    "mahotas, 13 features": ("mahotas", mahotas),
}


def forms(threads: int, device: str) -> dict[str, Form]:
    """List what is timed: name and function."""
    found: dict[str, Form] = {}
    for n in sorted({1, threads}):
        name = f"glcm_mae, {n} thread{'s' if n > 1 else ''}"
        found[name] = partial(ours, threads=n, device="cpu")
    if device == "cuda":
        found["glcm_mae, cuda"] = partial(ours, threads=threads, device="cuda")
    for name, (package, form) in PEERS.items():
        if find_spec(package):
            found[name] = form
        else:
            print(f"{name} is not installed")
    return found


def agreement(form: Form, stack: NDArray[np.uint8], levels: int) -> str:
    """How many features are ours, of those that the form has."""
    torch.set_num_threads(1)
    (found,) = form(stack[:1], levels)
    (expected,) = ours(stack[:1], levels, threads=1, device="cpu")
    if not found:
        return "-"
    same = [math.isclose(value, expected[name], rel_tol=1e-6) for name, value in found.items()]
    return f"{sum(same)} of {len(same)}"


def rate(form: Form, stack: NDArray[np.uint8], levels: int, repeats: int) -> float:
    """Median images a second, over as many as take a tenth of a second."""

    def seconds(n: int) -> float:
        start = time.perf_counter()
        for _ in form(stack[:n], levels):
            pass
        return time.perf_counter() - start

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
    warnings.filterwarnings("ignore")  # the peers' own
    timed = forms(torch.get_num_threads(), args.device)
    print(f"images a second, median of {args.repeats}; in brackets, times the fastest peer's")
    print(f"{'':30}" + "".join(f"{f'{n} levels':>22}{'same':>12}" for n in (32, 256)))
    columns = []
    for levels in (32, 256):
        stack = textured(args.images, levels)
        same = {name: agreement(form, stack, levels) for name, form in timed.items()}
        rates = {name: rate(form, stack, levels, args.repeats) for name, form in timed.items()}
        fastest = max(
            (rates[name] for name in PEERS if same.get(name, "-") != "-"), default=math.nan
        )
        columns.append({n: (f"{r:,.1f} [{r / fastest:.2f}]", same[n]) for n, r in rates.items()})
    for name in timed:
        cells = "".join(f"{c[name][0]:>22}{c[name][1]:>12}" for c in columns)
        print(f"{name:30}{cells}")


if __name__ == "__main__":
    main()
