"""The commands as functions: each runs one stage and says where its results lie.

`recipe` is the ``--config`` that was given, as one would type it, for the command to run next.

This is the one place that knows all rooms; they know nothing of each other's order. A stage imports
what it runs only when it runs: every one brings its own heavy libraries.
"""

from glcm_mae.stages.data import data_check, data_manifest, data_split
from glcm_mae.stages.evaluation import evaluate
from glcm_mae.stages.studies import compare, crossval, demo
from glcm_mae.stages.texture import features, texture_map
from glcm_mae.stages.trained import embed, explain, export, predict, reconstruct
from glcm_mae.stages.training import baseline, finetune, pretrain, probe

__all__ = [
    "baseline",
    "compare",
    "crossval",
    "data_check",
    "data_manifest",
    "data_split",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "export",
    "features",
    "finetune",
    "predict",
    "pretrain",
    "probe",
    "reconstruct",
    "texture_map",
]
