"""The card of an exported encoder: how it is loaded, and how images are read for it."""

from __future__ import annotations

from collections.abc import Mapping

from glcm_mae import __version__

from .config import EncoderConfig

_RESIZES = {
    "none": "as they were, none of another size",
    "crop": "scaled until they cover it, and their middle cut out",
    "pad": "scaled until they fit in, and filled up with zeros",
    "stretch": "stretched to it",
    "center": "at their own scale, cut off or filled up with zeros around",
}

_SPACED = """\
pixel = (1.0, 1.0)  # height and width of a pixel of the image, in mm
size = [max(1, round(n * side / {spacing})) for n, side in zip(image.shape[-2:], pixel)]
image = F.interpolate(image, size, mode="bilinear", antialias=True)
"""

_SCALED = """\
scale = {choice}({height} / image.shape[-2], {width} / image.shape[-1])
size = [max(1, round(side * scale)) for side in image.shape[-2:]]
image = F.interpolate(image, size, mode="bilinear", antialias=True)
"""

_CENTRED = """\
rows, columns = {height} - image.shape[-2], {width} - image.shape[-1]  # below 0 they are cut off
image = F.pad(image, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
"""

_STRETCH = """\
image = F.interpolate(image, ({height}, {width}), mode="bilinear", antialias=True)
"""

_RESCALING = (
    " It divides by 255, for images of 8 bits; others are scaled first, and given to it with "
    "`do_rescale=False`."
)


def loading(library: str, folder: str) -> tuple[str, str]:
    r"""Write the two lines that load an exported encoder.

    Parameters
    ----------
    library : str
        One of `EXPORTS`.
    folder : str
        Where it lies.

    Returns
    -------
    (str, str)

    Examples
    --------
    >>> print(*loading("timm", "mine"), sep="\n")
    import timm
    model = timm.create_model("local-dir:mine", pretrained=True)
    """
    if library == "timm":
        return "import timm", f'model = timm.create_model("local-dir:{folder}", pretrained=True)'
    return (
        "from transformers import ViTModel",
        f'model = ViTModel.from_pretrained("{folder}", add_pooling_layer=False)',
    )


def reading(config: EncoderConfig) -> str:
    """Write the lines that bring an image, with values from 0 to 1, to what an encoder takes.

    Parameters
    ----------
    config : EncoderConfig
        How images were read in its training.

    Returns
    -------
    str
        Python, of an ``image`` (B, C, H, W).

    Examples
    --------
    >>> config = EncoderConfig((32, 32), 8, 1, 64, 2, 4, (0.5,), (0.25,), "none", "gray", None)
    >>> print(reading(config))
    import torch
    mean, std = torch.tensor([[0.5], [0.25]])[:, :, None, None]
    image = (image - mean) / std
    """
    height, width = config.image_size
    sized = {
        "stretch": _STRETCH.format(height=height, width=width),
        "crop": (_SCALED + _CENTRED).format(choice="max", height=height, width=width),
        "pad": (_SCALED + _CENTRED).format(choice="min", height=height, width=width),
        "center": _CENTRED.format(height=height, width=width),
    }.get(config.resize, "")
    if config.spacing is not None:
        sized = _SPACED.format(spacing=config.spacing) + sized
    return (
        "import torch\n"
        + "import torch.nn.functional as F\n" * bool(sized)
        + sized
        + f"mean, std = torch.tensor([{list(config.mean)}, {list(config.std)}])[:, :, None, None]\n"
        + "image = (image - mean) / std"
    )


def model_card(
    library: str,
    config: EncoderConfig,
    windows: Mapping[str, tuple[float, float]],
    *,
    own_weights: bool,
) -> str:
    """Say what an exported encoder is and how it is fed, as the README.md of its folder.

    Parameters
    ----------
    library : str
        One of `EXPORTS`.
    config : EncoderConfig
        How images were read in its training.
    windows : mapping of str to (float, float)
        Ends of the windows that have names, in Hounsfield units.
    own_weights : bool
        Whether all that trained it, from random weights on, is on record.

    Returns
    -------
    str
        Markdown.
    """
    height, width = config.image_size
    given = {
        "transformers": "`model(images).last_hidden_state` has the tokens, the class token first.",
        "timm": "`model(images)` is the mean of the patches' tokens, `model.forward_features` has "
        "the tokens, the class token first.",
    }
    licence = (
        "Its first weights may be another project's: their licence then holds for it, too (the "
        "official MAE weights are CC BY-NC 4.0)."
    )
    paragraphs = [
        "---",
        f"library_name: {library}",
        "pipeline_tag: image-feature-extraction",
        "tags: [medical-imaging, texture, masked-autoencoder, glcm-mae]",
        "---",
        "",
        f"# A vision transformer trained by glcm-mae {__version__}",
        "",
        f"It takes {'gray' if config.in_chans == 1 else 'RGB'} images (B, {config.in_chans}, "
        f"{height}, {width}). In its training they were read so, and others must be:",
        "",
        f"- values: {_values(config, windows)}; 1 is white, so that images that store white as 0 "
        "(MONOCHROME1) are inverted",
        *("- colours: as their luminance (ITU-R BT.601)",) * (config.in_chans == 1),
        *(f"- scale: {mm:g} mm a pixel" for mm in (config.spacing,) if mm is not None),
        f"- size: {_RESIZES.get(config.resize, config.resize)}",
        f"- then (image - mean) / std, with mean {list(config.mean)} and std {list(config.std)}",
        "",
        "Of an image with such values, (B, C, H, W), so that features are those of glcm-mae to "
        "rounding (other libraries' own transforms scale and cut out a little otherwise):",
        "",
        *(f"    {line}" for line in reading(config).splitlines()),
        "",
        *(f"    {line}" for line in loading(library, "FOLDER")),
        "",
        given[library],
        "",
        *(_processor(config), "") * (library == "transformers"),
        "This is for research, and no medical device." + f" {licence}" * (not own_weights),
    ]
    return "\n".join(paragraphs) + "\n"


def _values(config: EncoderConfig, windows: Mapping[str, tuple[float, float]]) -> str:
    if config.window is None:
        return "from 0 to 1 over the full range of the stored bits"
    if config.window == "file":
        return "from 0 to 1 over the DICOM file's own first lookup table or window"
    if isinstance(config.window, str):
        low, high = windows[config.window]
        return f"from 0 to 1 over {low:g} to {high:g} Hounsfield units (window {config.window})"
    low, high = config.window
    return f"from 0 to 1 over the window from {low:g} to {high:g}, in the file's real unit"


def _processor(config: EncoderConfig) -> str:
    """Say how the processor is called, which takes no picture of two dimensions."""
    image = "numpy.asarray(image)[None]" if config.in_chans == 1 else "image"
    scales = _RESCALING * (config.window is None)
    return (
        "The processor beside it (`transformers.AutoImageProcessor`) normalises: "
        f'`processor({image}, return_tensors="pt")["pixel_values"]`.{scales}'
    )
