"""TensorRT and TensorRT for RTX: which versions are supported, and a session that runs their engines."""
