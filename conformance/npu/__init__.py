"""The suite of the NPU: compiled by Qualcomm's own compiler, answered by its emulator."""
