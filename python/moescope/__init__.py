"""Reads what moescope records of the routing of Mixture-of-Experts models, with numpy alone.

    import moescope
    import numpy as np

    trace = moescope.open("run.moetrace")
    ids = trace.layers[3].ids                               # [rows, k]
    count = np.bincount(ids.ravel(), minlength=trace.layers[3].n_expert)

docs/python.md says what there is.
"""

from ._records import AccessEntry, AccessList, BlockCounts, Counts, MemoryEvent, ModelInfo, TraceInfo
from .block import Block
from .errors import TraceError
from .profile import CorpusPart, Profile, ProfileBlock, open_profile
from .rows import RowColumns
from .tokens import Tokens
from .trace import Trace
from .trace import open_trace as open
from .ubatch import Ubatch, UbatchBlock

__version__ = "0.1.0"

__all__ = [
    "AccessEntry",
    "AccessList",
    "Block",
    "BlockCounts",
    "CorpusPart",
    "Counts",
    "MemoryEvent",
    "ModelInfo",
    "Profile",
    "ProfileBlock",
    "RowColumns",
    "Tokens",
    "Trace",
    "TraceError",
    "TraceInfo",
    "Ubatch",
    "UbatchBlock",
    "open",
    "open_profile",
]
