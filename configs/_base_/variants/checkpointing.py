# Gradient checkpointing: the backbone keeps the input of each block only, and computes the rest again in the backward
# pass.
# Buys: memory for activations. Costs: a second forward pass of the backbone. The result is the same.
model = dict(backbone=dict(with_cp=True))
