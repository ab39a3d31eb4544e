"""Augmentation is random per image, repeatable per seed, and never mirrors unasked."""

import pytest
import torch

from glcm_mae.data import Augment
from glcm_mae.errors import UserError


def augmented(augment: Augment, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return augment(images)


def ramp(batch: int, size: int = 16) -> torch.Tensor:
    """Images that grow brighter to the right."""
    return torch.linspace(0, 1, size).expand(batch, 1, size, size).clone()


EVERYTHING = {
    "flip": True,
    "rotate": 20.0,
    "brightness_contrast": 0.4,
    "erase": 0.5,
}


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_range_and_seed(settings: dict[str, float], channels: int) -> None:
    augment = Augment(image_size=(12, 20), **settings)  # type: ignore[arg-type]
    images = torch.rand(8, channels, 32, 24)
    before = images.clone()
    once = augmented(augment, images)
    assert once.shape == (8, channels, 12, 20)
    assert once.dtype == torch.float32
    assert 0 <= once.min() <= once.max() <= 1
    assert torch.equal(once, augmented(augment, images))
    assert not torch.equal(once, augmented(augment, images, seed=1))
    assert torch.equal(images, before)
    # A second one of the same settings does the same, as after a restart.
    assert torch.equal(once, augmented(Augment((12, 20), **settings), images))  # type: ignore[arg-type]


def test_images_of_a_batch_are_cropped_apart() -> None:
    out = augmented(Augment((16, 16)), ramp(1).expand(8, -1, -1, -1))
    assert len({tuple(image.flatten().tolist()) for image in out}) > 1


def test_nothing_is_mirrored_unless_asked() -> None:
    unflipped = augmented(Augment((16, 16)), ramp(64))
    assert (unflipped[..., -1] > unflipped[..., 0]).all()
    flipped = augmented(Augment((16, 16), flip=True), ramp(64))
    share = (flipped[..., -1] < flipped[..., 0]).float().mean()
    assert 0.25 < share < 0.75


def test_the_whole_image_can_be_left_as_it_is() -> None:
    for shape in ((16, 16), (16, 64)):
        images = torch.rand(32, 1, *shape)
        assert torch.equal(augmented(Augment(shape, crop_scale=(1.0, 1.0)), images), images)


def test_images_that_are_not_square_keep_their_shape() -> None:
    images = torch.linspace(0, 1, 96).expand(8, 1, 32, 96)
    whole = augmented(Augment((32, 96), crop_scale=(1.0, 1.0)), images)
    assert (whole.amax(dim=(1, 2, 3)) - whole.amin(dim=(1, 2, 3))).min() > 0.74
    crops = augmented(Augment((32, 96), crop_scale=(0.5, 0.5)), images)
    spans = crops.amax(dim=(1, 2, 3)) - crops.amin(dim=(1, 2, 3))
    assert spans.min() > 0.6
    assert spans.max() < 0.83  # sqrt(0.5 * 4 / 3)


def test_crops_keep_to_their_area() -> None:
    # The ramp's span in a crop is the crop's width; its area is at least half, so is its width.
    out = augmented(Augment((16, 16), crop_scale=(0.5, 1.0)), ramp(64))
    spans = out.amax(dim=(1, 2, 3)) - out.amin(dim=(1, 2, 3))
    assert spans.min() > 0.5
    tiny = augmented(Augment((16, 16), crop_scale=(0.04, 0.05)), ramp(64))
    assert (tiny.amax(dim=(1, 2, 3)) - tiny.amin(dim=(1, 2, 3))).max() < 0.35


def test_brightness_and_contrast_keep_to_their_range() -> None:
    gray = torch.full((256, 1, 8, 8), 0.5)
    out = augmented(Augment((8, 8), brightness_contrast=0.2), gray)[:, 0, 0, 0]
    assert 0.5 * 0.8 - 0.2 - 1e-6 <= out.min() < 0.3
    assert 0.7 < out.max() <= 0.5 * 1.2 + 0.2 + 1e-6


def test_rotation_fills_with_zeros() -> None:
    out = augmented(
        Augment((16, 16), crop_scale=(1.0, 1.0), rotate=45.0), torch.ones(16, 1, 16, 16)
    )
    assert out[..., 8, 8].min() == pytest.approx(1)
    assert out[..., 0, 0].min() == 0


def test_erasing_puts_noise_into_one_rectangle_of_some_images() -> None:
    images = torch.full((200, 3, 16, 16), 2.0)  # noise does not reach
    out = augmented(Augment((16, 16), crop_scale=(1.0, 1.0), erase=0.25), images)
    erased = (out < 1.5)[:, 0]
    assert torch.equal((out < 1.5).all(dim=1), erased)  # all channels alike
    hit = erased.flatten(1).any(dim=1)
    assert 0.15 < hit.float().mean() < 0.35
    for image in erased[hit]:
        rows, columns = image.any(dim=1), image.any(dim=0)
        assert torch.equal(image, rows[:, None] & columns)
        assert 0.01 < image.float().mean() < 0.45
    assert out[erased[:, None].expand_as(out)].std() > 0.2


def test_it_has_no_state() -> None:
    augment = Augment((16, 16), **EVERYTHING)  # type: ignore[arg-type]
    assert not augment.state_dict()
    assert not list(augment.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop_scale": (0.0, 1.0)}, "crop_scale is"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale is"),
        ({"crop_scale": (0.9, 0.5)}, "crop_scale is"),
        ({"rotate": -1.0}, "rotate is -1.0"),
        ({"brightness_contrast": 1.0}, "brightness_contrast is 1.0"),
        ({"erase": 1.1}, "erase is 1.1"),
    ],
)
def test_setting_mistakes(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Augment((16, 16), **settings)  # type: ignore[arg-type]
