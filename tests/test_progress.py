"""Progress: plain lines for a file, a live bar for a terminal."""

import io
import re

import pytest

from outer_loop.run.progress import OuterProgress, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def run(stream, total=6, initial=2):
    with OuterProgress(total, initial, stream) as progress:
        progress.message("resuming [at] step 2")
        for step in range(initial + 1, total + 1):
            progress.update(step, meta_loss=1 / step, accuracy=step / 10)


def test_a_file_gets_lines_for_the_first_and_the_last_step():
    stream = io.StringIO()
    run(stream)
    message, first, last = stream.getvalue().splitlines()
    assert message == "resuming [at] step 2"
    figures = r", meta-loss (\S+), accuracy (\S+), (\S+) steps/s, (\S+) left"
    assert re.fullmatch("outer step 3/6" + figures, first).groups()[:2] == ("0.3333", "0.300")
    assert re.fullmatch("outer step 6/6" + figures, last).groups()[:2] == ("0.1667", "0.600")
    assert last.endswith(" 0:00:00 left")


def test_a_file_gets_lines_that_are_some_time_apart(monkeypatch):
    monkeypatch.setattr("outer_loop.run.progress.LINE_EVERY_S", 0.0)
    stream = io.StringIO()
    run(stream)
    assert re.findall(r"outer step (\d)/6", stream.getvalue()) == ["3", "4", "5", "6"]


def test_speed_and_time_left_count_from_where_the_run_was_resumed(monkeypatch):
    clock = iter(range(100, 1000, 2))
    monkeypatch.setattr("outer_loop.run.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with OuterProgress(12, 2, stream) as progress:
        progress.update(3, 1.0, 1.0)
    assert stream.getvalue().endswith(", 0.50 steps/s, 0:00:18 left\n")


@pytest.mark.usefixtures("wide")
def test_a_terminal_gets_a_bar_with_the_same_figures():
    stream = Terminal()
    run(stream)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "resuming [at] step 2\n" in text
    last = text[text.rindex("outer step") :]
    assert re.search(r"outer step 6/6 ━+ meta-loss 0\.1667, accuracy 0\.600, \S+ steps/s, 0:00:00 left", last)
    assert stream.getvalue().endswith("\x1b[?25h"), "the cursor is back"


@pytest.mark.usefixtures("wide")
def test_the_bar_is_taken_down_when_the_run_fails():
    def failing(stream):
        with OuterProgress(3, 0, stream):
            raise ValueError("diverged")

    stream = Terminal()
    with pytest.raises(ValueError, match="diverged"):
        failing(stream)
    assert stream.getvalue().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (90061, "25:01:01")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("columns", "wanted"), [(60, r"6/6 ━+ loss 0\.167, acc 0\.600, 0:00:00"), (80, r"6/6 ━+ loss .* left")]
)
def test_the_bar_fits_into_a_narrow_terminal(monkeypatch, columns, wanted):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    run(stream)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    drawn = [line for line in re.split(r"[\r\n]", text) if "━" in line]
    assert max(map(len, drawn)) <= columns
    assert re.search(wanted, drawn[-1]), drawn[-1]
    assert "…" not in drawn[-1]


def test_a_validation_is_a_line_with_the_best_so_far():
    stream = io.StringIO()
    with OuterProgress(6, 0, stream) as progress:
        for step, accuracy in ((2, 0.5), (4, 0.4), (6, 0.5)):
            found = {f"valid/digits/accuracy@{k}": accuracy - 0.1 * (k == 0) for k in (0, 10)}
            how = {"train/glyphs/accuracy@10": 0.9, "valid_accuracy": accuracy, "best_valid_accuracy": 0.5}
            progress.validated(step, {**found, **how})
    assert stream.getvalue().splitlines() == [
        "validation after outer step 2: digits 50.0 %; the best so far",
        "validation after outer step 4: digits 40.0 %; best so far 50.0 %",
        "validation after outer step 6: digits 50.0 %; as good as the best so far, which stays",
    ]


def test_an_index_is_not_told_in_percent():
    stream = io.StringIO()
    with OuterProgress(6, 0, stream, index=True) as progress:
        found = {"valid/rings/accuracy@10": -0.012, "valid_accuracy": -0.012, "best_valid_accuracy": 0.4567}
        progress.validated(2, found)
    assert stream.getvalue() == "validation after outer step 2: rings -0.012; best so far 0.457\n"


def test_a_validation_by_labels_and_probes_is_a_table():
    found = {"valid/digits/accuracy@5": 0.5, "valid_accuracy": 0.55, "best_valid_accuracy": 0.55}
    reads = {"1 label/ridge": 0.4, "10 labels/ridge": 0.6, "1 label/prototype": 0.5, "10 labels/prototype": 0.7}
    found |= {f"valid/digits/{name}": value for name, value in reads.items()}
    found |= {f"far/a/b c@x/{name}": value / 2 for name, value in reads.items()}
    found |= {f"train/glyphs/{name}": 0.9 for name in reads}
    stream = io.StringIO()
    with OuterProgress(6, 0, stream) as progress:
        progress.validated(0, found)
    assert stream.getvalue().splitlines() == [
        "validation before the first outer step: 55.0 %; the best so far",
        "             1 ridge 10 ridge 1 prototype 10 prototype",
        "digits          40.0     60.0        50.0         70.0",
        "a/b c@x, far    20.0     30.0        25.0         35.0",
    ]
