"""Qualcomm's NPU compiler and emulator, offline: an ONNX model for a device, and its answers."""
