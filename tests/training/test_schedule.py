import itertools

import pytest
import torch
from torch import nn

from glcm_mae.models import Classifier, EncoderConfig, MaskedAutoencoder
from glcm_mae.training.finetune import NormalizedClassifier
from glcm_mae.training.schedule import learning_rate, make_optimizer, set_learning_rate

from . import small

_CONFIG = EncoderConfig((16, 16), 8, 1, 16, 3, 2, (0.5,), (0.2,), "none", "gray", None)


def _classifier() -> NormalizedClassifier:
    return NormalizedClassifier(Classifier(_CONFIG.build(), n_classes=3), _CONFIG)


def _group_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    """Each trained parameter's group by name; fails if one is in none or in two."""
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    groups = [(names[id(p)], g) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(name for name, _ in groups) == sorted(names.values())
    return dict(groups)


def test_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    rates = [learning_rate(s, 100, 2.0, 0.1, 0.1) for s in range(10)]
    assert rates == pytest.approx([0.2 * (s + 1) for s in range(10)])


def test_cosine_falls_from_the_peak_to_the_floor() -> None:
    rates = [learning_rate(s, 100, 2.0, 0.1, 0.1) for s in range(10, 100)]
    assert rates[0] == 2.0
    assert rates[45] == pytest.approx((2.0 + 0.1) / 2)
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert 0.1 < rates[-1] < 0.101
    assert learning_rate(100, 100, 2.0, 0.1, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_without_warm_up_the_first_step_is_at_the_peak(steps: int) -> None:
    assert learning_rate(0, steps, 2.0, 0.0, 0.0) == 2.0


@pytest.mark.parametrize(
    ("part", "above"),
    [
        ("encoder.patch_embed.proj.weight", 4),
        ("encoder.patch_embed.proj.bias", 4),
        ("encoder.cls_token", 4),
        ("encoder.blocks.0.attn.qkv.weight", 3),
        ("encoder.blocks.1.mlp.fc1.bias", 2),
        ("encoder.blocks.2.norm2.weight", 1),
        ("encoder.norm.weight", 0),
        ("fc_norm.bias", 0),
        ("head.weight", 0),
    ],
)
def test_layer_decay_multiplies_once_for_each_layer_above(part: str, above: int) -> None:
    # As fine-tuning holds it (a classifier in a normalised classifier), and by itself.
    normalized = _classifier()
    for prefix, model in (("classifier.", normalized), ("", normalized.classifier)):
        groups = _group_of(model, make_optimizer(model, small.optimizer(), layer_decay=0.5))
        assert groups[prefix + part]["scale"] == 0.5**above


def test_without_layer_decay_all_have_the_same_rate() -> None:
    model = _classifier()
    groups = _group_of(model, make_optimizer(model, small.optimizer()))
    assert {group["scale"] for group in groups.values()} == {1.0}


def test_weight_decay_is_for_matrices_alone() -> None:
    mae = MaskedAutoencoder(_CONFIG.build(), 1, 16, 1, 2)
    groups = _group_of(mae, make_optimizer(mae, small.optimizer(weight_decay=0.3)))
    decay = {name: group["weight_decay"] for name, group in groups.items()}
    tokens = {"encoder.cls_token", "mask_token"}
    free = {n for n in decay if n.endswith("bias") or "norm" in n} | tokens
    assert {name for name, value in decay.items() if value == 0} == free
    assert {value for name, value in decay.items() if name not in free} == {0.3}
    assert "encoder.patch_embed.proj.weight" not in free
    assert not {"encoder.pos_embed", "decoder_pos_embed"} & set(decay)


def test_set_learning_rate_gives_each_group_its_share() -> None:
    model = _classifier()
    optimizer = make_optimizer(model, small.optimizer(), layer_decay=0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.0}
    set_learning_rate(optimizer, 8.0)
    rates = {n: g["lr"] for n, g in _group_of(model, optimizer).items()}
    assert rates["classifier.head.bias"] == 8.0
    assert rates["classifier.encoder.cls_token"] == 0.5


def test_a_fused_step_is_the_same_step() -> None:
    torch.manual_seed(0)
    start = _classifier().state_dict()
    ends = []
    for fused in (False, True):
        model = _classifier()
        model.load_state_dict(start)
        optimizer = make_optimizer(model, small.optimizer(), layer_decay=0.5, fused=fused)
        set_learning_rate(optimizer, 0.1)
        for seed in (1, 2):
            torch.manual_seed(seed)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        ends.append(model.state_dict())
    plain, fused_end = ends
    assert all(torch.allclose(plain[name], fused_end[name], atol=1e-5) for name in start)
    assert not torch.equal(plain["classifier.head.weight"], start["classifier.head.weight"])
