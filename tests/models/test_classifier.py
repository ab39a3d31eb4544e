import pytest
import torch
from torch.nn import functional as F

from glcm_mae.models import Classifier, Encoder, pool_tokens


def encoder():
    return Encoder((16, 24), 8, 1, 32, 2, 4)


def test_pooling_takes_the_patches_or_the_class_token():
    tokens = torch.randn(3, 7, 4)
    mean = tokens[:, 1:].sum(dim=1) / 6
    spread = ((tokens[:, 1:] - mean[:, None]).square().sum(dim=1) / 6).sqrt()
    assert torch.equal(pool_tokens(tokens, "token"), tokens[:, 0])
    torch.testing.assert_close(pool_tokens(tokens, "mean"), mean)
    torch.testing.assert_close(
        pool_tokens(tokens, "moments"), torch.cat([mean, spread], dim=1), atol=1e-5, rtol=1e-5
    )


def test_patches_that_are_all_alike_have_no_spread_and_a_finite_slope():
    tokens = torch.ones(1, 5, 2, requires_grad=True)
    pooled = pool_tokens(tokens, "moments")
    assert pooled[:, 2:].max() < 2e-3
    pooled.sum().backward()
    assert tokens.grad.isfinite().all()


@pytest.mark.parametrize("pooling", ["mean", "moments", "token"])
def test_logits_are_a_linear_map_of_the_normalised_pooled_tokens(pooling):
    model, images = Classifier(encoder(), 3, pooling), torch.rand(2, 1, 16, 24)
    torch.nn.init.normal_(model.head.weight)
    tokens = model.encoder(images)
    pooled = pool_tokens(tokens, pooling)
    expected = F.linear(F.layer_norm(pooled, pooled.shape[1:], eps=1e-6), model.head.weight)
    torch.testing.assert_close(model(images), expected, atol=1e-5, rtol=1e-5)


def test_answers_are_as_fine_under_autocast():
    model, images = Classifier(encoder(), 2), torch.rand(400, 1, 16, 24)
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.float32
    assert len(logits[:, 0].unique()) > 390


def test_it_starts_from_equal_odds():
    chances = Classifier(encoder(), 4)(torch.rand(2, 1, 16, 24)).softmax(dim=1)
    torch.testing.assert_close(chances, torch.full((2, 4), 0.25), atol=1e-3, rtol=0)


def test_every_weight_but_the_fixed_positions_learns():
    model = Classifier(encoder(), 3)
    F.cross_entropy(model(torch.rand(4, 1, 16, 24)), torch.tensor([0, 1, 2, 0])).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"encoder.pos_embed"}
