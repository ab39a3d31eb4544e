"""Our names of weights, those of MAE's release and timm, and those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = dict[str, Tensor]

# Transformers has kept these names in files since its first ViT; all of its versions read them.
_ALONE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.decoder_pos_embed",
    **{
        f"decoder_{part}.{kind}": f"decoder.decoder_{part}.{kind}"
        for part in ("embed", "norm", "pred")
        for kind in ("weight", "bias")
    },
}
_BLOCKS = {"blocks": "encoder.layer", "decoder_blocks": "decoder.decoder_layers"}
_ODD = {"decoder.decoder_encoder.layer": "decoder_blocks"}  # what its version 5 makes of it
_IN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


def to_transformers(weights: Mapping[str, Tensor]) -> Weights:
    """Rename an encoder's weights, and a decoder's, as transformers keeps them in files.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Under our names, those of MAE's release: queries, keys and values in one matrix.

    Returns
    -------
    dict
        Under those of ``ViTModel`` and, of a decoder, of ``ViTMAEForPreTraining``, in whose files
        the encoder's also begin with ``vit.``.

    Examples
    --------
    >>> list(to_transformers({"blocks.0.attn.qkv.bias": torch.arange(6)}))[2]
    'encoder.layer.0.attention.attention.value.bias'
    """
    renamed = {}
    for name, tensor in weights.items():
        block = re.fullmatch(r"(\w*blocks)\.(\d+)\.(.+)\.(weight|bias)", name)
        if block is None:
            renamed[_ALONE[name]] = tensor
            continue
        of, number, part, kind = block.groups()
        fused = part == "attn.qkv"
        parts, tensors = (_QKV, tensor.chunk(3)) if fused else ((_IN_BLOCK[part],), (tensor,))
        for theirs, piece in zip(parts, tensors, strict=True):
            renamed[f"{_BLOCKS[of]}.{number}.{theirs}.{kind}"] = piece
    return renamed


def from_transformers(weights: Weights) -> Weights:
    """Rename weights of a file of transformers' as MAE's release names them.

    Parameters
    ----------
    weights : dict
        Of a file. If they are not of a ViT of transformers, they stay as they are, and so does
        what has no name here (a pooler, a head).

    Returns
    -------
    dict

    Examples
    --------
    >>> theirs = {"vit.embeddings.patch_embeddings.projection.bias": torch.zeros(4)}
    >>> list(from_transformers(theirs))
    ['patch_embed.proj.bias']
    """
    plain = {name.removeprefix("vit."): tensor for name, tensor in weights.items()}
    if not any(name.startswith("embeddings.patch_embeddings.") for name in plain):
        return weights
    ours = {theirs: name for name, theirs in (_ALONE | _IN_BLOCK).items()}
    blocks = {theirs: name for name, theirs in _BLOCKS.items()} | _ODD
    found = re.compile(rf"({'|'.join(map(re.escape, blocks))})\.(\d+)\.(.+)\.(weight|bias)")
    renamed: Weights = {}
    for name, tensor in plain.items():
        block = found.fullmatch(name)
        if block is None:
            renamed[ours.get(name, name)] = tensor
            continue
        of, number, part, kind = block.groups()
        if part == _QKV[0]:
            pieces = [plain.get(f"{of}.{number}.{third}.{kind}") for third in _QKV]
            if any(piece is None for piece in pieces):
                continue  # what is missing is told by the name of the whole
            tensor = torch.cat([piece for piece in pieces if piece is not None])
            part = "attn.qkv"
        elif part in _QKV:
            continue
        renamed[f"{blocks[of]}.{number}.{ours.get(part, part)}.{kind}"] = tensor
    return renamed
