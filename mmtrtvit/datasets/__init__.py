"""Data sets and their transforms: only what mmdet, mmseg and mmengine lack."""
