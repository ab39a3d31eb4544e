"""Random crops and their like, for a whole batch on its own device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from glcm_mae.errors import UserError

__all__ = ["Augment"]


class Augment(nn.Module):
    """Show the network a random piece of each image, resized to `image_size`.

    Each image of a batch draws its own numbers. All of them come from PyTorch's CPU generator,
    whatever the device, so `torch.manual_seed` fixes them and a checkpoint of that generator's
    state resumes them. Interpolation is bilinear without antialiasing, which is right as long as
    crops are not larger than `image_size`: load the images at `image_size` or below.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the result in pixels.
    crop_scale : (float, float)
        Least and greatest area of the crop, as a share of the image, above 0 and up to 1. Its
        aspect ratio is 3/4 to 4/3 of the image's. (1, 1) crops nothing.
    flip : bool
        Whether to mirror every second image left to right. Off unless asked for: a mirrored
        chest is another chest.
    rotate : float
        Greatest rotation in degrees, either way; the corners are filled with zeros. 0 for none.
    brightness_contrast : float
        Greatest change s, 0 to below 1: values are multiplied by a factor from [1 - s, 1 + s],
        then a number from [-s, s] is added, then they are clamped to [0, 1]. 0 for none.
    erase : float
        Chance that a rectangle of 2% to a third of an image is replaced by noise [1]_. 0 for none.

    Raises
    ------
    UserError
        A setting is out of its range.

    References
    ----------
    .. [1] Zhong, Zheng, Kang, Li, Yang, "Random Erasing Data Augmentation", AAAI 2020, arXiv
       1708.04896.

    Examples
    --------
    >>> augment = Augment(image_size=(16, 16), crop_scale=(0.5, 1.0))
    >>> batch = torch.rand(4, 1, 16, 16)
    >>> _ = torch.manual_seed(0)
    >>> once = augment(batch)
    >>> _ = torch.manual_seed(0)
    >>> once.shape, torch.equal(once, augment(batch))
    (torch.Size([4, 1, 16, 16]), True)
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        crop_scale: tuple[float, float] = (0.2, 1.0),
        flip: bool = False,
        rotate: float = 0.0,
        brightness_contrast: float = 0.0,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < crop_scale[0] <= crop_scale[1] <= 1:
            raise UserError(
                f"augment.crop_scale is {tuple(crop_scale)}: set it to two shares of the image's "
                "area, above 0 and up to 1, the lower one first."
            )
        if not 0 <= rotate <= 180:
            raise UserError(f"augment.rotate is {rotate}: set it to 0 to 180 degrees.")
        if not 0 <= brightness_contrast < 1:
            raise UserError(
                f"augment.brightness_contrast is {brightness_contrast}: set it to 0 to 0.99."
            )
        if not 0 <= erase <= 1:
            raise UserError(f"augment.erase is {erase}: set it to a chance, 0 to 1.")
        import kornia.augmentation as K

        steps: list[Callable[[Tensor], Tensor]] = []
        if rotate:
            steps.append(K.RandomRotation(rotate, p=1.0, align_corners=False))
        if crop_scale[0] == 1:
            steps.append(K.Resize(tuple(image_size), align_corners=False))
        else:
            shape = image_size[1] / image_size[0]  # crops are about as wide for their height
            steps.append(
                K.RandomResizedCrop(
                    tuple(image_size),
                    scale=crop_scale,
                    ratio=(3 / 4 * shape, 4 / 3 * shape),
                    align_corners=False,
                )
            )
        if flip:
            steps.append(K.RandomHorizontalFlip(p=0.5))
        if brightness_contrast:
            factors = (1 - brightness_contrast, 1 + brightness_contrast)
            steps.append(K.RandomContrast(factors, p=1.0, clip_output=False))
            steps.append(K.RandomBrightness(factors, p=1.0, clip_output=False))
            steps.append(nn.Hardtanh(0.0, 1.0))
        if erase:
            steps.append(_Erase(erase))
        # A plain list: registered as submodules, kornia's buffers would enter checkpoints and its
        # random numbers could follow the module to another device.
        self._steps = steps

    def forward(self, images: Tensor) -> Tensor:
        """Augment a batch.

        Parameters
        ----------
        images : Tensor
            Batch (B, C, H, W) in [0, 1].

        Returns
        -------
        Tensor
            Batch (B, C, *image_size) in [0, 1], on the same device, of the same type.
        """
        with torch.no_grad():
            for step in self._steps:
                images = step(images)
        return images


class _Erase:
    """Noise in the place of a random rectangle."""

    def __init__(self, chance: float) -> None:
        import kornia.augmentation as K

        self._erasing = K.RandomErasing(p=chance, scale=(0.02, 1 / 3), ratio=(0.3, 3.3), value=0.0)

    def __call__(self, images: Tensor) -> Tensor:
        kept = self._erasing(torch.ones_like(images[:, :1])) > 0  # (B, 1, H, W)
        hit = (~kept).flatten(1).any(dim=1)
        noise = torch.rand(images[hit].shape, dtype=images.dtype).to(images.device)
        changed = images.clone()
        changed[hit] = torch.where(kept[hit], images[hit], noise)
        return changed
