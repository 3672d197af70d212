"""Runs models in a child process: one adapter a runtime, one small protocol for all."""
