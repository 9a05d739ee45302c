"""Where pixels and vectors come from.

Belongs here: catalogs (STAC API, stac-geoparquet, static), signing, one file per sensor, OpenStreetMap.
Does not: labels, captions.
"""
