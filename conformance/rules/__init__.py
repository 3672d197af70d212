"""The rulebook: one file a track and three that tracks share, one decorated function a rule."""
