"""Parity: one model in PyTorch, in ONNX and on the emulated NPU must give the same answers."""
