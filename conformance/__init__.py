"""Holds a submission against the rules of its track: the pytest suite and its plugin."""
