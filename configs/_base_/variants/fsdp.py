# Fully sharded data parallel (PyTorch's FSDP through mmengine's FlexibleRunner): each process keeps its share of the
# gradients and of the optimiser's state (AdamW: 8 bytes a parameter); checkpoints are whole and load everywhere.
# Buys: memory, which grows with the number of processes; training is that of DistributedDataParallel.
# Costs: weights are gathered in each iteration. The backbones here (at most 103 M parameters: 0.8 GB of AdamW state)
# fit on any GPU without it; it is for larger networks. Needs several processes:
#   tools/dist_train.sh CONFIG GPUS --variant fsdp
# The network is one unit: detectors call parts of their heads by other methods than forward, which FSDP cannot see.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='mmtrtvit.ResumableFSDPStrategy',
    model_wrapper=dict(type='MMFullyShardedDataParallel', sharding_strategy='SHARD_GRAD_OP', use_orig_params=True),
    state_dict_cfg='full',
)
