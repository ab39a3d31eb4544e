"""The targets of texture prediction against loops over patches and the exact features."""

import inspect
import math
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from glcm_mae.models import TextureHead
from glcm_mae.models.descriptors import OF_PIXELS, haralick
from glcm_mae.settings import TargetSettings
from glcm_mae.texture import FEATURE_NAMES, Binning, image_features, quantize, soft_glcm

PATCH, GRID, SIZE, WIDTH, CHANNELS = 8, (3, 4), (24, 32), 16, 2
OFFSETS = ((0, 1), (1, 0))
SCOPES = ("patch", 3, "image")
DESCRIPTORS = ("glcm", "haralick", "both", "histogram", "hog", "deviation")
EVERY_FORM = list(product(SCOPES, DESCRIPTORS))

# Haralick's order by IBSI's names, each with what brings it to one scale at L levels.
BY_HAND = {
    "angular_second_moment": lambda x, L: math.sqrt(x),
    "contrast": lambda x, L: math.sqrt(x) / (L - 1),
    "correlation": lambda x, L: x,
    "joint_variance": lambda x, L: math.sqrt(x) / ((L - 1) / 2),
    "inverse_difference_moment": lambda x, L: x,
    "sum_average": lambda x, L: x / (2 * L),
    "sum_variance": lambda x, L: math.sqrt(x) / (L - 1),
    "sum_entropy": lambda x, L: x / math.log2(2 * L - 1),
    "joint_entropy": lambda x, L: x / math.log2(L * L),
    "difference_variance": lambda x, L: math.sqrt(x) / ((L - 1) / 2),
    "difference_entropy": lambda x, L: x / math.log2(L),
    "information_correlation_1": lambda x, L: x,
    "information_correlation_2": lambda x, L: x,
}


def texture_head(**changes):
    settings = {"width": WIDTH, "binning": Binning(4), "offsets": OFFSETS}
    settings |= {"in_chans": CHANNELS, "patch_size": PATCH, "grid": GRID}
    settings |= {"scope": "patch", "relative": False}
    return TextureHead(**(settings | changes))


def test_by_default_it_asks_what_the_settings_ask():
    given = inspect.signature(TextureHead).parameters
    for name in ("scope", "descriptor", "relative", "whitened", "kept"):
        assert given[name].default == getattr(TargetSettings(), name)


def images(n=2):
    return torch.rand(n, CHANNELS, *SIZE)


def mask(n=2):
    removed = (torch.rand(n, 12) < 0.6).float()
    removed[:, 0], removed[:, 1] = 1, 0
    return removed


def patch_at(x, n):
    row, column = divmod(n, GRID[1])
    return x[..., PATCH * row : PATCH * (row + 1), PATCH * column : PATCH * (column + 1)]


def block(n, side):
    """The patches of a block around one, as far as the image reaches."""
    row, column = divmod(n, GRID[1])
    far = side // 2
    return [
        r * GRID[1] + c
        for r in range(row - far, row + far + 1)
        for c in range(column - far, column + far + 1)
        if 0 <= r < GRID[0] and 0 <= c < GRID[1]
    ]


@pytest.mark.parametrize("scope", ["patch", 1, 3, "image"])
def test_the_target_is_the_root_of_the_mean_glcm_over_the_scope_of_each_removed_patch(scope):
    head, x, removed = texture_head(scope=scope), images(), mask().bool()
    described = iter(head.describe(x, removed))
    for i in range(2):
        for n in removed[i].nonzero().flatten().tolist():
            around = range(12) if scope == "image" else block(n, 1 if scope == "patch" else scope)
            matrices = torch.stack(
                [soft_glcm(patch_at(x[i], m), Binning(4), OFFSETS) for m in around]
            )  # (patches, C, O, L, L)
            torch.testing.assert_close(next(described), matrices.mean(dim=0).sqrt().flatten())
    assert next(described, None) is None


def test_the_scope_image_asks_the_same_of_every_patch_and_another_thing_of_another_image():
    first, second = (
        texture_head(scope="image").describe(images(), torch.ones(2, 12).bool()).split(12)
    )
    assert torch.equal(first, first[:1].expand_as(first))
    assert torch.equal(second, second[:1].expand_as(second))
    assert (first[0] - second[0]).abs().max() > 1e-3


