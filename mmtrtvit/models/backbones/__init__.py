"""Backbones, one file per paper; :mod:`mmtrtvit.models` lists them."""
