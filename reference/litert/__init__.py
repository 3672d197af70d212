"""TFLite, offline: models converted, read, run on the CPU, compiled for an NPU and emulated."""
