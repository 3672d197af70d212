"""What the participant brings: files opened, their graphs read, and what is known of operators."""
