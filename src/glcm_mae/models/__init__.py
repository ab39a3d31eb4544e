"""The vision transformer, its masked autoencoder and classifier, and the pre-training objective."""

from .classifier import Classifier, pool_tokens
from .config import EncoderConfig, read_config
from .mae import MaskedAutoencoder, Reconstruction
from .normalization import normalization_beside
from .objective import Loss, Objective, Weights
from .occlusion import log_odds_without, occlusion_maps
from .patches import patchify, spread_mask, unpatchify
from .texture_head import TextureHead
from .vit import SIZES, Encoder
from .weights import (
    fill_decoder,
    fill_head,
    fill_weights,
    load_encoder,
    run_of,
    save_encoder,
    write_tensors,
)

__all__ = [
    "SIZES",
    "Classifier",
    "Encoder",
    "EncoderConfig",
    "Loss",
    "MaskedAutoencoder",
    "Objective",
    "Reconstruction",
    "TextureHead",
    "Weights",
    "fill_decoder",
    "fill_head",
    "fill_weights",
    "load_encoder",
    "log_odds_without",
    "normalization_beside",
    "occlusion_maps",
    "patchify",
    "pool_tokens",
    "read_config",
    "run_of",
    "save_encoder",
    "spread_mask",
    "unpatchify",
    "write_tensors",
]
