"""params.yaml -> one frozen typed object per section.

Checked whole, before anything heavy is imported: an unknown, missing or wrong value is named as `section.key`
with what stands there and what is allowed. The names of variants are read from the literal dict in their
folder's `__init__.py`, so a new variant needs no line here.
"""

from stages.params.answers import ANSWERED
from stages.params.datasets import (
    Cifar10BrownParams,
    Columns,
    DatasetBase,
    DatasetParams,
    DownloadParams,
    EasyVqaParams,
    Flickr8kParams,
    GridParams,
    ImageFolderParams,
    PrepareParams,
    RavdessParams,
    ScenesParams,
    SpokenDigitsParams,
    TableParams,
    TweetsParams,
    Ucf101Params,
    VqaRadParams,
)
from stages.params.encoders import BackboneParams, Encoders, HuggingFaceEncoderParams, LoraParams
from stages.params.experiments import ExperimentBase, Inputs, LanguageModelParams, TrainParams
from stages.params.features import (
    FeaturesParams,
    HuggingFaceParams,
    LogMelParams,
    PixelsParams,
    TokensParams,
    TorchvisionParams,
    Utf8Params,
    column_of,
)
from stages.params.inits import differing, wrong_inits
from stages.params.load import Params, load_params, wrong_names
from stages.params.production import EvaluateParams, RegisterParams, RetrainParams, ServeParams
from stages.params.section import NONE, BaseParams, Section, variant_names
from stages.params.tasks import (
    CaptionParams,
    ClassifyParams,
    ExperimentParams,
    LabelPrompts,
    MatchParams,
    RetrieveParams,
    TranscribeParams,
    TranslateParams,
    VqaParams,
    experiment_params,
)

__all__ = [
    "ANSWERED",
    "BackboneParams",
    "BaseParams",
    "CaptionParams",
    "Cifar10BrownParams",
    "ClassifyParams",
    "Columns",
    "DatasetBase",
    "DatasetParams",
    "DownloadParams",
    "EasyVqaParams",
    "Encoders",
    "EvaluateParams",
    "ExperimentBase",
    "ExperimentParams",
    "FeaturesParams",
    "Flickr8kParams",
    "GridParams",
    "HuggingFaceEncoderParams",
    "HuggingFaceParams",
    "ImageFolderParams",
    "Inputs",
    "LabelPrompts",
    "LanguageModelParams",
    "LogMelParams",
    "LoraParams",
    "MatchParams",
    "NONE",
    "Params",
    "PixelsParams",
    "PrepareParams",
    "RavdessParams",
    "RegisterParams",
    "RetrainParams",
    "RetrieveParams",
    "ScenesParams",
    "Section",
    "ServeParams",
    "SpokenDigitsParams",
    "TableParams",
    "TokensParams",
    "TorchvisionParams",
    "TrainParams",
    "TranscribeParams",
    "TranslateParams",
    "TweetsParams",
    "Ucf101Params",
    "Utf8Params",
    "VqaParams",
    "VqaRadParams",
    "column_of",
    "differing",
    "experiment_params",
    "load_params",
    "variant_names",
    "wrong_inits",
    "wrong_names",
]
