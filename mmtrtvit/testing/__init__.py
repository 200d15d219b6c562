"""Inputs and untrained networks to test and measure with."""
