"""The proof of an artefact: its accuracy and latency compared with PyTorch."""
