"""Benchmarks, one script per row of the targets; each writes ``bench/results/<row>.json``."""
