"""The paper's study with this project's own tools: blocks, networks, guidelines, accuracy from scratch, and modules."""
