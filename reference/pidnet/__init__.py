"""The pidnet track: input preparation and reference model."""
