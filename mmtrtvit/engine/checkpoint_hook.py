"""Checkpoints that appear whole or not at all, however the run ends."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook

from ..atomic import atomic_file
from ..registry import HOOKS

UNFINISHED = '.unfinished.'
"""Prefix of a checkpoint's name while it is written."""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():  # sharded and DeepSpeed checkpoints
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if is_main_process():
            _remove(path)
        raise


class _WholeCheckpoints:
    """A runner whose ``save_checkpoint`` writes under another name and renames complete checkpoints."""

    def __init__(self, runner) -> None:
        self._runner = runner

    def __getattr__(self, name: str):
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        unfinished, path = Path(out_dir, f'{UNFINISHED}{filename}'), Path(out_dir, filename)
        with _removed_on_failure(unfinished):
            self._runner.save_checkpoint(out_dir, unfinished.name, *args, **kwargs)
        # every process may have written a part of it
        barrier()
        if is_main_process():
            if path.is_dir():  # cannot be replaced in one step
                _remove(path)
            unfinished.replace(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` for local folders, in an order that survives a kill at any moment.

    A checkpoint is written under another name and renamed when it is complete; ``last_checkpoint`` names it only
    then, and is itself replaced as a whole; outdated checkpoints are removed at the very end. mmengine writes in place,
    and removes the old checkpoint first: with ``max_keep_ckpts=1`` a run killed in that moment would lose everything.

    Arguments are those of :class:`mmengine.hooks.CheckpointHook`, except that ``out_dir`` must be local.
    """

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if is_main_process():
            for left_over in Path(self.out_dir).glob(f'{UNFINISHED}*'):
                _remove(left_over)

    def _save_checkpoint(self, runner) -> None:
        super()._save_checkpoint(_WholeCheckpoints(runner))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        super()._save_best_checkpoint(_WholeCheckpoints(runner), metrics)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids.append(step)  # a deque that drops the oldest by itself
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            with atomic_file(Path(runner.work_dir) / 'last_checkpoint') as temporary:
                temporary.write_text(self.last_ckpt)
            for old in outdated:
                _remove(Path(self.out_dir, self.filename_tmpl.format(old)))
