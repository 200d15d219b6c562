"""From an ONNX file to what a backend runs."""
