"""Bytes: WebDataset and Zarr writers, the reader, manifest, versions, integrity check.

Belongs here: what turns samples into files, and files into samples again.
Does not: sensors, labels, captions.
"""
