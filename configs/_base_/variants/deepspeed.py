# DeepSpeed's ZeRO stage 2 through mmengine's FlexibleRunner: each process keeps its share of the gradients and of the
# optimiser's state. In float32: RoIAlign has no bfloat16, and boxes need more than float16. Not run by any test here.
# Buys: the same as `--variant fsdp`, and DeepSpeed's own settings (strategy.zero_optimization, strategy.config).
# Costs: another package (pip install deepspeed; GPUs only); a checkpoint is a folder, from which only the same number
# of processes can go on (best_*.pth is an ordinary file); gradients are clipped by strategy.gradient_clipping, since
# DeepSpeedOptimWrapper has no clip_grad. Needs several processes:
#   tools/dist_train.sh CONFIG GPUS --variant deepspeed
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(
        stage=2,
        allgather_partitions=True,
        reduce_scatter=True,
        overlap_comm=True,
        contiguous_gradients=True,
    ),
)
optim_wrapper = dict(type='DeepSpeedOptimWrapper')
