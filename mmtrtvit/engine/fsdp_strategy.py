"""FSDP whose checkpoints can be resumed by every PyTorch that runs it."""

from mmengine._strategy import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from ..registry import STRATEGIES


@STRATEGIES.register_module()
class ResumableFSDPStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy`` with a resume that works.

    mmengine passes arguments to PyTorch in an order that was valid before PyTorch 2.1. Arguments are those of
    mmengine's.
    """

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the optimiser's state, which is whole or of this process, into this process's share."""
        self.optim_wrapper.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(
                model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
            )
        )
