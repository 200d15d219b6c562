"""Run a command line of ``tools/`` as a user does."""

import dataclasses
import importlib.util
import logging
import sys
from collections.abc import Callable

import pytest


@dataclasses.dataclass
class Outcome:
    """What a command left on the screen."""

    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one message that a refused command ends with."""
        assert self.status == 2, (self.status, self.out[-500:], self.err[-3000:])
        assert 'Traceback' not in self.err + self.out, self.err[-3000:]
        before, separator, message = f'\n{self.err}'.partition('\nError: ')
        assert separator and '\nError: ' not in message, self.err[-3000:]
        assert message.count('Fix: ') <= 1 and message.strip()
        return message


@pytest.fixture
def load_tool(root) -> Callable:
    """A script of ``tools/`` as a module."""

    def load(name: str):
        spec = importlib.util.spec_from_file_location(f'{name}_under_test', root / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _write_to_the_screen_of_now() -> None:
    """Mend mmengine's loggers: they outlive the test in which they were made, and the screen that it captured."""
    from mmengine.logging import MMLogger

    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler and handler.stream.closed:
                handler.stream = sys.stdout


@pytest.fixture
def tool(load_tool, monkeypatch, capfd) -> Callable[..., Outcome]:
    """Run a script of ``tools/`` in this process, which saves the seconds that its imports take."""

    def run(name: str, *args) -> Outcome:
        module = load_tool(name)
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, args)])
        capfd.readouterr()
        _write_to_the_screen_of_now()
        try:
            status = module.main()
        except SystemExit as end:  # how argparse ends
            status = end.code
        return Outcome(status, *capfd.readouterr())

    return run


@pytest.fixture
def command(fresh_tool) -> Callable[..., Outcome]:
    """Run a script of ``tools/`` in a process of its own, from another folder than the checkout."""

    def run(name: str, *args, **environment: str) -> Outcome:
        done = fresh_tool(name, *args, **environment)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
