"""Predictions for folders, videos and cameras, written as pictures and tables, with nothing but the runtime."""

from .formats import FORMATS
from .predict import SCORE, Summary, predict
from .sources import find_items

__all__ = ['FORMATS', 'SCORE', 'Summary', 'find_items', 'predict']
