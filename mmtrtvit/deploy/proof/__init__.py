"""The proof of an artefact: that it finds, scores and costs what its report says, beside PyTorch."""
