"""An encoder in the forms in which transformers and timm keep theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .config import EncoderConfig
from .names import to_transformers
from .vit import Encoder
from .weights import packed

Files = dict[str, bytes]


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
            "interpolation": "bilinear",
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


def _size(config: EncoderConfig) -> int | list[int]:
    height, width = config.image_size
    return height if height == width else [height, width]


def _weights(tensors: dict[str, Tensor]) -> bytes:
    return packed(tensors, {"format": "pt"})  # which transformers asks for


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
