"""Validation of the predictions of :mod:`mmtrtvit.roofline`: networks, graphs, measuring, rows."""
