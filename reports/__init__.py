"""What people look at: the HTML report, its gallery, quicklooks, tables in the terminal.

Belongs here: turning tables and pictures into a page.
Does not: computing statistics that the manifest should hold.
"""
