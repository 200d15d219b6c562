"""A learned table interpolated once for each size of the input, not in every forward pass."""

from collections.abc import Callable, Hashable

import torch


class LastSize:
    """Keeps a tensor that was computed from a parameter for the last size, while nothing is being trained.

    It keeps one size only: the tensor can be large (attention's bias at 800 x 1344 is 35 MB), and images of one size
    mostly follow each other. The tensor is computed again when the size, the type, the device or the parameter changes,
    and always where gradients are needed or a graph is being recorded: an exported graph holds the computation, so
    it is right for every size. With a static size engines fold it into a constant.

    Copies start empty. The owner calls :meth:`clear` from its ``train()``, for changes that PyTorch does not count
    (``parameter.data.copy_()``, as averaging hooks do before they switch to evaluation).
    """

    def __init__(self) -> None:
        self.kept: tuple[Hashable, torch.Tensor] | None = None

    def __reduce__(self) -> tuple:
        return type(self), ()

    def clear(self) -> None:
        """Forget the tensor."""
        self.kept = None

    def get(self, table: torch.Tensor, key: Hashable, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The result of ``compute()``, from memory where it is the same.

        Args:
            table: The parameter that ``compute`` reads.
            key: Everything else that the result depends on.
            compute: Takes nothing, returns a tensor.
        """
        # `torch.compile` cannot trace `is_inference`, so it is asked last
        recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if recorded or (torch.is_grad_enabled() and table.requires_grad) or table.is_inference():
            return compute()
        key = (key, table.dtype, table.device, table._version)
        kept = self.kept
        if kept is None or kept[0] != key:
            self.kept = kept = (key, compute())
        return kept[1]
