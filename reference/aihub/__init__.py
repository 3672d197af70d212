"""A local AI Hub that the official client, qai_hub, cannot tell from the real one."""
