"""The pages of the local AI Hub: its jobs, models and data sets, for a person to read."""
