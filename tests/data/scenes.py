"""Generated images that look like an examination: other tissue in each, the same frame in all."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter


def make_scenes(count: int, size: int = 128, seed: int = 0) -> list[Image.Image]:
    """Random tissue of several scales inside one scan sector, with one caption."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    sector = (np.hypot(y + 0.7, x) < 1.15) & (np.abs(x) < 0.25 + 0.5 * (y + 0.5))
    scenes = []
    for _ in range(count):
        tissue = sum(
            width * gaussian_filter(rng.standard_normal((size, size)), width) for width in (2, 5, 9)
        )
        gray = np.clip(110 + 45 * tissue / tissue.std(), 0, 255) * sector
        image = Image.fromarray(gray.astype(np.uint8))
        ImageDraw.Draw(image).text((4, 4), "RT BREAST", fill=255)
        scenes.append(image)
    return scenes
