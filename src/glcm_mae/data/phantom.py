"""A simulated B-mode ultrasound phantom whose classes differ in texture and in nothing else.

It is the place to see whether a pre-training objective learns texture before real images are
spent on the question. Speckle is made as the scanner makes it: point scatterers at random places
are blurred by a complex point-spread function, their echoes interfere, and the envelope is shown
in decibels [1]_ [2]_. Every image then gets exactly the same histogram, so that brightness and
contrast tell nothing and only the arrangement of the gray levels names the class.

References
----------
.. [1] R. F. Wagner, S. W. Smith, J. M. Sandrik, H. Lopez, "Statistics of speckle in ultrasound
   B-scans", IEEE Transactions on Sonics and Ultrasonics 30(3), 1983.
.. [2] J. W. Goodman, "Speckle Phenomena in Optics: Theory and Applications", 2007.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically

WAVELENGTH = 2.0  # of the ultrasound, in pixels: an echo travels there and back, one cycle a pixel
FINE = 2  # samples of the echo per pixel and axis
DYNAMIC_RANGE = 40.0  # decibels from black to white


@dataclass(frozen=True)
class Texture:
    r"""The physics behind one class of speckle.

    Parameters
    ----------
    density : float
        Mean number of scatterers in a resolution cell of :math:`2\pi\sigma_z\sigma_x` square
        pixels. From about ten upwards speckle is fully developed: its envelope is Rayleigh
        distributed and more scatterers change nothing. With few, bright points stand out and
        dark gaps open between them.
    axial, lateral : float
        Correlation lengths in pixels along the beam (down the image) and across it: the standard
        deviations :math:`\sigma_z, \sigma_x` of the Gaussian pulse and of the Gaussian beam, which
        are also those of the autocovariance of the echo's intensity.
    variation : float
        How far patients stray from these three values: the standard deviation of their logarithm.

    Examples
    --------
    >>> Texture(density=16, axial=1.0, lateral=1.2)
    Texture(density=16, axial=1.0, lateral=1.2, variation=0.08)
    """

    density: float
    axial: float
    lateral: float
    variation: float = 0.08

    def of_patient(self, rng: np.random.Generator) -> "Texture":
        """Return the texture as one patient has it."""
        density, axial, lateral = np.exp(self.variation * rng.standard_normal(3))
        return replace(
            self,
            density=self.density * density,
            axial=self.axial * axial,
            lateral=self.lateral * lateral,
        )


#: The default classes: `sparse` differs from `dense` in its scatterers, `streaked` in its beam.
TEXTURES: dict[str, Texture] = {
    "dense": Texture(density=16, axial=1.0, lateral=1.2),
    "sparse": Texture(density=1.7, axial=1.0, lateral=1.2),
    "streaked": Texture(density=16, axial=1.0, lateral=1.8),
}


@dataclass(frozen=True)
class Phantom:
    """Simulated images (N,H,W) in uint8, with the class and the patient of each."""

    images: NDArray[np.uint8]
    labels: list[str]
    patients: list[str]


def envelope(texture: Texture, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    r"""Simulate the envelope (size, size) of the echo from one random cloud of scatterers.

    The point-spread function is a Gaussian-modulated pulse in a Gaussian beam,

    .. math:: h(z, x) = e^{-z^2/2\sigma_z^2} \, e^{-x^2/2\sigma_x^2} \, e^{i 4\pi z/\lambda},

    and the echo is its sum over the scatterers. For scatterers that fall independently, Campbell's
    theorem gives the moments of the intensity :math:`I = |echo|^2`:
    :math:`\langle I^2\rangle / \langle I\rangle^2 = 2 + 1/density`.

    Examples
    --------
    >>> intensity = envelope(Texture(2.0, 1.0, 1.2), 512, np.random.default_rng(0)) ** 2
    >>> print(f"{(intensity**2).mean() / intensity.mean() ** 2:.1f}")
    2.5
    """
    # The Fourier transform makes the field periodic. Six correlation lengths more than the image
    # shows keep its opposite edges strangers.
    field = size + int(np.ceil(6 * max(texture.axial, texture.lateral)))
    spectrum = np.fft.fft2(_scatterers(texture, field, rng)) * _transfer_function(texture, field)
    amplitude: NDArray[np.float64] = np.abs(np.fft.ifft2(spectrum))
    return amplitude[::FINE, ::FINE][:size, :size]


def _scatterers(texture: Texture, field: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Drop unit scatterers on a fine grid, each with the phase that its depth gives its echo.

    The carrier splits, exp(i4π(z-z')/λ) = exp(i4πz/λ) exp(-i4πz'/λ). The first factor has modulus
    one and is lost in the envelope, so the scatterer at depth z' carries the second and the
    point-spread function is left with its real Gaussian.
    """
    cell = 2 * np.pi * texture.axial * texture.lateral
    count = rng.poisson(texture.density * field**2 / cell)
    z, x = rng.uniform(0, field, (2, count))
    phase = -4 * np.pi * z / WAVELENGTH
    samples = FINE * field
    place = (FINE * z).astype(np.int64) * samples + (FINE * x).astype(np.int64)
    real = np.bincount(place, np.cos(phase), samples**2)
    imaginary = np.bincount(place, np.sin(phase), samples**2)
    return (real + 1j * imaginary).reshape(samples, samples)


def _transfer_function(texture: Texture, field: int) -> NDArray[np.float64]:
    """Return the Fourier transform of the Gaussian pulse and beam, but for a constant."""
    frequency = np.fft.fftfreq(FINE * field, d=1 / FINE)  # cycles per pixel
    pulse = np.exp(-2 * (np.pi * texture.axial * frequency) ** 2)
    beam = np.exp(-2 * (np.pi * texture.lateral * frequency) ** 2)
    transfer: NDArray[np.float64] = np.outer(pulse, beam)
    return transfer


