"""Pictures: predictions beside the truth, and what a data pipeline feeds a network."""

from .batches import browse
from .predictions import visualize
from .sheet import Panel, draw_sheet, draw_side_by_side

__all__ = ['Panel', 'browse', 'draw_sheet', 'draw_side_by_side', 'visualize']
