"""Pictures: predictions beside the truth, batches as a network gets them, sheets of both, heat maps."""

from .batches import browse
from .predictions import visualize
from .sheet import Panel, draw_sheet, draw_side_by_side

__all__ = ['Panel', 'browse', 'draw_sheet', 'draw_side_by_side', 'visualize']
