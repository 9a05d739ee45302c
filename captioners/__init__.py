"""Facts, views, prompt, text, check.

Belongs here: what turns a labelled chip into verified words; llm.py alone talks to a network.
Does not: the making of labels.
"""
