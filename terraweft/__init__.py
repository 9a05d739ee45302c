"""The lobby: the public API that downstream code imports, and the command line.

Belongs here: open_dataset, the training stream, reading the environment once, argument parsing.
Does not: logic; that lives in the rooms.
"""
