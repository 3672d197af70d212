"""Scores submissions on a data set: a session a worker, results in a file, one process or many."""
