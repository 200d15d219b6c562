"""Users' own data: readers of the usual formats, and conversion to the layouts of COCO and ADE20K."""

from .convert import FORMATS, Converted, convert_dataset
from .folder import OwnData, read_own_data

__all__ = ['FORMATS', 'Converted', 'OwnData', 'convert_dataset', 'read_own_data']
