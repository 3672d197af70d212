"""What the user sees of the verdicts."""
