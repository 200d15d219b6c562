# Exponential moving average: testing and checkpoints take the mean of the weights of about the last 10,000 iterations.
# Buys: accuracy in long trainings (300 epochs of ImageNet have 375,000 iterations of 1024 images). Costs: the memory of
# another copy of the weights, and one pass over them an iteration. Useless in a training of fewer iterations than the
# mean is over: lower `momentum` numbers look further back, 2e-4 over 5,000.
custom_hooks = [dict(type='EMAHook', momentum=1e-4)]