def test_a_neighbourhood_of_all_patches_is_the_image():
    x, every = torch.rand(2, CHANNELS, 2 * PATCH, 2 * PATCH), torch.ones(2, 4).bool()
    found, expected = (
        texture_head(grid=(2, 2), scope=scope).describe(x, every) for scope in (3, "image")
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("scope", "descriptor"), EVERY_FORM)
def test_an_image_is_described_as_it_is_alone(scope, descriptor):
    head, x, removed = texture_head(scope=scope, descriptor=descriptor), images(3), mask(3).bool()
    alone = [head.describe(x[i : i + 1], removed[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(head.describe(x, removed), torch.cat(alone))


def test_a_wider_scope_scatters_less():
    x, every = torch.rand(20, CHANNELS, *SIZE), torch.ones(20, 12).bool()
    variance = {}
    for scope in SCOPES:
        described = texture_head(scope=scope).describe(x, every).square()  # the mean GLCMs
        variance[scope] = (
            described.unflatten(0, (20, 12))[:, 5].var(dim=0).mean()
        )  # not at the edge
    assert variance["patch"] / variance[3] == pytest.approx(9, rel=0.35)
    assert variance["patch"] / variance["image"] == pytest.approx(12, rel=0.35)


@pytest.mark.parametrize("levels", [2, 8])
def test_haralick_of_hard_bins_is_what_the_exact_features_say(levels):
    x = images() * 0.6 + torch.linspace(0, 0.4, SIZE[1])
    gray = quantize(x, levels=levels, value_range=(0.0, 1.0))
    centres = (gray + 0.5) / levels  # there a narrow kernel has one bin
    head = texture_head(binning=Binning(levels, "linear"), descriptor="haralick")
    removed = mask().bool()
    described = iter(head.describe(centres, removed).unflatten(1, (CHANNELS, len(OFFSETS), -1)))
    for i in range(2):
        for n in removed[i].nonzero().flatten().tolist():
            patch = patch_at(gray[i], n)
            exact = image_features(patch, levels, OFFSETS, aggregation="separate")  # (C, O, 25)
            expected = [
                [
                    [
                        of(f[FEATURE_NAMES.index(name)].item(), levels)
                        for name, of in BY_HAND.items()
                    ]
                    for f in channel
                ]
                for channel in exact
            ]
            torch.testing.assert_close(
                next(described), torch.tensor(expected), atol=1e-5, rtol=1e-5
            )


def test_haralick_is_that_of_the_mean_glcm_over_the_scope():
    x, removed = images(), mask().bool()
    wide = {d: texture_head(scope=3, descriptor=d).describe(x, removed) for d in DESCRIPTORS}
    matrices = wide["glcm"].square().unflatten(1, (CHANNELS, len(OFFSETS), 4, 4))
    torch.testing.assert_close(
        wide["haralick"], haralick(matrices).flatten(1), atol=1e-4, rtol=1e-4
    )
    assert torch.equal(wide["both"], torch.cat((wide["glcm"], wide["haralick"]), dim=1))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("descriptor", OF_PIXELS)
def test_what_needs_no_glcm_is_averaged_over_the_scope_first(scope, descriptor):
    head, x, removed = texture_head(scope=scope, descriptor=descriptor), images(), mask().bool()
    averaged, finished = OF_PIXELS[descriptor]
    each = averaged(x, PATCH)  # (B, N, ...)
    described = iter(head.describe(x, removed))
    for i in range(2):
        for n in removed[i].nonzero().flatten().tolist():
            around = range(12) if scope == "image" else block(n, 1 if scope == "patch" else scope)
            mean = each[i, list(around)].mean(dim=0, keepdim=True)
            torch.testing.assert_close(next(described), finished(mean)[0])
    assert next(described, None) is None


@given(st.integers(2, 9), st.floats(0.1, 8), st.integers(0, 2**20))
def test_haralick_stays_on_its_scale(levels, sharpness, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(levels, levels, generator=generator) ** sharpness
    values = haralick(matrix)
    assert values.abs().max() <= 1 + 1e-6
    assert torch.equal(values, haralick(matrix.mT))


def test_the_scales_are_reached():
    reached = torch.zeros(len(BY_HAND))
    ends = torch.zeros(4, 4)
    ends[0, 0] = ends[3, 3] = 1  # half of the pairs black, half white
    across = torch.zeros(4, 4)
    across[0, 3] = 1  # every pair from black to white
    edge = torch.zeros(4, 4)
    edge[0, 0] = edge[0, 3] = 1  # half of the pairs an edge
    white = torch.zeros(4, 4)
    white[3, 3] = 1
    for matrix in (ends, across, edge, white, torch.ones(4, 4)):
        reached = torch.maximum(reached, haralick(matrix).abs())
    names = [name for name, most in zip(BY_HAND, reached, strict=True) if most > 1 - 1e-6]
    # Entropies of sums and gaps are full only where no GLCM of that size can bring them.
    assert set(BY_HAND) - set(names) <= {
        "sum_entropy",
        "difference_entropy",
        "information_correlation_2",
    }
    assert reached[-1] > 0.8


@pytest.mark.parametrize(("scope", "descriptor"), EVERY_FORM)
def test_targets_are_standardised_on_the_sample(scope, descriptor):
    head, x = texture_head(scope=scope, descriptor=descriptor), images(50)
    x = x * torch.rand(50, CHANNELS, 1, 1)  # of many contrasts
    head.fit(x)
    every = torch.ones(50, 12).bool()
    target = torch.cat(head.targets(x, every), dim=1)
    torch.testing.assert_close(target.mean(dim=0), torch.zeros(target.shape[1]), atol=1e-3, rtol=0)
    for part, spread in zip(
        head.describe(x, every).std(dim=0).split(head.entries),
        target.std(dim=0).split(head.entries),
        strict=True,
    ):
        common = part > 0.101 * part.max()
        assert common.float().mean() > 0.7  # noise has no correlation to speak of
        torch.testing.assert_close(
            spread[common], torch.ones_like(spread[common]), atol=1e-2, rtol=0
        )
        assert spread.max() < 1.01


@pytest.mark.parametrize("scope", SCOPES)
def test_relative_gray_values_are_those_about_each_patchs_mean(scope):
    x, removed = 0.3 + 0.4 * images(), mask().bool()
    centred = x.clone()
    for n in range(12):
        patch_at(centred, n).sub_(patch_at(x, n).mean(dim=(2, 3), keepdim=True) - 0.5)
    torch.testing.assert_close(
        texture_head(scope=scope, relative=True).describe(x, removed),
        texture_head(scope=scope).describe(centred, removed),
    )


@given(st.floats(-0.3, 0.3), st.integers(0, 2**20))
def test_relative_gray_values_do_not_change_with_brightness(shift, seed):
    generator = torch.Generator().manual_seed(seed)
    x = 0.4 + 0.2 * torch.rand(1, CHANNELS, *SIZE, generator=generator)
    every = torch.ones(1, 12).bool()
    for binning in (Binning(4), Binning(4, value_range=(-1.0, 2.0))):
        head = texture_head(relative=True, binning=binning)
        torch.testing.assert_close(
            head.describe(x + shift, every), head.describe(x, every), atol=1e-4, rtol=0
        )


# Of noise, what needs no GLCM has no direction that is small.
@pytest.mark.parametrize("descriptor", [d for d in DESCRIPTORS if d not in OF_PIXELS])
def test_of_whitened_targets_each_direction_counts_alike(descriptor):
    head, x = texture_head(descriptor=descriptor, whitened=True), images(100)
    x = x * torch.rand(100, CHANNELS, 1, 1) + 0.2 * torch.rand(100, CHANNELS, 1, 1)
    plain = texture_head(descriptor=descriptor)
    every = torch.ones(100, 12).bool()
    for each in (head, plain):
        each.fit(x)
    pairs = zip(head.targets(x, every), plain.targets(x, every), strict=True)
    for target, entries in pairs:
        assert target.square().mean() == pytest.approx(1, rel=1e-3)
        covariance = target.T @ target / len(target)
        variances = torch.linalg.eigvalsh(entries.T @ entries / len(entries))
        kept = variances > 1.01e-3 * variances[-1]  # what lies below is noise and stays small
        assert 3 < kept.sum() < len(kept)
        assert (variances[-1] / variances[kept].min()) > 20
        torch.testing.assert_close(
            covariance[kept][:, kept],
            covariance[-1, -1] * torch.eye(int(kept.sum())),
            atol=1e-2,
            rtol=1e-2,
        )
        assert (covariance.diagonal()[~kept] < 1.02 * covariance[-1, -1]).all()


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_an_entry_that_hardly_ever_changes_gets_no_target_of_hundreds(descriptor):
    head = texture_head(binning=Binning(8, "linear"), descriptor=descriptor)
    x = torch.full((40, CHANNELS, *SIZE), 0.45)
    x[0, 0, 0, 0] = 1.0  # in one patch of 480
    head.fit(x)
    every = torch.ones(40, 12).bool()
    described = head.describe(x, every)
    for part, spread in zip(
        head.deviation.split(head.entries),
        described.std(dim=0, correction=0).split(head.entries),
        strict=True,
    ):
        assert (spread < 0.1 * spread.max()).any()
        assert part.min() >= 0.1 * spread.max()
        assert part.min() > 0
    # As many deviations as a single one of 480 values can be away.
    assert ((described - head.mean) / head.deviation).abs().max() < 480**0.5


@pytest.mark.filterwarnings("ignore:the texture of all patches")
@pytest.mark.parametrize("gray", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kernel", ["gaussian", "linear", "bspline", "sigmoid"])
@pytest.mark.parametrize(("scope", "descriptor"), EVERY_FORM)
@pytest.mark.parametrize("whitened", [False, True])
def test_constant_images_give_finite_targets(scope, descriptor, kernel, gray, whitened):
    head = texture_head(
        scope=scope, descriptor=descriptor, binning=Binning(4, kernel), whitened=whitened
    )
    x = torch.full((2, CHANNELS, *SIZE), gray)
    head.fit(x)
    assert (head.deviation > 0).all()
    assert head.describe(x, torch.ones(2, 12).bool()).isfinite().all()
    assert head.loss(torch.randn(2, 12, WIDTH), x, mask()).isfinite()
    assert head.describe(images(), torch.ones(2, 12).bool()).isfinite().all()


@pytest.mark.parametrize(("scope", "descriptor"), EVERY_FORM)
def test_a_head_learns_what_fixed_tokens_stand_for(scope, descriptor):
    head, x, removed = texture_head(scope=scope, descriptor=descriptor), images(2), mask()
    head.fit(x)
    tokens = torch.randn(2, 12, 64)[..., :WIDTH]
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-2)
    losses = []
    for _ in range(150):
        loss = head.loss(tokens, x, removed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


def test_of_both_each_descriptor_counts_half():
    heads = {d: texture_head(descriptor=d) for d in DESCRIPTORS}
    x, tokens, removed = images(), torch.randn(2, 12, WIDTH), mask()
    for head in heads.values():
        head.fit(x)
    with torch.no_grad():
        for name in ("weight", "bias"):
            parts = [getattr(heads[d].linear, name) for d in ("glcm", "haralick")]
            getattr(heads["both"].linear, name).copy_(torch.cat(parts))
    losses = {d: head.loss(tokens, x, removed).item() for d, head in heads.items()}
    assert losses["both"] == pytest.approx((losses["glcm"] + losses["haralick"]) / 2, rel=1e-5)
    assert losses["glcm"] != pytest.approx(losses["haralick"], rel=1e-2)


@pytest.mark.parametrize(("scope", "descriptor"), EVERY_FORM)
def test_nothing_removed_costs_nothing(scope, descriptor):
    head, tokens = texture_head(scope=scope, descriptor=descriptor), torch.randn(2, 12, WIDTH)
    head.fit(images())
    loss = head.loss(tokens.requires_grad_(), images(), torch.zeros(2, 12))
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("scope", SCOPES)
def test_kept_patches_are_asked_for_only_if_said(scope):
    x, tokens, removed = images(), torch.randn(2, 12, WIDTH), mask()
    torch.manual_seed(0)
    head = texture_head(scope=scope)
    torch.manual_seed(0)
    with_kept = texture_head(scope=scope, kept=True)
    for each in (head, with_kept):
        each.fit(x)
    expected = head.loss(tokens, x, torch.ones_like(removed))
    assert torch.equal(with_kept.loss(tokens, x, removed), expected)
    assert head.loss(tokens, x, removed) != expected


@pytest.mark.filterwarnings("ignore:the texture of all patches")
def test_a_head_fitted_on_a_single_patch_is_finite():
    head = texture_head(grid=(1, 1), whitened=True)
    x = torch.rand(2, CHANNELS, PATCH, PATCH)
    head.fit(x[:1])
    assert head.deviation.isfinite().all()
    assert (head.deviation > 0).all()
    assert head.targets(x, torch.ones(2, 1).bool())[0].isfinite().all()


def test_the_default_has_the_weights_that_it_always_had():
    """Initial weights of a seed, and the checkpoint's entries, are those of the plain head."""
    torch.manual_seed(3)
    head = texture_head()
    torch.manual_seed(3)
    plain = nn.Linear(WIDTH, CHANNELS * 2 * 4 * 4)
    assert set(head.state_dict()) == {"mean", "deviation", "linear.weight", "linear.bias"}
    assert torch.equal(head.linear.weight, plain.weight)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scope": 2}, "scope is 2: choose patch, image, or an odd number of patches."),
        ({"scope": 0}, "scope is 0: choose patch, image, or an odd"),
        ({"scope": -3}, "scope is -3: choose patch, image, or an odd"),
        ({"scope": "neighbourhood"}, "scope is 'neighbourhood': choose patch, image"),
        ({"scope": 9}, "scope is 9, but the image has 3 x 4 patches: choose image."),
        (
            {"descriptor": "lbp"},
            "descriptor is 'lbp': choose one of glcm, haralick, both, histogram",
        ),
        ({"descriptor": "hog", "patch_size": 9}, "patch_size is 9: for hog choose an even one."),
        ({"offsets": ((0, 8),)}, "offset .0, 8. leaves no pixel pair"),
        ({"patch_size": 8.0}, r"patch_size is 8\.0: give a whole number, 1 or more\."),
        ({"in_chans": 0}, "in_chans is 0: give a whole number, 1 or more"),
        ({"width": "16"}, "width is '16': give a whole number, 1 or more"),
        ({"grid": 4}, r"grid is 4: give \(rows, columns\) of patches, two whole numbers"),
        ({"grid": (12,)}, r"grid is \(12,\): give \(rows, columns\)"),
        ({"grid": (3, 4.0)}, r"grid is \(3, 4\.0\): give \(rows, columns\)"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        texture_head(**changes)


def test_what_is_no_binning_is_refused():
    with pytest.raises(TypeError, match=r"binning is 8: give a Binning, such as Binning\(levels=8"):
        texture_head(binning=8)


def test_numbers_of_other_libraries_and_lists_are_understood():
    head = texture_head(patch_size=np.int64(PATCH), grid=list(GRID), offsets=[[0, 1], [1, 0]])
    assert (head.patch_size, head.grid, head.offsets) == (PATCH, GRID, OFFSETS)


def test_a_loss_before_the_fit_is_refused():
    head, x, tokens, removed = texture_head(), images(), torch.randn(2, 12, WIDTH), mask()
    with pytest.raises(RuntimeError, match=r"call head\.fit\(training_images\) before"):
        head.loss(tokens, x, removed)
    head.fit(x)
    loaded = texture_head()
    loaded.load_state_dict(head.state_dict())
    assert torch.equal(loaded.loss(tokens, x, removed), head.loss(tokens, x, removed))


@pytest.mark.parametrize(
    ("sample", "error", "complaint"),
    [
        (
            (255 * images()).to(torch.uint8),
            ValueError,
            r"images are torch\.uint8: bring them to floating point in \[0, 1\]",
        ),
        (
            images().masked_fill(images() < 0.01, math.nan),
            ValueError,
            "images hold NaN or infinity",
        ),
        (images()[:0], ValueError, r"images are \(0, 2, 24, 32\): give one or more"),
        (
            images()[..., :8],
            ValueError,
            "images are of 24x8 pixels, but the head is for 24x32, 3x4 patches",
        ),
        (images()[0], ValueError, r"images are \(2, 24, 32\): give \(B, 2, 24, 32\)"),
        (images()[:, :1], ValueError, r"images are \(2, 1, 24, 32\): give \(B, 2, 24, 32\)"),
        (images().numpy(), TypeError, r"images is a ndarray: give a torch\.Tensor"),
        (images().tolist(), TypeError, r"images is a list: give a torch\.Tensor"),
        ([[images(), torch.zeros(2)]], TypeError, "images is a list"),  # batch and labels
        (None, TypeError, "images is a NoneType"),
        ([], ValueError, "images hold no batch: give one or more images"),
    ],
)
def test_a_sample_of_other_images_is_refused(sample, error, complaint):
    with pytest.raises(error, match=complaint):
        texture_head().fit(sample)


@pytest.mark.parametrize("whitened", [False, True])
def test_batches_are_fitted_to_as_if_they_were_one(whitened):
    x = images(7)
    whole, parts = (texture_head(scope=3, descriptor="both", whitened=whitened) for _ in range(2))
    whole.fit(x)
    parts.fit(batch for batch in x.split([3, 3, 1]))
    for name, buffer in whole.named_buffers():
        assert torch.equal(parts.get_buffer(name), buffer), name


@pytest.mark.parametrize("relative", [True, False])
def test_a_sample_of_another_scale_is_told_of(relative):
    with pytest.warns(UserWarning, match=r"lie beyond \(0, 1\)") as told:
        texture_head(relative=relative).fit(255 * images())
    assert [each.filename for each in told] == [__file__]
    head = texture_head(relative=True, binning=Binning(4, value_range=(-0.5, 0.5)))
    with warnings.catch_warnings(action="error"):
        head.fit(images() + 5)  # about its mean each patch lies inside
        texture_head(descriptor="hog").fit(255 * images())


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("call", [TextureHead.__call__, TextureHead.loss])
def test_a_first_batch_of_another_scale_is_told_of_once(relative, call):
    head, x, tokens, removed = (
        texture_head(relative=relative),
        images(),
        torch.randn(2, 12, 16),
        mask(),
    )
    head.fit(x)
    with pytest.warns(UserWarning, match=r"lie beyond \(0, 1\)") as told:
        call(head, tokens, 255 * x, removed)
    assert [each.filename for each in told] == [__file__]
    with warnings.catch_warnings(action="error"):
        call(head, tokens, 255 * x, removed)


def test_a_scale_that_the_fit_told_of_is_not_told_of_again():
    head, x = texture_head(), 255 * images()
    with pytest.warns(UserWarning, match="lie beyond"):
        head.fit(x)
    with warnings.catch_warnings(action="error"):
        head.loss(torch.randn(2, 12, WIDTH), x, mask())


def test_an_image_far_out_among_others_is_not_told_of():
    head, x = texture_head(), images()
    head.fit(x)
    with warnings.catch_warnings(action="error"):
        head.loss(torch.randn(2, 12, WIDTH), x + 5 * (x > 0.7), mask())


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_blank_images_are_told_of_and_blow_no_target_up(descriptor, whitened, relative):
    head = texture_head(descriptor=descriptor, whitened=whitened, relative=relative)
    noise = 0 if descriptor == "hog" else 1e-6  # which asks nothing of how strong an edge is
    with pytest.warns(UserWarning, match="texture of all patches of these images is the") as told:
        head.fit(0.37 + noise * images())
    assert [each.filename for each in told] == [__file__]
    assert head.deviation.unique().tolist() == [pytest.approx(0.005)]
    assert head.loss(torch.randn(2, 12, WIDTH), images(), mask()) < 1e4


@pytest.mark.parametrize("kernel", ["gaussian", "bspline", "sigmoid"])
@pytest.mark.parametrize("levels", [4, 9])
def test_the_rounding_of_blank_images_of_many_grays_is_no_deviation(levels, kernel):
    head = texture_head(binning=Binning(levels, kernel), relative=True)
    with pytest.warns(UserWarning, match="texture of all patches"):
        head.fit(torch.rand(20, CHANNELS, 1, 1).expand(20, CHANNELS, *SIZE))


def test_of_a_single_image_its_texture_is_no_sample():
    head = texture_head(scope="image", whitened=True)
    with pytest.warns(UserWarning, match="texture of all patches"):
        head.fit(images(1))
    assert head.loss(torch.randn(2, 12, WIDTH), images(), mask()) < 1e3


@pytest.mark.parametrize("form", ["float", "bool", "int", "rows"])
def test_a_feature_map_and_a_mask_of_rows_are_taken_row_by_row(form):
    head, x, tokens, removed = texture_head(scope=3), images(), torch.randn(2, 12, WIDTH), mask()
    head.fit(x)
    expected = head.loss(tokens, x, removed)
    features = tokens.mT.unflatten(2, GRID)
    given = {
        "float": removed,
        "bool": removed.bool(),
        "int": removed.long(),
        "rows": removed.unflatten(1, GRID),
    }[form]
    assert torch.equal(head.loss(features, x, given), expected)
    assert torch.equal(head(tokens, x, given), expected)
    assert torch.equal(head.describe(x, given), head.describe(x, removed.bool()))


def test_the_gradient_reaches_a_feature_map():
    head, x, removed = texture_head(), images(), mask()
    head.fit(x)
    network = nn.Conv2d(CHANNELS, WIDTH, PATCH, PATCH)
    features = network(x)
    features.retain_grad()
    head(features, x, removed).backward()
    asked = features.grad.abs().sum(dim=1).flatten(1) > 0
    assert torch.equal(asked, removed.bool())
    assert network.weight.grad.abs().max() > 0


WRONG_IMAGES = [
    (images()[:, :1], ValueError, r"images are \(2, 1, 24, 32\): give \(B, 2, 24, 32\), as in_ch"),
    (images()[0], ValueError, r"images are \(2, 24, 32\): give \(B, 2, 24, 32\)"),
    (
        torch.rand(2, CHANNELS, 16, 48),  # as many patches
        ValueError,
        r"are of 16x48 pixels, but the head is for 24x32, 3x4 patches \(rows x columns\) of 8",
    ),
    (images().mT, ValueError, "are of 32x24 pixels, but the head is for 24x32"),
    (
        (255 * images()).byte(),
        ValueError,
        r"torch\.uint8: bring them to floating point in \[0, 1\]",
    ),
    (images().numpy(), TypeError, r"images is a ndarray: give a torch\.Tensor"),
    (images().tolist(), TypeError, r"images is a list: give a torch\.Tensor"),
]


@pytest.mark.parametrize(("x", "error", "complaint"), WRONG_IMAGES)
def test_images_that_the_head_is_not_for_are_refused(x, error, complaint):
    head = texture_head()
    head.fit(images())
    with pytest.raises(error, match=complaint):
        head.loss(torch.randn(2, 12, WIDTH), x, mask())
    with pytest.raises(error, match=complaint):
        head.describe(x, mask())


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        (
            torch.randn(2, 12, 64),
            r"features are \(2, 12, 64\): give tokens \(2, 12, 16\) or a featu",
        ),
        (torch.randn(2, 11, WIDTH), r"are \(2, 11, 16\): give tokens \(2, 12, 16\).+width say\.$"),
        (
            torch.randn(2, 13, WIDTH),
            r"than patches is the class token: features\[:, 1:\] leaves it out\.$",
        ),
        (torch.randn(3, 12, WIDTH), r"are \(3, 12, 16\): give tokens \(2, 12, 16\)"),
        (torch.randn(12, WIDTH), r"are \(12, 16\): give tokens \(2, 12, 16\)"),
        (torch.randn(()), r"are \(\): give tokens \(2, 12, 16\)"),
        (torch.randn(2, WIDTH, 4, 3), r"or a feature map \(2, 16, 3, 4\), as the images"),
        (torch.randn(2, *GRID, WIDTH), r"are \(2, 3, 4, 16\): give"),
        (torch.randn(3, WIDTH, *GRID), r"are \(3, 16, 3, 4\): give"),
    ],
)
def test_features_of_another_shape_are_refused(features, complaint):
    head = texture_head()
    head.fit(images())
    with pytest.raises(ValueError, match=complaint):
        head.loss(features, images(), mask())


def test_features_of_any_number_of_images_are_predicted_of_but_of_no_other_shape():
    head = texture_head()
    head.fit(images())
    assert len(head.predict(torch.randn(5, 12, WIDTH))) == 5
    with pytest.raises(
        ValueError, match=r"give tokens \(B, 12, 16\) or a feature map \(B, 16, 3, 4"
    ):
        head.predict(torch.randn(2, WIDTH, 4, 3))
    with pytest.raises(TypeError, match=r"features is a ndarray: give a torch\.Tensor"):
        head.predict(np.zeros((2, 12, WIDTH)))


@pytest.mark.parametrize(
    ("removed", "error", "complaint"),
    [
        (mask() * 0.5, ValueError, r"mask holds more than 0 \(kept\) and 1 \(removed\): mask > 0"),
        (mask() * 255, ValueError, "mask holds more than 0"),
        (mask() * math.nan, ValueError, "mask holds more than 0"),
        (mask()[:1], ValueError, r"mask is \(1, 12\): it must be \(2, 12\) or \(2, 3, 4\), with 1"),
        (mask()[:, 1:], ValueError, r"mask is \(2, 11\): it must be"),
        (mask().view(2, 4, 3), ValueError, r"mask is \(2, 4, 3\): it must be"),
        (
            torch.ones(2, *SIZE),
            ValueError,
            r"F\.max_pool2d\(mask\.float\(\), 8\)\.flatten\(1\) makes",
        ),
        (torch.ones(2, 1, *SIZE), ValueError, r"max_pool2d"),
        (mask().numpy(), TypeError, r"mask is a ndarray: give a torch\.Tensor"),
        (None, TypeError, r"mask is None: give 1 where a patch was removed, or torch\.ones"),
    ],
)
def test_what_is_no_mask_of_patches_is_refused(removed, error, complaint):
    head = texture_head()
    head.fit(images())
    with pytest.raises(error, match=complaint):
        head.loss(torch.randn(2, 12, WIDTH), images(), removed)


@pytest.mark.parametrize("axes", [(), (1,)])
def test_a_mask_of_pixels_becomes_one_of_patches_as_the_error_says(axes):
    removed = mask()
    pixels = removed.unflatten(1, GRID).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    for axis in axes:
        pixels = pixels.unsqueeze(axis)
    assert torch.equal(F.max_pool2d(pixels.bool().float(), PATCH).flatten(1), removed)


@pytest.mark.parametrize("descriptor", ["glcm", "both"])
@pytest.mark.parametrize("whitened", [False, True])
def test_a_prediction_that_is_right_is_the_glcm(descriptor, whitened):
    head, x = texture_head(scope=3, descriptor=descriptor, whitened=whitened), images(40)
    head.fit(x)
    asked = torch.zeros(40, 12)
    asked[3, 5] = 1
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.cat(head.targets(x, asked), dim=1)[0])
    patches = torch.stack([patch_at(x[3], m) for m in block(5, 3)])
    expected = soft_glcm(patches, Binning(4), OFFSETS).mean(dim=0)  # (C, O, L, L)
    predicted = head.predict(torch.randn(2, WIDTH, *GRID))
    assert predicted.shape == (2, 12, CHANNELS, 2, 4, 4)
    torch.testing.assert_close(predicted, expected.expand_as(predicted), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_predictions_are_never_negative(dtype):
    head = texture_head(whitened=True)
    head.fit(images())
    predicted = head.to(dtype).predict(100 * torch.randn(2, 12, WIDTH, dtype=dtype))
    assert predicted.dtype == torch.float32
    assert predicted.min() >= 0


@pytest.mark.parametrize("descriptor", ["haralick", "histogram", "hog", "deviation"])
def test_of_what_holds_no_glcm_none_is_predicted(descriptor):
    head = texture_head(descriptor=descriptor)
    head.fit(images())
    with pytest.raises(ValueError, match=f"the descriptor {descriptor}, which holds no GLCM"):
        head.predict(torch.randn(2, 12, WIDTH))


def test_a_prediction_before_the_fit_is_refused():
    with pytest.raises(RuntimeError, match=r"call head\.fit\(training_images\) before"):
        texture_head().predict(torch.randn(2, 12, WIDTH))


def test_distributed_training_calls_the_head(tmp_path):
    head, x, tokens, removed = texture_head(), images(), torch.randn(2, 12, WIDTH), mask()
    head.fit(x)
    expected = head.loss(tokens, x, removed)
    distributed.init_process_group("gloo", f"file://{tmp_path / 'met'}", rank=0, world_size=1)
    try:
        loss = DistributedDataParallel(head)(tokens, x, removed)
        loss.backward()
    finally:
        distributed.destroy_process_group()
    assert torch.equal(loss, expected)
    assert head.linear.weight.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("whitened", [False, True])
def test_a_head_of_another_precision_learns(whitened, descriptor, dtype):
    head, x, removed = texture_head(whitened=whitened, descriptor=descriptor), images(), mask()
    head.fit(x)
    head.to(dtype)
    tokens = torch.randn(2, 12, WIDTH, dtype=dtype, requires_grad=True)
    head.loss(tokens, x, removed).backward()
    assert tokens.grad.isfinite().all()


def test_autocast_changes_no_loss():
    head, x, removed = texture_head(whitened=True), images(), mask()
    head.fit(x)
    tokens = torch.randn(2, 12, WIDTH)
    expected = head.loss(tokens, x, removed)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.loss(tokens, x, removed), expected)


def test_an_unfitted_state_is_noticed_when_it_is_loaded():
    head, x, tokens, removed = texture_head(), images(), torch.randn(2, 12, WIDTH), mask()
    head.fit(x)
    head.loss(tokens, x, removed)
    head.load_state_dict(texture_head().state_dict())
    with pytest.raises(RuntimeError, match=r"call head\.fit"):
        head.loss(tokens, x, removed)
