"""Weak labels: arrays and vectors in, class ids and confidence out.

Belongs here: one file per product, the crosswalk between legends, fusion.
Does not: reading and writing.
"""