def gray_levels(count: int) -> NDArray[np.uint8]:
    r"""Return, in rising order, the gray levels that every image of `count` pixels has.

    They are the quantiles of fully developed speckle after log compression. Its intensity is
    exponentially distributed, so the quantile of q lies
    :math:`10 \log_{10}(-\log_2(1 - q))` dB above the median, which is shown as middle gray.

    Examples
    --------
    >>> gray_levels(8)
    array([ 62,  94, 110, 122, 132, 142, 152, 166], dtype=uint8)
    """
    quantile = (np.arange(count) + 0.5) / count
    decibels = 10 * np.log10(-np.log2(1 - quantile))
    return np.rint(255 * np.clip(0.5 + decibels / DYNAMIC_RANGE, 0, 1)).astype(np.uint8)


def phantom_image(texture: Texture, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate one B-mode image.

    Log compression keeps the order of the pixels, so it and the matching of the histogram are one
    step: the darkest pixel gets the lowest of :func:`gray_levels`, and so on to the brightest.

    Parameters
    ----------
    texture : Texture
        The physics.
    size : int
        Height and width in pixels.
    rng : numpy.random.Generator
        Where the scatterers come from.

    Returns
    -------
    numpy.ndarray
        The image (size, size) in uint8.

    Examples
    --------
    >>> image = phantom_image(TEXTURES["sparse"], 32, np.random.default_rng(0))
    >>> bool((np.sort(image, axis=None) == gray_levels(32 * 32)).all())
    True
    """
    darkest_first = np.argsort(envelope(texture, size, rng), axis=None, kind="stable")
    image = np.empty(size * size, np.uint8)
    image[darkest_first] = gray_levels(size * size)
    return image.reshape(size, size)


def make_phantom(
    patients_per_class: int,
    images_per_patient: int,
    size: int = 64,
    seed: int = 0,
    textures: Mapping[str, Texture] = TEXTURES,
) -> Phantom:
    """Simulate the images of many patients, the classes taking turns.

    An image depends on the seed, the number of its patient and its own number only: a larger
    phantom begins with the patients of a smaller one.

    Parameters
    ----------
    patients_per_class, images_per_patient : int
        How many of each, one at least.
    size : int
        Height and width of the images in pixels.
    seed : int
        Names the phantom; 0 or more.
    textures : mapping of str to Texture
        The classes.

    Returns
    -------
    Phantom
        The images, patient after patient.

    Examples
    --------
    >>> phantom = make_phantom(patients_per_class=1, images_per_patient=2, size=32)
    >>> phantom.images.shape
    (6, 32, 32)
    >>> phantom.labels
    ['dense', 'dense', 'sparse', 'sparse', 'streaked', 'streaked']
    >>> phantom.patients
    ['p0000', 'p0000', 'p0001', 'p0001', 'p0002', 'p0002']
    """
    if min(patients_per_class, images_per_patient, size) < 1 or seed < 0 or not textures:
        raise UserError(
            "A phantom needs at least one class, one patient per class, one image per patient "
            f"and one pixel, and a seed of 0 or more: got {len(textures)}, {patients_per_class}, "
            f"{images_per_patient}, {size} and {seed}."
        )
    images, labels, patients = [], [], []
    for patient, (label, texture) in enumerate(list(textures.items()) * patients_per_class):
        own = texture.of_patient(_generator(seed, patient))
        for number in range(images_per_patient):
            images.append(phantom_image(own, size, _generator(seed, patient, number)))
            labels.append(label)
            patients.append(f"p{patient:04d}")
    return Phantom(np.stack(images), labels, patients)


def _generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one patient, or of one image of a patient."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def write_phantom(phantom: Phantom, folder: str | Path) -> Path:
    """Write the images as PNG files, and the manifest that names them.

    A folder that already holds a part of this very phantom is completed; one that holds anything
    else is refused and left as it is.

    Parameters
    ----------
    phantom : Phantom
        What to write.
    folder : str or pathlib.Path
        Gets ``images/*.png`` and ``manifest.csv`` with the columns path, label and patient.

    Returns
    -------
    pathlib.Path
        The manifest.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = write_phantom(make_phantom(1, 1, size=32), folder)
    ...     print(manifest.read_text())
    path,label,patient
    images/00000.png,dense,p0000
    images/00001.png,sparse,p0001
    images/00002.png,streaked,p0002
    <BLANKLINE>
    """
    folder = Path(folder)
    files = _files(phantom)
    _refuse_anything_else(folder, files)
    for torn in filter(_is_torn, sorted(folder.rglob("*"))):
        torn.unlink()
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder / "manifest.csv"


def _files(phantom: Phantom) -> dict[str, bytes]:
    """Return the content of every file, the manifest last: where it lies, the images do too."""
    rows = []
    files: dict[str, bytes] = {}
    for image, label, patient in zip(phantom.images, phantom.labels, phantom.patients, strict=True):
        name = f"images/{len(files):05d}.png"
        files[name] = _png(image)
        rows.append([name, label, patient])
    return files | {"manifest.csv": csv_text(["path", "label", "patient"], rows).encode()}


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def _refuse_anything_else(folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder to write the phantom to.")
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or _is_torn(path):
            continue
        name = path.relative_to(folder).as_posix()
        if name not in files or path.read_bytes() != files[name]:
            raise UserError(
                f"{folder} holds something other than this phantom ({name}): choose another "
                "folder or empty this one."
            )


def _is_torn(path: Path) -> bool:
    """Whether a file is what a killed process was writing."""
    return path.match(".*.tmp") and path.is_file()
