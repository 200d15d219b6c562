"""The version of mmtrtvit, in the one place where setup, package and documentation read it."""

__version__ = '0.1.0'
