"""The reference model and its gates.

Belongs here: model, data, training, gates, readable in two sittings.
Does not: anything else; it reads a dataset through shards, as a stranger's training code would.
"""
