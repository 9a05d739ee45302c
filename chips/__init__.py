"""Geometry and pixels on a grid: arrays in, arrays out.

Belongs here: cells, sampling, splits, read plan, warping, co-registration, screening, rendering.
Does not: opening files, the network.
"""
