"""How well copies are found, judged on copies made of any folder of images.

    python benchmarks/near_duplicates.py FOLDER [--patient_regex REGEX] [--montage PNG]

Images that the finder itself takes for copies of others are set aside first, and counted: look at
them with --montage. Of the rest, a sample is changed in one way after the other. Each time the
finder is given all images and their changed copies. A pair of an image and its own copy is right;
a pair of different images, or of an image and another's copy, is wrong.

The last two columns are of the perceptual hash, by which a run knows images again without keeping
them: the share of copies that are known again, and how far the nearest other image is (0 to 1).
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw

from glcm_mae.data import read_image, read_manifest
from glcm_mae.data.duplicates import near_duplicates
from glcm_mae.data.perceptual import APART, hash_distances, perceptual_hashes
from glcm_mae.data.thumbnails import luminance, thumbnail

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def resized(factor: float) -> Change:
    """Change the number of pixels."""
    return lambda image, rng: image.resize(
        (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    )


def jpeg(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Encode as JPEG of quality 50 and decode."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file).convert("L")


def cropped(share: float) -> Change:
    """Cut off a share of height and width, anywhere."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in image.size)
        x, y = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
        return image.crop((x, y, x + width, y + height))

    return change


def trimmed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut 5% off every side."""
    x, y = round(0.05 * image.width), round(0.05 * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


def cut_at_one_side(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut 5% off one side."""
    box = [0, 0, image.width, image.height]
    side = int(rng.integers(4))
    box[side] += round(0.05 * image.size[side % 2]) * (1 if side < 2 else -1)
    return image.crop((box[0], box[1], box[2], box[3]))


def brightened(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change contrast by up to 30% and brightness by up to 40 of 255 levels, clipping."""
    gain, offset = rng.uniform(0.7, 1.3), rng.uniform(-40, 40)
    return image.point([int(np.clip((v - 128) * gain + 128 + offset, 0, 255)) for v in range(256)])


def marked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Burn in two crosses, a dotted line and a word."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    size = min(image.size) // 40 + 2
    (x, y), (u, v) = (rng.uniform(0.2, 0.8, 2) * image.size for _ in range(2))
    for a, b in ((x, y), (u, v)):
        draw.line((a - size, b, a + size, b), fill=255)
        draw.line((a, b - size, a, b + size), fill=255)
    for t in np.linspace(0, 1, 15):
        draw.point((x + t * (u - x), y + t * (v - y)), fill=255)
    draw.text((5, image.height - 15), "RT BREAST 3 CM", fill=255)
    return image


def everything(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Crop, mirror, shrink, brighten and encode."""
    mirrored = cropped(0.05)(image, rng).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return jpeg(brightened(resized(0.6)(mirrored, rng), rng), rng)


CHANGES: dict[str, Change] = {
    "resized to 50%": resized(0.5),
    "resized to 150%": resized(1.5),
    "JPEG 50": jpeg,
    "mirrored": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 90": lambda image, rng: image.transpose(Image.Transpose.ROTATE_90),
    "cropped by 5%": cropped(0.05),
    "5% off every side": trimmed,
    "5% off one side": cut_at_one_side,
    "cropped by 10%": cropped(0.1),
    "brightness": brightened,
    "text and callipers": marked,
    "all together": everything,
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--patient_regex")
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--montage", metavar="PNG", help="draw the pairs that are set aside")
    args = parser.parse_args()
    manifest = read_manifest(args.folder, args.patient_regex)
    images = [_eight_bit(luminance(read_image(r.path, r.frame)[0])) for r in manifest.records]
    small = torch.stack([_small(image) for image in images])

    start = time.perf_counter()
    pairs = near_duplicates(small)
    seconds = time.perf_counter() - start
    copies = {pair.second for pair in pairs}
    print(f"{len(images)} images, {len(pairs)} pairs among them, {len(copies)} images set aside; "
          f"{seconds:.1f} s with {torch.get_num_threads()} threads")  # fmt: skip
    if manifest.has_patients:
        apart = sum(manifest.patients[p.first] != manifest.patients[p.second] for p in pairs)
        print(f"{apart} of the pairs are of two patients")
    if args.montage:
        names = [record.path.stem for record in manifest.records]
        draw_pairs([(images[p.first], images[p.second]) for p in pairs],
                   [f"{names[p.first]} | {names[p.second]} {p.agreement:.2f}" for p in pairs],
                   args.montage)  # fmt: skip

    rng = np.random.default_rng(args.seed)
    kept = np.array([n for n in range(len(images)) if n not in copies])
    chosen = rng.choice(kept, min(args.copies, len(kept)), replace=False)
    print(f"{'change':22}{'made':>6}{'found':>7}{'wrong':>7}{'recall':>9}{'precision':>11}"
          f"{'by hash':>10}{'others':>8}")  # fmt: skip
    hashes = perceptual_hashes(small[kept])
    for name, change in CHANGES.items():
        changed = torch.stack([_small(change(images[n], rng)) for n in chosen])
        made = {(int(np.searchsorted(kept, n)), len(kept) + k) for k, n in enumerate(chosen)}
        found = near_duplicates(torch.cat([small[kept], changed]))
        right = sum((pair.first, pair.second) in made for pair in found)
        wrong = len(found) - right
        apart = hash_distances(perceptual_hashes(changed), hashes)
        own = np.arange(len(chosen)), np.searchsorted(kept, chosen)
        known = float((apart[own] <= APART).float().mean())
        apart[own] = 1.0
        print(f"{name:22}{len(made):>6}{right:>7}{wrong:>7}{right / len(made):>9.3f}"
              f"{right / max(1, len(found)):>11.3f}{known:>10.3f}{apart.min():>8.3f}")  # fmt: skip


def draw_pairs(pairs: list[tuple[Image.Image, Image.Image]], names: list[str], path: str) -> None:
    """Draw pairs side by side, four to a row."""
    cell, columns = 160, 4
    rows = -(-len(pairs) // columns)
    sheet = Image.new("L", (columns * (2 * cell + 10), max(1, rows) * (cell + 16)))
    draw = ImageDraw.Draw(sheet)
    for number, (pair, name) in enumerate(zip(pairs, names, strict=True)):
        x, y = number % columns * (2 * cell + 10), number // columns * (cell + 16)
        for side, image in enumerate(pair):
            sheet.paste(image.resize((cell, cell)), (x + side * cell, y + 14))
        draw.text((x + 2, y + 1), name, fill=255)
    sheet.save(path)


def _eight_bit(gray: np.ndarray) -> Image.Image:
    low, high = float(gray.min()), float(gray.max())
    scaled = (gray - low) * (255 / (high - low)) if high > 255 and high > low else gray
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _small(image: Image.Image) -> torch.Tensor:
    return thumbnail(np.asarray(image))


if __name__ == "__main__":
    main()
