"""The segmentation track: input preparation."""
