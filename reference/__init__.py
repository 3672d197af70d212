"""What the challenge documents describe, executable: tracks, inputs, tokenizer and models."""
