"""Exit codes and error lines that all scripts share."""

import pytest

from scripts.entry import run


def fails(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("got 3,\n  expected 4"), "error: got 3, expected 4"),
        (FileNotFoundError(2, "No such file or directory", "x.npz"), "'x.npz'"),
        (ValueError(), "error: ValueError"),
    ],
)
def test_an_error_of_the_user_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.delenv("UPDATE_RULES_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as exit_:
        run(lambda: fails(error))
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert line in captured.err


def test_other_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for main, code in ((lambda: 0, 0), (lambda: 1, 1), (lambda: fails(KeyboardInterrupt()), 130)):
        with pytest.raises(SystemExit) as exit_:
            run(main)
        assert exit_.value.code == code
    with pytest.raises(RuntimeError, match="a bug keeps its traceback"):
        run(lambda: fails(RuntimeError("a bug keeps its traceback")))
    monkeypatch.setenv("UPDATE_RULES_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shown in full"):
        run(lambda: fails(ValueError("shown in full")))
