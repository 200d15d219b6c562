"""Candidates of a measurement: a network, how it runs, and on which input."""

from .artefacts import end_to_end_candidate, engine_candidate
from .candidate import PYTORCH, Candidate, Loaded, Workshop
from .pytorch import MODES, PYTORCH_PRECISIONS, network_candidate, pytorch_candidate
from .sessions import engine_call, session_candidate

__all__ = [
    'MODES',
    'PYTORCH',
    'PYTORCH_PRECISIONS',
    'Candidate',
    'Loaded',
    'Workshop',
    'end_to_end_candidate',
    'engine_call',
    'engine_candidate',
    'network_candidate',
    'pytorch_candidate',
    'session_candidate',
]
