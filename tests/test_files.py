import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder import files
from stepladder.errors import StepladderError


def write_and_fail(path: Path, error: BaseException) -> None:
    with files.writing(path) as draft:
        draft.write_text("half")
        raise error


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert leftovers(path.parent) == []


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for name in ("one", "two"):
        with files.writing(path) as draft:
            draft.mkdir()
            (draft / name).write_text(name)
    assert [item.name for item in path.iterdir()] == ["two"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), ConnectionRefusedError(111, "refused")]
)
def test_a_failing_block_leaves_what_was_there_and_its_own_error(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    with pytest.raises(type(error)) as caught:
        write_and_fail(path, error)
    assert caught.value is error
    assert path.read_text() == "one"
    assert leftovers(tmp_path) == []


def test_a_missing_input_read_in_the_block_is_not_called_a_failure_to_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), files.writing(tmp_path / "a.txt"):
        (tmp_path / "input").read_text()


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    with pytest.raises(StepladderError, match="cannot write: No space left") as caught:
        write_and_fail(path, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.where == str(path)
    assert "free some disk space" in caught.value.remedy
    assert path.read_text() == "one"
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_write_that_the_system_refuses_for_want_of_space_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write() -> None:
        with files.writing(path) as draft:
            draft.symlink_to("/dev/full")
            draft.write_text("x" * 100_000)

    with pytest.raises(StepladderError, match="No space left"):
        write()
    assert not path.exists()


def test_a_place_that_is_a_file_cannot_hold_outputs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StepladderError, match="cannot write") as caught:
        files.write_text(tmp_path / "file" / "a.txt", "y")
    assert "writable place" in caught.value.remedy


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "kept").write_text("x")
    with pytest.raises(StepladderError, match="cannot write"), files.writing(path):
        pass
    assert (path / "kept").read_text() == "x"


WRITER = """
import os, sys
from pathlib import Path
from stepladder import files
replace = files._replace
def die(draft, path, aside):
    if sys.argv[2] == "between the renames":
        path.replace(aside)
        os.kill(os.getpid(), 9)
    replace(draft, path, aside)
files._replace = die
with files.writing(Path(sys.argv[1])) as draft:
    draft.mkdir()
    (draft / "new").write_text("new")
    print("writing", flush=True)
    if sys.argv[2] == "in the block":
        os.kill(os.getpid(), 9)
    if sys.argv[2] == "not yet":
        sys.stdin.read()
"""


def start_writer(path: Path, dies: str) -> subprocess.Popen[str]:
    """Another process that writes a folder at ``path``, and is killed at some point."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), dies],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def write_folder(path: Path, name: str) -> None:
    with files.writing(path) as draft:
        draft.mkdir()
        (draft / name).write_text(name)


def test_what_a_killed_writer_left_is_swept_by_the_next_writer_of_the_same_path(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", "old")
    start_writer(tmp_path / "out", "in the block").wait()
    assert len(leftovers(tmp_path)) == 1
    files.write_text(tmp_path / "out.json", "another output")
    assert len(leftovers(tmp_path)) == 1
    assert (tmp_path / "out/old").read_text() == "old"
    write_folder(tmp_path / "out", "newer")
    assert leftovers(tmp_path) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["newer"]


def test_the_scratch_of_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    writer = start_writer(tmp_path / "out", "not yet")
    write_folder(tmp_path / "out", "ours")
    assert len(leftovers(tmp_path)) == 1
    writer.communicate("go on")
    assert writer.returncode == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert leftovers(tmp_path) == []


def test_a_writer_killed_while_it_replaced_a_folder_loses_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", "old")
    start_writer(tmp_path / "out", "between the renames").wait()
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="bad"):
        write_and_fail(tmp_path / "out", ValueError("bad"))
    assert (tmp_path / "out/new").read_text() == "new"
    assert leftovers(tmp_path) == []


def test_who_alone_writes_a_path_sweeps_also_what_was_never_locked_and_what_replaced_it_stays(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path / "out", "old")
    start_writer(tmp_path / "out", "between the renames").wait()
    (tmp_path / ".out.abcd1234").mkdir()
    files.sweep(tmp_path / "out")
    assert (tmp_path / "out/new").read_text() == "new"
    assert leftovers(tmp_path) == [".out.abcd1234"]
    files.sweep(tmp_path / "out", alone=True)
    assert leftovers(tmp_path) == []
    files.sweep(tmp_path / "none/out")


def test_json_lines_keep_their_numbers_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n[2]')
    assert files.read_jsonl(path) == [(1, {"a": 1}), (4, [2])]


@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.text(max_size=6) | st.integers() | st.none(), max_size=3)
    )
)
def test_any_text_survives_json_lines(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows.append({"text": "line\u2028separator\x85next\x0cpage\x1c"})
    files.write_jsonl(path, rows)
    assert [value for _, value in files.read_jsonl(path)] == rows


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b'{"a": 1}\n{"a": }\n', ":2", "not valid JSON: Expecting value at column 7"),
        (b'{"a": 1}\n\n{"a": "\\ud83d"}\n', ":3", "not valid text: 'utf-8' codec can't encode"),
        (b'{"a": "\xff"}\n', "", "not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", ":1", "cannot be read: Exceeds the limit"),
        (b"[" * 100_000, ":1", "cannot be read: maximum recursion depth"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, where: str, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(StepladderError) as caught:
        files.read_jsonl(path)
    assert caught.value.where == f"{path}{where}"
    assert caught.value.what.startswith(what)
    assert caught.value.remedy


@pytest.mark.parametrize("read", [files.read_jsonl, files.read_json, files.read_text])
def test_a_missing_file_or_a_folder_in_its_place_is_told(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(StepladderError, match="file not found"):
        read(tmp_path / "gone")
    with pytest.raises(StepladderError, match="cannot read: Is a directory"):
        read(tmp_path)


def test_json_that_is_none_names_the_stage_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(StepladderError, match="not valid JSON") as caught:
        files.read_json(path)
    assert "dvc repro" in caught.value.remedy
    files.write_json(path, {"ä": [1]})
    assert files.read_json(path) == {"ä": [1]}


JSON = st.none() | st.integers() | st.text(max_size=4) | st.dictionaries(st.text(max_size=2), st.integers())


@given(st.dictionaries(st.text(max_size=2), JSON, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert files.digest_value(turned) == files.digest_value(value)
    assert json.loads(files.canonical_json(value)) == value


def test_a_folders_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("x")
    first = files.digest_folder(tmp_path)
    (tmp_path / "sub" / "a").rename(tmp_path / "sub" / "b")
    second = files.digest_folder(tmp_path)
    (tmp_path / "sub" / "b").write_text("y")
    assert len({first, second, files.digest_folder(tmp_path)}) == 3
    assert files.digest_file(tmp_path / "sub" / "b") == files.digest_text("y")
