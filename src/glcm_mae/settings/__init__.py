"""Every setting of every stage, with its default: what `--help` shows and recipes fill in.

Nothing here imports anything heavy, so that the command line answers at once.
"""

from glcm_mae.settings.data import (
    DataCheckSettings,
    DataManifestSettings,
    DataSplitSettings,
)
from glcm_mae.settings.measurement import (
    FeaturesSettings,
    MeasurementSettings,
    TextureMapSettings,
)
from glcm_mae.settings.objective import (
    ObjectiveSettings,
    PairSettings,
    TargetSettings,
    TextureSettings,
)
from glcm_mae.settings.reading import (
    DataSettings,
    Size,
    height_and_width,
)
from glcm_mae.settings.results import (
    DemoSettings,
    EvaluateSettings,
)
from glcm_mae.settings.study import (
    CompareSettings,
    CrossvalSettings,
    EngineSettings,
)
from glcm_mae.settings.trained import (
    EmbedSettings,
    ExplainSettings,
    ExportSettings,
    OthersSettings,
    PredictSettings,
    ReconstructSettings,
)
from glcm_mae.settings.training import (
    FACTS,
    AugmentSettings,
    BaselineKind,
    BaselineSettings,
    FinetuneSettings,
    HardwareSettings,
    ModelSettings,
    OptimizerSettings,
    PretrainSettings,
    ProbeSettings,
)

__all__ = [
    "FACTS",
    "AugmentSettings",
    "BaselineKind",
    "BaselineSettings",
    "CompareSettings",
    "CrossvalSettings",
    "DataCheckSettings",
    "DataManifestSettings",
    "DataSettings",
    "DataSplitSettings",
    "DemoSettings",
    "EmbedSettings",
    "EngineSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "ExportSettings",
    "FeaturesSettings",
    "FinetuneSettings",
    "HardwareSettings",
    "MeasurementSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "OptimizerSettings",
    "OthersSettings",
    "PairSettings",
    "PredictSettings",
    "PretrainSettings",
    "ProbeSettings",
    "ReconstructSettings",
    "Size",
    "TargetSettings",
    "TextureMapSettings",
    "TextureSettings",
    "height_and_width",
]
