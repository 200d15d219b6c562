# Layer-wise learning-rate decay: what follows the backbone's n blocks learns at the full rate, the last block 0.9 times
# as fast, the stem 0.9 ** (n + 1) times.
# Buys: pretrained weights of early layers are kept; usual for fine-tuning Transformers. Costs: one parameter group for
# each parameter, a few milliseconds an iteration. Useless from scratch, where early layers have everything to learn.
optim_wrapper = dict(
    constructor='mmtrtvit.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay=0.9),
)
