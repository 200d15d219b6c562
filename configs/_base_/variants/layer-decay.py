# Layer-wise learning-rate decay: layers after the backbone's n blocks learn at the full rate, the last block at 0.9
# times the rate, the stem at 0.9 ** (n + 1) times.
# Buys: pretrained weights of early layers are kept; usual for fine-tuning Transformers. Costs: one parameter group for
# each parameter, a few milliseconds an iteration. Useless from scratch, where early layers have everything to learn.
optim_wrapper = dict(
    constructor='mmtrtvit.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay=0.9),
)
