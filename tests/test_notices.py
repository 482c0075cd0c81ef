"""What readers say about data that they did not take as it stood."""

import subprocess
import sys

import numpy as np
import pytest

from common.notice import Notice
from tasks.data.raw import RawData, to_dataset


def test_examples_without_a_label_are_left_out_of_tasks_and_said_so():
    raw = RawData("here", np.eye(4, dtype=np.float32), np.array([1, -1, 0, 1]), ("a", "b"), ids=np.array(list("pqrs")))
    with pytest.warns(Notice, match="1 of 4 examples have no label: left out"):
        dataset = to_dataset(raw, None)
    assert dataset.y.tolist() == [1, 0, 1]
    assert dataset.x.tolist() == np.eye(4)[[0, 2, 3]].tolist()


def test_commands_print_notices_as_one_line_and_other_warnings_as_ever():
    code = (
        "import warnings; from common.notice import notice, show_notices; show_notices();"
        "notice('two rows left out'); warnings.warn('odd');"
        "warnings.simplefilter('always'); notice('two rows left out')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.splitlines()[0] == "note: two rows left out"
    assert said.count("note: two rows") == 1
    assert "UserWarning: odd" in said
