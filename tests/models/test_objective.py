"""Every term by hand, how they are added, and that none turns a run to NaN."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from glcm_mae.models import (
    Encoder,
    MaskedAutoencoder,
    Objective,
    Reconstruction,
    TextureHead,
    Weights,
    patchify,
    spread_mask,
    unpatchify,
)
from glcm_mae.models import objective as objective_module
from glcm_mae.texture import Binning, GLCMLoss

PATCH, GRID, SIZE, WIDTH = 8, (3, 4), (24, 32), 16
OFFSETS = ((0, 1), (1, 0))
MEAN, STD = torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.3])
CHANNELS = len(MEAN)
ALL = {"mse": 1.0, "ssim": 0.5, "glcm": 0.25, "glcm_prediction": 2.0}


def texture_head(**changes):
    settings = {"width": WIDTH, "binning": Binning(4), "offsets": OFFSETS}
    settings |= {"in_chans": CHANNELS, "patch_size": PATCH, "grid": GRID}
    head = TextureHead(**(settings | changes))
    head.mean.zero_()  # for the tests that do not care
    return head


def objective(by_term, **settings):
    weights = Weights(by_term, settings.pop("balance", "fixed"))
    parts = {"glcm": GLCMLoss(16, OFFSETS, patch_size=PATCH), "head": texture_head()}
    return Objective(weights, PATCH, GRID, MEAN, STD, **(parts | settings))


def images(n=2):
    return torch.rand(n, CHANNELS, *SIZE)


def mask(n=2):
    removed = (torch.rand(n, 12) < 0.6).float()
    removed[:, 0], removed[:, 1] = 1, 0
    return removed


def reconstruction(n=2):
    patches = torch.randn(n, 12, PATCH * PATCH * CHANNELS) * 0.5
    return Reconstruction(
        patches.requires_grad_(), torch.randn(n, 12, WIDTH).requires_grad_(), mask(n)
    )


def autoencoder():
    encoder = Encoder(SIZE, PATCH, CHANNELS, 32, 2, 4)
    return MaskedAutoencoder(encoder, CHANNELS, WIDTH, 1, 2)


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_mse_by_hand(norm_pix_loss):
    x, out = images(), reconstruction()
    loss = objective({"mse": 1.0}, norm_pix_loss=norm_pix_loss)(x, out)
    errors = []
    for i in range(2):
        for n in out.mask[i].nonzero().flatten().tolist():
            row, column = divmod(n, 4)
            target = x[i, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            target = (target - MEAN[:, None, None]) / STD[:, None, None]
            target = target.permute(1, 2, 0).flatten()
            if norm_pix_loss:
                variance = (target - target.mean()).square().sum() / (len(target) - 1)
                target = (target - target.mean()) / (variance + 1e-6).sqrt()
            errors.append((out.patches[i, n] - target).square().mean().item())
    assert loss.terms["mse"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert loss.total.item() == loss.terms["mse"].item()


def test_normalize_undoes_what_redraw_does():
    x = images()
    everything = torch.ones(2, 12)
    own = objective({"mse": 1.0})
    patches = patchify(own.normalize(x), PATCH)
    drawn = own.redraw(x, Reconstruction(patches, patches, everything))
    torch.testing.assert_close(drawn, x, atol=1e-6, rtol=0)


def test_redraw_with_norm_pix_loss_takes_brightness_and_contrast_from_the_true_patch():
    x, own = images(), objective({"mse": 1.0}, norm_pix_loss=True)
    target = patchify(own.normalize(x), PATCH)
    shape = (target - target.mean(dim=-1, keepdim=True)) / target.std(dim=-1, keepdim=True)
    drawn = own.redraw(x, Reconstruction(shape, shape, torch.ones(2, 12)))
    torch.testing.assert_close(drawn, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_norm_pix_loss_counts_for_every_term_of_redrawn_pixels(name):
    x, out, head = images(), reconstruction(), texture_head()
    totals = [
        objective({name: 1.0}, norm_pix_loss=norm, head=head)(x, out).total
        for norm in (True, False)
    ]
    assert torch.equal(*totals) is (name == "glcm_prediction")


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_redraw_keeps_kept_patches_bit_by_bit(norm_pix_loss):
    x, out = images(), reconstruction()
    drawn = objective({"mse": 1.0}, norm_pix_loss=norm_pix_loss).redraw(x, out)
    removed = spread_mask(out.mask, PATCH, GRID).expand_as(x) > 0
    assert torch.equal(drawn[~removed], x[~removed])
    assert (drawn[removed] != x[removed]).float().mean() > 0.99


def test_glcm_is_the_texture_loss_of_the_redrawn_images():
    x, out = images(), reconstruction()
    by_hand = (
        unpatchify(out.patches.detach(), PATCH, GRID) * STD[:, None, None] + MEAN[:, None, None]
    )
    by_hand = torch.where(spread_mask(out.mask, PATCH, GRID) > 0, by_hand, x)
    texture = GLCMLoss(16, OFFSETS, patch_size=PATCH, pool=2, scaled=True)
    loss = objective({"glcm": 3.0}, glcm=texture)(x, out)
    expected = texture(by_hand, x, out.mask).item()
    assert expected > 0
    assert loss.terms["glcm"].item() == pytest.approx(expected, rel=1e-5)
    assert loss.total.item() == pytest.approx(3 * expected, rel=1e-5)


def ssim_by_hand(a, b):
    """SSIM map of two (H, W) images (Wang et al. 2004, eq. 13): Gaussian window, 11, 1.5."""
    at = torch.arange(-5.0, 6.0, dtype=torch.float64)
    bell = torch.exp(-(at**2) / (2 * 1.5**2))
    window = torch.outer(bell, bell) / bell.sum() ** 2

    def blur(x):
        padded = nn.functional.pad(x[None, None], (5, 5, 5, 5), mode="reflect")
        return nn.functional.conv2d(padded, window[None, None])[0, 0]

    a, b = a.double(), b.double()
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


def test_ssim_by_hand_over_the_removed_pixels():
    x, out = images(), reconstruction()
    own = objective({"ssim": 1.0})
    drawn = own.redraw(x, out).detach()
    total, count = 0.0, 0
    for i in range(2):
        removed = spread_mask(out.mask, PATCH, GRID)[i, 0] > 0
        for c in range(CHANNELS):
            distance = 1 - ssim_by_hand(drawn[i, c], x[i, c])
            total += distance[removed].sum().item()
            count += int(removed.sum())
    assert own(x, out).terms["ssim"].item() == pytest.approx(total / count, rel=1e-4)


def test_a_perfect_redraw_costs_nothing():
    x, own = images(), objective({"mse": 1.0, "ssim": 1.0, "glcm": 1.0})
    patches = patchify(own.normalize(x), PATCH).requires_grad_()
    loss = own(x, Reconstruction(patches, torch.randn(2, 12, WIDTH), mask()))
    for name in ("mse", "ssim", "glcm"):
        assert loss.terms[name].item() == pytest.approx(0, abs=1e-5), name
    loss.total.backward()
    assert patches.grad.isfinite().all()


@pytest.mark.parametrize("by_term", [{name: 1.0} for name in ("mse", "ssim", "glcm")])
def test_kept_patches_do_not_count(by_term):
    x, out, own = images(), reconstruction(), objective(by_term)
    own(x, out).total.backward()
    assert not out.patches.grad[out.mask == 0].any()
    assert (out.patches.grad[out.mask == 1] != 0).any(dim=-1).all()


def test_glcm_prediction_by_hand_and_only_removed_patches_count():
    head, x, out = texture_head(), images(), reconstruction()
    head.fit(images(8))
    loss = objective({"glcm_prediction": 2.0}, head=head)(x, out)
    removed = out.mask.bool()
    target = (head.describe(x, removed) - head.mean) / head.deviation
    expected = (head.linear(out.tokens[removed]) - target).square().mean().item()
    assert loss.terms["glcm_prediction"].item() == pytest.approx(expected, rel=1e-5)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(2 * expected, rel=1e-5)
    assert not out.tokens.grad[out.mask == 0].any()
    assert (out.tokens.grad[out.mask == 1] != 0).any(dim=-1).all()


def test_the_sum_is_weighted():
    x, out = images(), reconstruction()
    loss = objective(ALL)(x, out)
    assert list(loss.terms) == list(ALL)
    expected = sum(weight * loss.terms[name].item() for name, weight in ALL.items())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_0_costs_nothing(monkeypatch):
    class Forbidden(nn.Module):
        def forward(self, *_):
            raise AssertionError("computed although its weight is 0")

        loss = forward

    monkeypatch.setattr(objective_module, "_ssim_distance", Forbidden())
    monkeypatch.setattr(Objective, "redraw", Forbidden.forward)
    weights = {"mse": 1.0, "ssim": 0.0, "glcm": 0.0, "glcm_prediction": 0.0}
    own = objective(weights, glcm=Forbidden(), head=Forbidden())
    assert list(own(images(), reconstruction()).terms) == ["mse"]
    # And the objects that it would need are not needed.
    assert Objective(Weights(weights), PATCH, GRID, MEAN, STD)(images(), reconstruction())


@pytest.mark.parametrize("balance", ["fixed", "gradient_norm"])
def test_mse_only_is_mse_with_weight_1_and_nothing_else(balance):
    x, out = images(), reconstruction()
    own = objective(ALL | {"mse": 0.1}, balance=balance)
    loss = own(x, out, mse_only=True)
    assert list(loss.terms) == ["mse"]
    assert loss.total.item() == loss.terms["mse"].item()
    without = objective({"glcm": 1.0})(x, out, mse_only=True)
    assert without.total.item() == loss.total.item()


def gradient(value, tokens):
    return torch.autograd.grad(value, tokens, retain_graph=True)[0]


@pytest.mark.parametrize("order", [("mse", "ssim", "glcm", "glcm_prediction"), ("ssim", "glcm")])
def test_gradient_norm_balances_the_terms(order):
    x, mae = images(), autoencoder()
    own = objective({name: ALL[name] for name in order}, balance="gradient_norm")
    out = mae(own.normalize(x))
    loss = own(x, out)
    gradients = {name: gradient(term, out.tokens) for name, term in loss.terms.items()}
    norms = {name: g.norm() for name, g in gradients.items()}
    assert max(norms.values()) > 1.5 * min(norms.values())  # there is something to balance
    # Each with the first's norm, then weighted.
    scaled = {name: g * norms[order[0]] / norms[name] for name, g in gradients.items()}
    expected = sum(ALL[name] * g for name, g in scaled.items())
    torch.testing.assert_close(gradient(loss.total, out.tokens), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.filterwarnings("ignore:no value of the first predictions")
def test_gradient_norm_leaves_a_term_without_gradient_alone():
    own = objective({"mse": 1.0, "glcm": 1.0}, balance="gradient_norm")
    x, mae = torch.zeros(2, CHANNELS, *SIZE), autoencoder()
    nn.init.constant_(mae.decoder_pred.bias, 50.0)  # beyond the gray scale the GLCM has no slope
    out = mae(own.normalize(x))
    loss = own(x, out)
    assert not gradient(loss.terms["glcm"], out.tokens).any()
    assert loss.terms["glcm"] > 0
    assert loss.total.item() == pytest.approx(sum(t.item() for t in loss.terms.values()), rel=1e-5)
    torch.testing.assert_close(
        gradient(loss.total, out.tokens), gradient(loss.terms["mse"], out.tokens)
    )


@pytest.mark.filterwarnings("ignore:no value of the first predictions")
def test_gradient_norm_goes_by_the_first_term_that_has_a_gradient():
    own = objective({"glcm": 1.0, "glcm_prediction": 1.0}, balance="gradient_norm")
    x, mae = torch.zeros(2, CHANNELS, *SIZE), autoencoder()
    nn.init.constant_(mae.decoder_pred.bias, 50.0)  # as above
    out = mae(own.normalize(x))
    loss = own(x, out)
    learnt = gradient(loss.terms["glcm_prediction"], out.tokens)
    assert learnt.any()
    assert not gradient(loss.terms["glcm"], out.tokens).any()
    torch.testing.assert_close(gradient(loss.total, out.tokens), learnt)


def test_gradient_norm_works_where_nothing_learns():
    own = objective(ALL, balance="gradient_norm")
    with torch.no_grad():
        x = images()
        assert own(x, autoencoder()(own.normalize(x))).total.isfinite()


def test_terms_are_float32_under_autocast_and_what_they_are_without():
    x, own = images(), objective(ALL, balance="gradient_norm")
    out = autoencoder()(own.normalize(x))
    plain = own(x, out)
    with torch.autocast("cpu", torch.bfloat16):
        low = own(x, out)
    assert low.total.dtype == torch.float32
    for name, term in low.terms.items():
        assert term.dtype == torch.float32, name
        assert term.item() == plain.terms[name].item(), name
    assert low.total.item() == pytest.approx(plain.total.item(), rel=1e-6)


def test_terms_are_float32_of_a_bfloat16_reconstruction():
    out = reconstruction()
    low = Reconstruction(out.patches.bfloat16(), out.tokens.bfloat16(), out.mask)
    loss = objective(ALL)(images(), low)
    assert {term.dtype for term in (loss.total, *loss.terms.values())} == {torch.float32}


@pytest.mark.filterwarnings("ignore:the texture of all patches")
@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("norm_pix_loss", [False, True])
@pytest.mark.parametrize("gray", [0.0, 0.5, 1.0])
def test_constant_images_give_finite_losses_and_gradients(name, norm_pix_loss, gray):
    x, mae = torch.full((2, CHANNELS, *SIZE), gray), autoencoder()
    own = objective({name: 1.0}, norm_pix_loss=norm_pix_loss)
    own.head.fit(x)
    loss = own(x, mae(own.normalize(x)))
    assert loss.total.isfinite()
    loss.total.backward()
    gradients = [p.grad for p in (*mae.parameters(), *own.parameters()) if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


def test_nothing_removed_costs_nothing():
    out = reconstruction()._replace(mask=torch.zeros(2, 12))
    loss = objective(ALL)(images(), out)
    assert {name: term.item() for name, term in loss.terms.items()} == dict.fromkeys(ALL, 0.0)
    loss.total.backward()


@pytest.mark.parametrize("name", list(ALL))
def test_one_batch_can_be_learned(name):
    x, mae, own = images(4), autoencoder(), objective({name: 1.0})
    x = nn.functional.avg_pool2d(x, 5, 1, 2)  # something smooth enough to redraw
    own.head.fit(x)
    noise = torch.rand(4, 12)
    learned = [p for p in (*mae.parameters(), *own.parameters()) if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=3e-3)
    losses = []
    for _ in range(60):
        loss = own(x, mae(own.normalize(x), 0.5, noise)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0] / 2


def test_normalisation_and_targets_travel_with_the_weights():
    own = objective(ALL)
    own.head.fit(images())
    assert {"mean", "std", "head.mean", "head.deviation", "head.linear.weight"} <= set(
        own.state_dict()
    )


@pytest.mark.parametrize(
    ("name", "part"), [("glcm", "GLCMLoss"), ("glcm_prediction", "TextureHead")]
)
def test_a_term_without_what_it_needs_is_refused(name, part):
    with pytest.raises(ValueError, match=f"the term {name} has weight: give a {part}"):
        Objective(Weights({name: 1.0}), PATCH, GRID, MEAN, STD)


def test_parts_of_another_patch_size_are_refused():
    other = {
        "glcm": GLCMLoss(16, OFFSETS, patch_size=2 * PATCH),
        "head": texture_head(patch_size=4),
    }
    for name, part in other.items():
        named = f"{type(part).__name__} is of patches of {part.patch_size} pixels"
        with pytest.raises(ValueError, match=named):
            objective(ALL, **{name: part})


def test_unknown_terms_and_balances_are_refused():
    with pytest.raises(ValueError, match="no term 'gclm': choose among mse, ssim, glcm"):
        Weights({"gclm": 1.0})
    with pytest.raises(ValueError, match="balance is 'equal': choose fixed or gradient_norm"):
        Weights({"mse": 1.0}, "equal")


def test_statistics_may_be_lists_and_no_deviation_is_0():
    head = {"glcm": GLCMLoss(16, OFFSETS, patch_size=PATCH)}
    given = Objective(Weights(ALL | {"glcm_prediction": 0}), PATCH, GRID, [0.4], [0.2], **head)
    assert given.mean.shape == given.std.shape == (1, 1, 1, 1)
    of_numpy = Objective(Weights({"mse": 1.0}), PATCH, GRID, np.array([0.4]), np.array([0.2]))
    assert of_numpy.mean.dtype == torch.float32
    with pytest.raises(ValueError, match=r"std is \[0\.2, 0\.0\]: give numbers above 0"):
        Objective(Weights({"mse": 1.0}), PATCH, GRID, [0.4, 0.4], [0.2, 0.0])


def test_gradient_norm_says_what_it_cannot_look_into():
    own = objective(ALL, balance="gradient_norm")
    x, out = images(), reconstruction()
    apart = out._replace(tokens=out.tokens.clone())  # as two outputs of a compiled network are
    with pytest.raises(
        RuntimeError,
        match="balance gradient_norm finds no way from a term",
    ):
        own(x, apart)
    with torch.no_grad():
        assert own(x, out).total.isfinite()
