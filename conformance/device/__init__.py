"""Submissions on AI Hub, Qualcomm's or a local one, through the official client alone."""
