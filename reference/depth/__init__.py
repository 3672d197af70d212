"""The depth track: input preparation and reference model."""
