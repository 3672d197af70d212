"""Keeps the tests of the suite itself out of a gate run: they import PyTorch and take minutes."""

collect_ignore = ["selftest"]
