"""Measures vector search libraries of PyPI against Chassis; `run.py` beside this folder is the way in."""
