"""Progress: one line on a terminal, lines without carriage returns elsewhere."""

import io

from mmtrtvit.prediction import progress
from mmtrtvit.prediction.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, stream, total):
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, 'monotonic', lambda: float(next(clock)))
    shown = Progress(total, stream)
    for done in range(25):
        shown.update(done, 0)
    shown.close(24, 2)
    return stream.getvalue()


def test_a_terminal_has_one_line(monkeypatch):
    text = run(monkeypatch, Terminal(), 30)
    assert text.count('\n') == 1 and text.endswith('\n') and text.count('\r') == 26
    assert '26 of 30 images' in text and '2 skipped' in text


def test_a_pipe_has_few_lines(monkeypatch):
    text = run(monkeypatch, io.StringIO(), None)
    assert '\r' not in text and text.count('\n') == 3  # every ten seconds, and in the end
    assert text.splitlines()[-1].startswith('26 images, ')
