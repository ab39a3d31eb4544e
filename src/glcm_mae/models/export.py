"""An encoder as transformers and timm keep theirs, and the card that goes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from safetensors.torch import save
from torch import Tensor

from glcm_mae import __version__

from .config import EncoderConfig
from .names import to_transformers
from .vit import Encoder

Files = dict[str, bytes]

_RESIZES = {
    "none": "as they were, none of another size",
    "crop": "scaled until they cover it, and their middle cut out",
    "pad": "scaled until they fit in, and filled up with zeros",
    "stretch": "stretched to it",
}


def for_transformers(encoder: Encoder, config: EncoderConfig) -> Files:
    """Write an encoder as a ``ViTModel``.

    Parameters
    ----------
    encoder : Encoder
        Its weights.
    config : EncoderConfig
        Its shape and normalisation.

    Returns
    -------
    dict
        Of the folder that ``ViTModel.from_pretrained`` reads, each file's name and content: the
        weights, ``config.json``, and ``preprocessor_config.json``, which normalises images of the
        right size: of 8 bits, or, where the encoder's were windowed, with values in [0, 1].

    Examples
    --------
    >>> config = EncoderConfig((32, 32), 8, 1, 64, 2, 4, (0.5,), (0.25,), "none", "gray", None)
    >>> sorted(for_transformers(config.build(), config))
    ['config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    description = {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "image_size": _size(config),
        "patch_size": config.patch_size,
        "num_channels": config.in_chans,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": 4 * config.embed_dim,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "torch_dtype": "float32",
    }
    reading = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "size": dict(zip(("height", "width"), config.image_size, strict=True)),
        "do_rescale": config.window is None,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.mean),
        "image_std": list(config.std),
    }
    return {
        "model.safetensors": _weights(to_transformers(encoder.state_dict())),
        "config.json": _json(description),
        "preprocessor_config.json": _json(reading),
    }


def for_timm(encoder: Encoder, config: EncoderConfig) -> Files:
    """Write an encoder as a ``VisionTransformer`` of timm, which gives the mean of the patches.

    Parameters
    ----------
    encoder : Encoder
        Its weights, whose names are timm's already.
    config : EncoderConfig
        Its shape and normalisation.

    Returns
    -------
    dict
        Of the folder that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` reads, each
        file's name and content.

    Examples
    --------
    >>> config = EncoderConfig((32, 32), 8, 1, 64, 2, 4, (0.5,), (0.25,), "none", "gray", None)
    >>> sorted(for_timm(config.build(), config))
    ['config.json', 'model.safetensors']
    """
    size = list(config.image_size)
    description = {
        "architecture": "vit_base_patch16_224",  # whose every size model_args replaces
        "num_classes": 0,
        "num_features": config.embed_dim,
        "global_pool": "avg",
        "model_args": {
            "img_size": size,
            "patch_size": config.patch_size,
            "in_chans": config.in_chans,
            "embed_dim": config.embed_dim,
            "depth": config.depth,
            "num_heads": config.num_heads,
            "num_classes": 0,
            "global_pool": "avg",
            "fc_norm": False,  # the norm comes before the mean
        },
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [config.in_chans, *size],
            "fixed_input_size": True,
            "crop_pct": 1.0,
            "mean": list(config.mean),
            "std": list(config.std),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    return {
        "model.safetensors": _weights(encoder.state_dict()),
        "config.json": _json(description),
    }


EXPORTS: dict[str, Callable[[Encoder, EncoderConfig], Files]] = {
    "transformers": for_transformers,
    "timm": for_timm,
}
"""By the name of a library, what writes an encoder for it."""


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


def model_card(library: str, config: EncoderConfig, *, own_weights: bool) -> str:
    """Say what an exported encoder is and how it is fed, as the README.md of its folder.

    Parameters
    ----------
    library : str
        One of `EXPORTS`.
    config : EncoderConfig
        How images were read in its training.
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
        f"- size: {_RESIZES[config.resize]}",
        f"- values: {_values(config)}",
        f"- then (image - mean) / std, with mean {list(config.mean)} and std {list(config.std)}",
        "",
        *(f"    {line}" for line in loading(library, "FOLDER")),
        "",
        given[library],
        "",
        "This is for research, and no medical device." + f" {licence}" * (not own_weights),
    ]
    return "\n".join(paragraphs) + "\n"


def _values(config: EncoderConfig) -> str:
    if config.window is None:
        return "from 0 to 1 over the full range of the stored bits"
    if isinstance(config.window, str):
        return f"from 0 to 1 over the window {config.window}"
    low, high = config.window
    return f"from 0 to 1 over the window from {low:g} to {high:g}, in the file's real unit"


def _size(config: EncoderConfig) -> int | list[int]:
    height, width = config.image_size
    return height if height == width else [height, width]


def _weights(tensors: dict[str, Tensor]) -> bytes:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, metadata={"format": "pt"})  # which transformers asks for


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
