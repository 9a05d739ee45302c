"""Imported before all else, and for that alone, by the process of which workers are forked: see `flows.forking`."""

from flows.collector import collect_seldom

collect_seldom()
