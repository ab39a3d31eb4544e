"""What every texture loss does alike, whatever it compares."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from glcm_mae.texture import GLCMLoss, PairKernelLoss, TransportLoss, weights_cpu
from glcm_mae.texture import distance as distance_module
from glcm_mae.texture.binning import NOISE

LOSSES = {
    **{name: partial(GLCMLoss, kernel=name) for name in NOISE},
    "several bandwidths": partial(GLCMLoss, (4, 16)),
    "pair kernel": PairKernelLoss,
    "transport": TransportLoss,
}


@pytest.fixture(params=LOSSES)
def make(request):
    return LOSSES[request.param]


@pytest.fixture(params=["compiled", "tensors"])
def form(request, monkeypatch):
    if request.param == "tensors":
        monkeypatch.setattr(distance_module, "runs_compiled", lambda _: False)


def _gradient(loss, prediction, target, mask=None):
    prediction = prediction.detach().clone().requires_grad_()
    loss(prediction, target, mask).backward()
    return prediction.grad


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_same_numbers_in_float32(make, dtype):
    p, t = torch.rand(2, 2, 1, 16, 16).to(dtype)
    loss = make()
    assert loss(p, t).dtype == torch.float32
    assert torch.equal(loss(p, t), loss(p.float(), t.float()))
    gradient = _gradient(loss, p, t)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, _gradient(loss, p.float(), t.float()).to(dtype))


@pytest.mark.usefixtures("form")
def test_autocast_changes_nothing(make):
    p, t = torch.rand(2, 1, 1, 16, 16)
    loss = make()
    before = loss(p, t), _gradient(loss, p, t)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(p, t), before[0])
        assert torch.equal(_gradient(loss, p, t), before[1])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_not_hidden(make, value):
    p, t = torch.rand(2, 1, 1, 16, 16)
    p[0, 0, 0, 0] = value
    loss = make(patch_size=8)
    mask = torch.tensor([[1, 0, 0, 1]])
    assert loss(p, t, mask).isnan()
    assert loss(t, p, mask).isnan()
    assert loss(p, t, torch.tensor([[0, 1, 0, 1]])).isfinite()  # not a removed patch
    for gradient in (_gradient(loss, p, t, mask), _gradient(loss, t, p, mask)):
        assert gradient[..., :8, :8].isnan().all()  # a loss scaler must see it
        assert gradient[..., 8:, 8:].isfinite().all()
        assert not gradient[..., :8, 8:].any()


@pytest.mark.usefixtures("form")
def test_a_loss_scaler_skips_the_step_of_an_overflow(make):
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    image = torch.rand(1, 1, 16, 16)
    image[..., 0, 0] = float("inf")
    scaler.scale(make()(image * weight, torch.rand(1, 1, 16, 16))).backward()
    scaler.step(optimizer)
    assert weight.item() == 1


@pytest.mark.usefixtures("form")
def test_nothing_removed_and_empty_batch_cost_nothing(make):
    p = torch.rand(2, 1, 16, 16, requires_grad=True)
    value = make()(p, torch.rand(2, 1, 16, 16), torch.zeros(2, 1))
    value.backward()
    assert value.item() == 0
    assert not p.grad.any()
    none = torch.rand(0, 1, 32, 32, requires_grad=True)
    assert make()(none, none.detach()).item() == 0
    by_patch = make(reduction="none")(none, none.detach())
    assert by_patch.shape == (0, 4)
    by_patch.sum().backward()


@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore:no value of the first predictions")  # a black one
def test_constant_patches_have_finite_gradients(make):
    black, gray = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    for pair in ((gray, black), (black, gray), (black, black)):
        assert make()(*pair).isfinite()
        assert _gradient(make(), *pair).isfinite().all()


@pytest.mark.usefixtures("form")
def test_non_contiguous_input(make):
    p, t = torch.rand(2, 2, 1, 48, 32)
    turned = p.transpose(2, 3), t.transpose(2, 3)
    copied = [x.contiguous() for x in turned]
    assert torch.equal(make()(*turned), make()(*copied))
    assert torch.equal(_gradient(make(), *turned), _gradient(make(), *copied))


def test_copies_of_a_loss_are_the_loss(make):
    p, t = torch.rand(2, 1, 1, 16, 16)
    loss = make()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(p, t), loss(p, t))


def test_offsets_may_be_an_array(make):
    p, t = torch.rand(2, 1, 1, 16, 16)
    offsets = [(0, 1), (2, -1)]
    assert torch.equal(make(offsets=np.array(offsets))(p, t), make(offsets=offsets)(p, t))


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ((0, 1), "give a sequence of"),
        ([(0, 0, 1)], r"they must all be \(dy, dx\)"),
        ([(0, 1.5)], r"offset \(0, 1.5\) is not of whole pixels"),
    ],
)
def test_bad_offsets_are_named(make, offsets, words):
    with pytest.raises(ValueError, match=words):
        make(offsets=offsets)


def test_arrays_are_refused_by_name(make):
    x = torch.rand(1, 1, 16, 16)
    with pytest.raises(TypeError, match=r"target is a ndarray: give a torch\.Tensor"):
        make()(x, x.numpy())


def test_the_default_device_changes_nothing(make):
    p, t = torch.rand(2, 1, 1, 16, 16)
    for table in (weights_cpu._table, weights_cpu._pieces, weights_cpu._covering_pieces):
        table.cache_clear()
    with torch.device("meta"):
        found = make()(p, t)
    assert torch.equal(found, make()(p, t))


@pytest.mark.filterwarnings("ignore:.* lie beyond value_range", "ignore:no value of the first")
def test_large_finite_values_are_not_taken_for_infinity(make):
    huge = torch.full((1, 1, 16, 16), 1e38)
    assert make()(huge, huge) < 1e-20


def test_the_wrong_order_is_refused(make):
    image, prediction = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16, requires_grad=True)
    with pytest.raises(ValueError, match=r"the order is \(prediction, target\)"):
        make()(image, prediction)
    with torch.no_grad():
        make()(image, prediction)


def test_no_gradient_flows_to_the_target(make):
    prediction, target = torch.rand(2, 1, 1, 16, 16).requires_grad_().unbind()
    (by_target,) = torch.autograd.grad(make()(prediction, target), target, allow_unused=True)
    assert by_target is None


def test_second_derivatives_raise(make):
    prediction, target = torch.rand(1, 1, 16, 16, requires_grad=True), torch.rand(1, 1, 16, 16)
    (slope,) = torch.autograd.grad(make()(prediction, target), prediction, create_graph=True)
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        slope.square().sum().backward()


def test_transforms_of_functions_are_refused_in_words(make):
    p, t = torch.rand(2, 3, 1, 16, 16)
    for transformed in (
        torch.func.grad(lambda x: make()(x, t)),
        torch.func.vmap(lambda x: make()(x[None], t[:1])),
    ):
        with pytest.raises(RuntimeError, match=r"torch\.func cannot see into the texture losses"):
            transformed(p)


def test_weights_of_none_and_numbers_of_numpy_are_taken(make):
    p, t = torch.rand(2, 1, 1, 16, 16)
    found = make(weights=None, pool=np.int64(2), patch_size=np.int64(8))(p, t)
    assert torch.equal(found, make(pool=2, patch_size=8)(p, t))


def test_settings_are_printed(make):
    printed = repr(make(pool="image", reduction="sum", channels="first", patch_size=8))
    assert "pool='image', channels='first', patch_size=8, reduction='sum'" in printed


@pytest.mark.parametrize("entry", [0.5, -1.0, torch.nan])
def test_a_mask_is_of_zeros_and_ones(make, entry):
    images, mask = torch.rand(1, 1, 32, 32), torch.ones(1, 4)
    mask[0, 2] = entry
    with pytest.raises(ValueError, match="mask holds more than 0"):
        make()(images, images, mask)


def test_a_mask_of_pixels_is_told_what_a_mask_is(make):
    images = torch.rand(1, 1, 32, 32)
    with pytest.raises(ValueError, match=r"must be \(1, 4\), .* each patch of 16 pixels squared"):
        make()(images, images, torch.ones(1, 1, 32, 32))
    with pytest.raises(ValueError, match=r"mask.flatten\(1\) is that; of pixels, patches_within"):
        make()(images, images, torch.ones(1, 2, 2))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 30, 32), "pad them and leave the patches with padding out by the mask"),
        ((1, 64, 64, 3), r"if their channels stand last, bring them forward by .movedim\(-1, 1\)"),
    ],
)
def test_images_that_are_no_whole_patches_are_refused_with_a_remedy(make, shape, words):
    with pytest.raises(ValueError, match=words):
        make()(torch.rand(shape), torch.rand(shape))


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (lambda images: 255 * images, r"beyond value_range \(0.0, 1.0\)"),
        (lambda images: 255 * images * torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), "beyond value"),
        (lambda images: 1.3 * images - 0.2, r"2\d% of the first targets' values lie beyond"),
        (lambda images: images / 255, r"values differ by 0\.00\d+ at most, of a value_range"),
    ],
    ids=["bytes", "one black image", "somewhat wider", "a shorter scale"],
)
def test_another_scale_is_told_once_of_losses_that_have_one(make, scale, words):
    loss, images = make(), scale(torch.rand(2, 1, 16, 16))
    if loss.value_range is not None:
        with pytest.warns(UserWarning, match=words) as told:
            loss(images, images)
        assert [each.filename for each in told] == [__file__]
    loss(images, images)  # where a warning would be an error


def test_predictions_without_a_gradient_are_told_once(make):
    loss, target = make(), torch.rand(2, 1, 16, 16)
    stuck = torch.full_like(target, -0.6, requires_grad=True)
    if loss.value_range is not None:
        with pytest.warns(UserWarning, match="no value of the first predictions lies within"):
            loss(stuck, target).backward()
        assert not stuck.grad.any()
    loss(stuck, target)
    make()(stuck.detach(), target)  # as in validation, where none is needed


def test_settings_do_not_change_in_part(make):
    loss, target = make(), torch.rand(1, 1, 16, 16)
    before = loss(1 - target, target)
    for name in ("patch_size", "pool", "offsets", "weights", "reduction", "channels"):
        with pytest.raises(AttributeError, match=f"{name} is part of how {type(loss).__name__}"):
            setattr(loss, name, getattr(loss, name))
    of_range = ("bandwidth", "value_range") if loss.value_range is not None else ()
    for name in of_range:
        with pytest.raises(AttributeError, match=r"new one \(a bandwidth changes by anneal\)"):
            setattr(loss, name, 0.5)
    loss.note = "mine"
    loss.note = "mine, too"
    assert torch.equal(loss.eval()(1 - target, target), before)
    assert torch.equal(copy.deepcopy(loss)(1 - target, target), before)
