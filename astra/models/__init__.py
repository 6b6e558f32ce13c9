"""The models, in the order in which their tables are made."""

from __future__ import annotations

from astra.models.apogee import (
    ApogeeCoaddedSpectrumInApStar,
    ApogeeCombinedSpectrum,
    ApogeeRestFrameVisitSpectrum,
    ApogeeVisitSpectrum,
    ApogeeVisitSpectrumInApStar,
)
from astra.models.apogee_net import ApogeeNet
from astra.models.aspcap import ASPCAP
from astra.models.astronn import AstroNN
from astra.models.astronn_dist import AstroNNdist
from astra.models.base import BaseModel
from astra.models.best import Best, MWMBest
from astra.models.boss import (
    BossCombinedSpectrum,
    BossRestFrameVisitSpectrum,
    BossVisitSpectrum,
)
from astra.models.boss_net import BossNet
from astra.models.corv import Corv
from astra.models.ledger import IngestedChunk, IngestedTable, IngestRun
from astra.models.line_forest import LineForest
from astra.models.mdwarf_type import MDwarfType
from astra.models.pipeline import PipelineOutputMixin, PixelOutputMixin
from astra.models.rocket import Rocket
from astra.models.slam import Slam
from astra.models.snow_white import SnowWhite
from astra.models.source import Source
from astra.models.spectrum import Spectrum, SpectrumMixin, SpectrumModel
from astra.models.the_cannon import TheCannon
from astra.models.the_payne import ThePayne

spectrum_models: tuple[type[SpectrumModel], ...] = (
    ApogeeVisitSpectrum,
    ApogeeVisitSpectrumInApStar,
    ApogeeCoaddedSpectrumInApStar,
    ApogeeRestFrameVisitSpectrum,
    ApogeeCombinedSpectrum,
    BossVisitSpectrum,
    BossRestFrameVisitSpectrum,
    BossCombinedSpectrum,
)
result_models: tuple[type[PipelineOutputMixin], ...] = (
    ASPCAP,
    ApogeeNet,
    AstroNN,
    AstroNNdist,
    BossNet,
    Corv,
    LineForest,
    MDwarfType,
    MWMBest,
    Rocket,
    Slam,
    SnowWhite,
    TheCannon,
    ThePayne,
)
ledger_models: tuple[type[BaseModel], ...] = (IngestRun, IngestedTable, IngestedChunk)
models: tuple[type[BaseModel], ...] = (
    Source,
    Spectrum,
    *spectrum_models,
    *result_models,
    *ledger_models,
)

__all__ = [
    "ASPCAP",
    "ApogeeCoaddedSpectrumInApStar",
    "ApogeeCombinedSpectrum",
    "ApogeeNet",
    "ApogeeRestFrameVisitSpectrum",
    "ApogeeVisitSpectrum",
    "ApogeeVisitSpectrumInApStar",
    "AstroNN",
    "AstroNNdist",
    "BaseModel",
    "Best",
    "BossCombinedSpectrum",
    "BossNet",
    "BossRestFrameVisitSpectrum",
    "BossVisitSpectrum",
    "Corv",
    "IngestRun",
    "IngestedChunk",
    "IngestedTable",
    "LineForest",
    "MDwarfType",
    "MWMBest",
    "PipelineOutputMixin",
    "PixelOutputMixin",
    "Rocket",
    "Slam",
    "SnowWhite",
    "Source",
    "Spectrum",
    "SpectrumMixin",
    "SpectrumModel",
    "TheCannon",
    "ThePayne",
    "find",
    "ledger_models",
    "models",
    "result_models",
    "spectrum_models",
]

_BY_NAME: dict[str, type[BaseModel]] = {
    **{model.__name__.lower(): model for model in models},
    "best": MWMBest,
}


def find(name: str) -> type[BaseModel] | None:
    """Return the model of this name, whatever the case of its letters; None if there is none."""
    return _BY_NAME.get(name.lower())
