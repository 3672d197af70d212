"""The retrieval track: input preparation and reference model."""
