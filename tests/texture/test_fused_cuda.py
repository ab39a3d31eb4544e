"""The CUDA kernel without a GPU: its logic under Triton's interpreter, its code by the compiler.

The interpreter runs the programs one after another, and the threads of a program in step: it shows
that the kernel computes the right thing, not that it waits where it must. `tests/test_gpu.py` runs
it on a device.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glcm_mae.texture.binning import Binning
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance, dense_glcm

triton = pytest.importorskip("triton")

# Sizes in bins. The Gaussian is narrow, so that it is one of those that the kernel takes.
KERNELS = [("sigmoid", 1 / 15), ("linear", 1.0), ("bspline", 1.0), ("gaussian", 0.25)]


@pytest.fixture(scope="module")
def kernel() -> ModuleType:
    """Load the module anew, with its kernel interpreted: a copy that no other test can meet."""
    name = "glcm_mae.texture.fused_cuda"
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    return module


def run(kernel, p, t, counts, comparison, *, programs=2, fixed=False):
    size = comparison.binning.levels**2 * (2 if comparison.scaled else 1)
    scratch = torch.zeros(programs, size, dtype=torch.int64 if fixed else torch.float32)
    result = kernel._launch(p, t, torch.as_tensor(counts), comparison, scratch)
    assert not scratch.any(), "the scratch must be zeros again"
    return result


def specification(p, t, counts, comparison):
    p = p.double().requires_grad_()
    valid = (torch.arange(p.shape[1]) < torch.as_tensor(counts)[:, None]).double()
    distance = dense_distance(p, t.double(), valid, comparison)
    (gradient,) = torch.autograd.grad(distance.sum(), p)
    return distance.detach(), gradient


def assert_agrees(found, expected):
    # float32 rounds a cell by 6e-8 of its size, and steep slopes 30-fold: 1e-6 and 3e-6 are
    # expected of value and gradient.
    distance, slope = found
    assert torch.allclose(distance.double(), expected[0], rtol=3e-6, atol=1e-12)
    assert (slope.double() - expected[1]).norm() <= 1e-5 * expected[1].norm() + 1e-12


@pytest.mark.parametrize(
    ("levels", "scaled", "normalized", "fixed"),
    [
        (8, False, False, False),  # whole matrices are swept
        (8, True, False, True),
        (8, False, True, True),
        (8, True, True, False),
        (40, False, False, True),  # cells are read and cleared singly
        (40, True, False, False),
        (40, True, True, True),
    ],
)
def test_agrees_with_the_dense_form(kernel, levels, scaled, normalized, fixed):
    binning = Binning(levels, "sigmoid", 1 / 30 / levels)
    comparison = Comparison(binning, ((0, 1), (1, -1)), scaled, normalized, (3.0, 1.0))
    p, t = torch.rand(2, 3, 2, 4, 5) * 1.3 - 0.15  # beyond both ends of the range too
    p[0], t[1] = 0.3, 0.7  # constant patches
    p[2, 0], t[2, 0] = 0.0, 1.0  # at the ends
    counts = [1, 2, 2]
    found = run(kernel, p, t, counts, comparison, fixed=fixed)
    assert_agrees(found, specification(p, t, counts, comparison))
    assert not found[1][0, 1].any()  # not a member of its group


@pytest.mark.parametrize(("name", "bins"), KERNELS)
@pytest.mark.parametrize("levels", [9, 64])
def test_every_kernel_agrees(kernel, name, bins, levels):
    comparison = Comparison(Binning(levels, name, bins / levels), ((1, 0),), scaled=levels == 9)
    p, t = torch.rand(2, 2, 1, 4, 4) * 1.2 - 0.1
    found = run(kernel, p, t, [1, 1], comparison)
    assert_agrees(found, specification(p, t, [1, 1], comparison))


@settings(max_examples=15, deadline=None)
@given(
    levels=st.integers(2, 70),
    bins=st.sampled_from(KERNELS),
    side=st.integers(2, 6),
    offset=st.tuples(st.integers(-1, 1), st.integers(-1, 1)).filter(lambda o: o != (0, 0)),
    form=st.tuples(st.booleans(), st.booleans()),
    fixed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_agrees_on_random_settings(kernel, levels, bins, side, offset, form, fixed, seed):
    name, width = bins
    binning = Binning(levels, name, width / levels)
    assume(kernel.supports(binning))
    comparison = Comparison(binning, (offset,), *form)
    generator = torch.Generator().manual_seed(seed)
    p, t = torch.rand(2, 2, 2, side, side, generator=generator) * 1.2 - 0.1
    counts = torch.randint(1, 3, (2,), generator=generator).tolist()
    found = run(kernel, p, t, counts, comparison, fixed=fixed)
    assert_agrees(found, specification(p, t, counts, comparison))


def test_two_levels_and_more_pixels_than_a_tile(kernel):
    comparison = Comparison(Binning(2, "linear"), ((0, 2), (-1, 0)))
    p, t = torch.rand(2, 1, 3, 10, 10)
    found = run(kernel, p, t, [3], comparison)
    assert kernel._tile(p) < 300
    assert_agrees(found, specification(p, t, [3], comparison))


def test_range_in_any_units(kernel):
    p, t = torch.rand(2, 2, 1, 4, 4)
    unit = Comparison(Binning(16, "bspline"), ((0, 1),))
    hounsfield = Comparison(Binning(16, "bspline", value_range=(-1000.0, 1000.0)), ((0, 1),))
    a = run(kernel, p, t, [1, 1], unit)
    b = run(kernel, p * 2000 - 1000, t * 2000 - 1000, [1, 1], hounsfield)
    assert torch.allclose(a[0], b[0], rtol=1e-4)
    assert torch.allclose(a[1], b[1] * 2000, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
def test_close_images_are_off_by_rounding_of_the_matrices(kernel, fixed):
    comparison = Comparison(Binning(8, "linear"), ((0, 1),))
    t = torch.rand(2, 1, 8, 8)
    p = t + 1e-4 * torch.randn_like(t)
    found = run(kernel, p, t, [1, 1], comparison, fixed=fixed)
    expected = specification(p, t, [1, 1], comparison)
    matrices = dense_glcm(t, torch.ones(2, 1), comparison).square().mean().double()
    # An error e in each cell changes the root of the distance by e.
    assert ((found[0].double().sqrt() - expected[0].sqrt()) / matrices.sqrt()).abs().max() < 1e-6
    same = run(kernel, t, t, [1, 1], comparison, fixed=True)
    assert not same[0].any()
    assert not same[1].any()


@pytest.mark.parametrize("levels", [8, 40])
def test_fixed_point_does_not_depend_on_the_order(kernel, levels):
    comparison = Comparison(Binning(levels, "linear"), ((0, 1),), scaled=True)
    p, t = torch.rand(2, 3, 2, 4, 4)
    counts = [2, 2, 1]
    one = run(kernel, p, t, counts, comparison, programs=1, fixed=True)
    three = run(kernel, p, t, counts, comparison, programs=3, fixed=True)
    backwards = run(kernel, p.flip(0), t.flip(0), counts[::-1], comparison, fixed=True)
    for a, b, c in zip(one, three, backwards, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c.flip(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("levels", [4, 64])
def test_pixels_without_a_gray_level_stay_within_the_scratch(kernel, levels, value):
    # The interpreter reads and writes memory unchecked: a row of zeros on either side.
    comparison = Comparison(Binning(levels, "sigmoid"), ((0, 1),))
    p, t = torch.rand(2, 2, 1, 4, 4)
    p[0, 0, 1, 2] = t[0, 0, 3, 3] = value
    memory = torch.zeros(4, levels**2)
    distance, gradient = kernel._launch(p, t, torch.tensor([1, 1]), comparison, memory[1:3])
    assert not memory.any()
    assert gradient[0, 0, 1, 2] == 0
    expected = specification(p[1:], t[1:], [1], comparison)
    assert_agrees((distance[1:], gradient[1:]), expected)  # the group beside it is unharmed


def test_empty_input(kernel, monkeypatch):
    pretend_gpu(monkeypatch)
    comparison = Comparison(Binning(8, "linear"), ((0, 1),))
    for shape in ((0, 1, 4, 4), (0, 0, 4, 4)):
        empty = torch.zeros(shape)
        distance, gradient = kernel.fused_distance(
            empty, empty, torch.zeros(0, dtype=torch.int64), comparison
        )
        assert distance.shape == (0,)
        assert gradient.shape == shape


def test_non_contiguous_input(kernel):
    comparison = Comparison(Binning(8, "linear"), ((0, 1),))
    p, t = torch.rand(2, 2, 1, 4, 6).transpose(3, 4)
    views = run(kernel, p, t, [1, 1], comparison)
    copies = run(kernel, p.contiguous(), t.contiguous(), [1, 1], comparison)
    assert torch.equal(views[0], copies[0])
    assert torch.equal(views[1], copies[1])


def pretend_gpu(monkeypatch, processors=2, cache=2**20):
    machine = SimpleNamespace(multi_processor_count=processors, L2_cache_size=cache)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: machine)


@pytest.mark.parametrize("deterministic", [False, True])
def test_sums_in_fixed_point_where_torch_is_deterministic(kernel, monkeypatch, deterministic):
    pretend_gpu(monkeypatch)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    launch, seen = kernel._launch, []

    def spy(*args):
        seen.append(args[-1].dtype)
        return launch(*args)

    monkeypatch.setattr(kernel, "_launch", spy)
    p, t = torch.rand(2, 2, 1, 4, 4)
    comparison = Comparison(Binning(8, "linear"), ((0, 1),))
    found = kernel.fused_distance(p, t, torch.tensor([1, 1]), comparison)
    assert seen == [torch.int64 if deterministic else torch.float32]
    assert_agrees(found, specification(p, t, [1, 1], comparison))


def test_scratches_are_bounded_by_the_cache(kernel, monkeypatch):
    h200 = {"processors": 132, "cache": 50 * 2**20}
    pretend_gpu(monkeypatch, **h200)
    groups = torch.empty(100_000, 1, 16, 16, device="meta")
    for levels in (2, 32, 256, 512):
        size = 4 * levels**2
        programs = kernel._n_programs(groups, size)
        assert programs * size <= 75 * 2**20
        assert programs <= 4 * 132
        if levels <= 256:
            assert programs % 132 == 0  # no multiprocessor has more to do than another
    assert kernel._n_programs(groups[:3], 4) == 3
    assert kernel._n_programs(groups, 2**40) == 1


def test_what_the_kernel_is_not_for(kernel):
    assert kernel.supports(Binning(256, "sigmoid"))
    assert kernel.supports(Binning(256, "gaussian"))
    assert not kernel.supports(Binning(32, "gaussian"))
    comparison = Comparison(Binning(32, "gaussian"), ((0, 1),))
    p, n = torch.rand(1, 1, 4, 4), torch.tensor([1])
    with pytest.raises(ValueError, match="use matmul_distance"):
        kernel.fused_distance(p, p, n, comparison)
    with pytest.raises(ValueError, match=r"float64.*float32"):
        kernel.fused_distance(p.double(), p.double(), n, comparison)


@pytest.mark.parametrize("name", ["sigmoid", "linear", "bspline", "gaussian"])
@pytest.mark.parametrize("levels", [2, 3, 8, 33, 256])
def test_one_mirror_suffices_wherever_the_kernel_is_for(kernel, name, levels):
    for bins in (bins for bins in (0.01, 0.1, 0.3, 1, 2, 5, 20, 100) if bins < levels):
        binning = Binning(levels, name, bins / levels)
        if kernel.supports(binning):
            ends = torch.tensor([0.0, 1e-6, 0.5, 1 - 1e-6, 1.0], dtype=torch.float64)
            weight = binning.taps(ends).weight
            assert torch.allclose(weight.sum(-1), torch.ones_like(ends), atol=1e-12)


def test_the_module_stays_compiled_for_others(kernel):
    from glcm_mae.texture import fused_cuda

    assert fused_cuda is not kernel
    assert isinstance(fused_cuda._distance_kernel, triton.runtime.jit.JITFunction)


# --- the real compiler, for an H200 (sm_90), which needs no GPU

POINTERS = ("prediction", "target", "offsets", "distance", "gradient")
NUMBERS = {"n_groups": "i32", "n_offsets": "i32", "room": "i32", "reach": "fp32", "steep": "fp32"}
NUMBERS |= {"value_unit": "fp32", "slope_unit": "fp32"}
NUMBERS |= {"low": "fp64", "high": "fp64", "per_width": "fp64", "counts": "*i64"}


def compiled(binning, *, scaled=False, fixed=False, **ones):
    from glcm_mae.texture.fused_cuda import _distance_kernel as kernel

    constants = {"HEIGHT": 16, "WIDTH": 16, "TILE": 256, "KERNEL": binning.kernel}
    constants |= {"LEVELS": binning.levels, "N_TAPS": binning.n_taps, "SCALED": scaled}
    constants |= {"FIXED": fixed, "SWEEP": binning.levels <= 90, **ones}
    types = dict.fromkeys(POINTERS, "*fp32") | NUMBERS
    types |= {"scratch": "*i64" if fixed else "*fp32"} | dict.fromkeys(constants, "constexpr")
    places = {name: (i,) for i, name in enumerate(kernel.arg_names)}
    aligned = [name for name in kernel.arg_names if types[name].startswith("*")] + ["room"]
    source = triton.compiler.ASTSource(
        kernel,
        {name: types[name] for name in kernel.arg_names},
        {places[name]: value for name, value in constants.items()},
        {places[name]: [["tt.divisibility", 16]] for name in aligned},
    )
    target = triton.backends.compiler.GPUTarget("cuda", 90, 32)
    options = {"num_warps": 8, "num_stages": 1, "enable_fp_fusion": False}
    return triton.compile(source, target=target, options=options)


def resources(program, folder):
    """Registers, stack and shared memory of a compiled kernel, in bytes but for the first."""
    (folder / "kernel.cubin").write_bytes(program.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    command = [tool, "--dump-resource-usage", folder / "kernel.cubin"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: int(n) for name, n in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", shown)}


@pytest.mark.skipif(sys.platform != "linux", reason="Triton brings NVIDIA's assembler on Linux")
@pytest.mark.parametrize(
    ("binning", "scaled", "fixed", "registers"),
    [
        (Binning(256, "sigmoid"), False, False, 64),
        (Binning(256, "sigmoid"), True, False, 64),
        (Binning(256, "sigmoid"), True, True, 128),
        (Binning(64, "linear"), False, False, 64),
        (Binning(32, "bspline"), True, True, 128),
        (Binning(256, "gaussian", 0.002), False, False, 128),
    ],
)
def test_compiles_for_hopper_without_spilling(
    binning, scaled, fixed, registers, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    program = compiled(binning, scaled=scaled, fixed=fixed)
    used = resources(program, tmp_path)
    assert used["REG"] <= registers
    assert used["STACK"] + used["LOCAL"] <= 16
    ptx = program.asm["ptx"]
    added = {line.split()[1] for line in ptx.splitlines() if re.search(r"\b(red|atom)\.", line)}
    assert added == {"red.global.gpu.relaxed.add." + ("u64" if fixed else "f32")}
    assert re.search(r"ld\.global\.cg", ptx)  # cells are read past L1
    # After scattering, between a pixel's two sums, after gathering, after clearing.
    assert len(re.findall(r"\w+\.barrier ", program.asm["ttir"])) == 4
    assert len(re.findall(r"bar\.sync", ptx)) >= 4
    if binning.kernel != "gaussian":  # whose erf is a chain of fused operations by itself
        assert "fma.rn.f32" not in ptx  # `_clear` meets the entries of `_scatter` bit by bit


def test_compiles_for_one_group_and_one_offset(tmp_path, monkeypatch):
    # Triton makes a constant of every argument that is 1.
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert compiled(Binning(64, "linear"), n_groups=1, n_offsets=1).asm["cubin"]
