"""Building the engine of a backend from an ONNX file."""
