"""A simulated region whose truth is known.

Belongs here: the landscape, what each sensor sees of it, files as the providers ship them, loopback servers.
Does not: anything that the pipeline needs; pipeline rooms meet it through STAC alone.
"""
