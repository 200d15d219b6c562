"""Users' own data: readers of the usual formats, and conversion to the layouts of COCO and ADE20K."""

from .convert import FORMATS, Converted, convert_dataset

__all__ = ['FORMATS', 'Converted', 'convert_dataset']
