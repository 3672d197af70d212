"""Mends what keeps an ONNX model from its contract; each mender is beside its rule."""
