"""The nouns that every room speaks.

Belongs here: recipe, grid cell, chip spec, scene ref, sensor profile, legend, records, errors; YAML and CSV tables.
Does not: reading and writing, pixels, Prefect.
"""
