"""How files are brought: whole, checked, from where they can be had, and only once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import Server, serving

from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe
from tasks.data.recipes.fetching import fetch
from tasks.data.recipes.registry import RECIPES, find_recipe, recipe_that_brings
from tasks.data.recipes.stored import build, checksum, state
from unsupervised_update_rules.commands import get_data as script

CONTENT = bytes(range(256)) * 4096
REFUSED = "http://127.0.0.1:9/"
"""An address where nobody listens."""


@contextmanager
def quiet(description, total):
    yield lambda more: None


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"a": CONTENT, "b": b"other"}) as server:
        yield server


def sizes(files: Files, progress: Progress) -> Products:
    return {"toy": {"x": np.array([[len(path.read_bytes())] for path in files.values()], np.float32)}}


def recipe(*ways: tuple[Download, ...]) -> Recipe:
    return Recipe("sizes of files", "none", "nobody", ("toy",), ways, sizes)


def test_a_file_comes_from_the_first_address_that_has_it(tmp_path: Path, server: Server) -> None:
    file = server.download("a", REFUSED, server.address + "gone")
    assert fetch("toy", [[file]], tmp_path, quiet)["a"].read_bytes() == CONTENT
    assert [name for name, _ in server.asked] == ["gone", "a"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    files = [server.download("a"), server.download("b")]
    fetch("toy", [files[:1]], tmp_path, quiet)
    fetch("toy", [files], tmp_path, quiet)
    assert server.asked == [("a", None), ("b", None)]
    (tmp_path / "a").write_bytes(CONTENT[:-1])
    assert fetch("toy", [files], tmp_path, quiet)["a"].read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on_where_the_server_can(tmp_path: Path, server: Server, ranges: bool) -> None:
    server.broken, server.ranges = 1, ranges
    assert fetch("toy", [[server.download("a")]], tmp_path, quiet)["a"].read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", f"bytes={len(CONTENT) // 2}-")]


def test_what_is_left_of_a_run_that_was_killed_is_used_by_the_next(tmp_path: Path, server: Server) -> None:
    server.broken = 2
    with pytest.raises(OSError, match=r"^cannot fetch toy: http://127.0.0.1:\d+/a broke off$"):
        fetch("toy", [[server.download("a")]], tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]
    assert fetch("toy", [[server.download("a")]], tmp_path, quiet)["a"].read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_longer_rest_of_another_file_is_thrown_away(tmp_path: Path, server: Server) -> None:
    (tmp_path / "b.part").write_bytes(CONTENT)
    assert fetch("toy", [[server.download("b")]], tmp_path, quiet)["b"].read_bytes() == b"other"


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path, server: Server) -> None:
    wrong = server.download("a", content=b"another")
    with pytest.raises(OSError, match=r"/a gave other bytes than its checksum says$"):
        fetch("toy", [[wrong]], tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_the_next_way_is_taken_and_why_none_can_be_is_told(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Download("gone", (server.address + "gone", REFUSED))
    assert fetch("toy", [[gone], [server.download("b")]], tmp_path, quiet)["b"].read_bytes() == b"other"
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Download("p.tgz", ("npm:nothing@1.0.0",))
    with pytest.raises(OSError, match=r"cannot be reached; npm is not installed, which fetches npm:nothing@1\.0\.0$"):
        fetch("toy", [[gone], [package]], tmp_path, quiet)


def test_optional_files_may_be_missing_but_not_all(tmp_path: Path, server: Server) -> None:
    gone = Download("gone", (server.address + "gone",), optional=True)
    assert list(fetch("toy", [[gone, server.download("b")]], tmp_path, quiet)) == ["b"]
    with pytest.raises(OSError, match="none of 1 files can be had"):
        fetch("toy", [[gone]], tmp_path, quiet)


def test_a_data_set_is_built_once_kept_if_whole_and_built_again_if_damaged(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe((server.download("a"), server.download("b")))
    assert script.bring("toy", made, tmp_path) == f"wrote {tmp_path / 'toy.npz'} (toy 2 entries)"
    assert "sizes of files; licence: none" in capsys.readouterr().out
    told = json.loads((tmp_path / "toy.json").read_text())
    assert set(told["fetched"]) == {"a", "b"}
    with np.load(tmp_path / "toy.npz") as arrays:
        assert arrays["x"].tolist() == [[len(CONTENT)], [5]]
        assert told["built"]["arrays"] == checksum(dict(arrays))
    assert script.bring("toy", made, tmp_path).endswith("toy.npz already there")
    whole = (tmp_path / "toy.npz").read_bytes()
    (tmp_path / "toy.npz").write_bytes(whole[:-1])
    assert state("toy", tmp_path) == "damaged"
    assert script.bring("toy", made, tmp_path).startswith("wrote ")
    assert (tmp_path / "toy.npz").read_bytes() == whole
    np.savez(tmp_path / "toy.npz", x=np.zeros(3))
    assert state("toy", tmp_path) == "your own"
    (tmp_path / "toy.json").write_text('{"made by": "me"}')
    assert state("toy", tmp_path) == "your own"
    (tmp_path / "toy.json").unlink()
    assert "left as it is" in script.bring("toy", made, tmp_path)
    assert len(server.asked) == 2


def test_what_is_built_must_be_what_the_recipe_says(tmp_path: Path, server: Server) -> None:
    made = replace(recipe((server.download("a"),)), sha256={"toy": "0"})
    with pytest.raises(ValueError, match=r"^toy: built with checksum [0-9a-f]{64}, expected 0$"):
        build("toy", made, tmp_path, quiet)
    assert state("toy", tmp_path) == "missing"


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"x\.tgz: not an archive that can be read, delete it to fetch it again$"):
        list(read_members(path, ".*"))


def test_every_recipe_says_what_it_is_and_where_from() -> None:
    for name in RECIPES:
        made = find_recipe(name)
        assert made.summary
        assert made.licence
        assert made.citation
        assert name in made.products
        assert all(recipe_that_brings(product) == name for product in made.products)
        for way in made.ways:
            assert all(download.name and download.addresses for download in way)
    with pytest.raises(
        ValueError, match=r"got data set 'stroke', expected one of mnist, .* \(did you mean strokes\?\)"
    ):
        find_recipe("stroke")


def test_the_command_lists_and_says_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPDATE_RULES_DATA", str(tmp_path))
    assert script.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)
    assert "missing" in listed
    for words in ([], ["mnist", "--list"]):
        with pytest.raises(ValueError, match="expected names of data sets, all or --list"):
            script.main(words)
    (tmp_path / "mnist.npz").write_bytes(b"a file of one's own")
    assert script.main(["mnist"]) == 0
    assert (tmp_path / "mnist.npz").read_bytes() == b"a file of one's own"
