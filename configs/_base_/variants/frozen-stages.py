# Stem and first stage are frozen, and every BatchNorm of the backbone keeps its statistics: the form in which
# Next-ViT's official detection configs fine-tune.
# Buys: memory and time of the first stage's backward pass, and statistics that are better than those of two images.
# Costs: accuracy, unless the backbone has pretrained weights: frozen layers stay random.
model = dict(backbone=dict(frozen_stages=1, norm_eval=True))
