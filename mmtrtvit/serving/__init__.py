"""Serving an artefact: uploads that are checked, and a model repository for Triton."""

from .uploads import decode_upload

__all__ = ['decode_upload']
