import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from napari_kmeans._files import replace
from napari_kmeans._files.replace import replace_file

on_posix = pytest.mark.skipif(os.name == "nt", reason="as POSIX systems have it")


@pytest.fixture(params=["unnamed", "named"], autouse=True)
def way(request, monkeypatch):
    """Both ways to prepare a file: without a name, if there are such, and with one."""
    if request.param == "named":
        monkeypatch.setattr(replace, "_open_unnamed", lambda _: None)
    return request.param


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def run_python(code, *arguments, **options):
    """Run Python that writes one way or the other."""
    start = (
        "import os, sys; from napari_kmeans._files import replace as module;"
        "write = module.replace_file\n"
        "if sys.argv[1] == 'named': module._open_unnamed = lambda _: None\n"
    )
    command = [sys.executable, "-c", start + code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.parametrize("old", [None, b"old and longer"])
def test_the_file_holds_the_content(tmp_path, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_file_that_exists_stays_unless_it_may_be_overwritten(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"old", overwrite=False)
    with pytest.raises(FileExistsError, match="File exists"):
        replace_file(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    sync = os.fsync

    def appear(descriptor):
        path.write_bytes(b"of another")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", appear)
    with pytest.raises(FileExistsError, match="File exists"):
        replace_file(path, b"new", overwrite=False)
    assert path.read_bytes() == b"of another"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("failing", ["fsync", "replace", "link"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()]
)
def test_an_interrupted_write_leaves_what_was_there(
    tmp_path, monkeypatch, old, failing, error
):
    def fail(*_, **__):
        raise error

    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    monkeypatch.setattr(os, failing, fail)
    before = names(tmp_path)
    try:
        replace_file(path, b"new")
    except (OSError, KeyboardInterrupt):
        assert names(tmp_path) == before
        assert old is None or path.read_bytes() == old
    else:  # It did without the function that fails.
        assert path.read_bytes() == b"new"
        assert names(tmp_path) == ["file"]


@on_posix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_leaves_what_was_there(tmp_path, way, old):
    # The system refuses to write past 1000 bytes, as it does on a disk that is full.
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write(sys.argv[2], bytes(5000))\n"
        "except OSError as error: print(error.filename == sys.argv[2], error.strerror)"
    )
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = names(tmp_path)
    assert run_python(code, way, path).stdout == "True File too large\n"
    assert names(tmp_path) == before
    assert old is None or path.read_bytes() == old


@on_posix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_read_only_folder_is_refused_by_the_name_of_the_file(way, old):
    code = (
        "if os.geteuid() == 0: os.seteuid(65534)\n"  # Root may write everywhere.
        "try: write(sys.argv[2], b'new')\n"
        "except OSError as error: print(error.filename == sys.argv[2], error.strerror)"
    )
    # Not below a folder that only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)
        before = names(folder)
        os.chmod(folder, 0o555)
        assert run_python(code, way, path).stdout == "True Permission denied\n"
        assert names(folder) == before
        assert old is None or path.read_bytes() == old


@on_posix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_killed_while_writing_leaves_what_was_there(tmp_path, way, old):
    code = (
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\nwrite(sys.argv[2], bytes(5000))"
    )
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = names(tmp_path)
    assert run_python(code, way, path).returncode == -signal.SIGKILL
    if way == "unnamed" and replace._open_unnamed(tmp_path) is not None:
        assert names(tmp_path) == before
    assert old is None or path.read_bytes() == old

    replace_file(path, b"new")  # The next one clears away what may have been left.
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@on_posix
def test_a_process_killed_between_two_calls_is_cleared_away_after(tmp_path, way):
    code = "os.replace = lambda *_: os.kill(os.getpid(), 9)\nwrite(sys.argv[2], b'new')"
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert run_python(code, way, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    replace_file(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == ["file"]


@on_posix
def test_two_processes_never_write_one_file_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(replace, "_open_unnamed", lambda _: None)
    path = tmp_path / "file"
    found = []

    def write_too(*_):
        with pytest.raises(OSError, match="another process is writing this file"):
            replace_file(path, b"second")
        found.append(names(tmp_path))

    monkeypatch.setattr(os, "fsync", write_too)
    replace_file(path, b"first")
    assert path.read_bytes() == b"first"
    assert len(found[0]) == 1


@on_posix
def test_a_link_is_kept_and_its_file_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for content in (b"old", b"new"):
        replace_file(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_bytes() == content


@on_posix
def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path):
    replace_file(tmp_path / "file", b"new")
    (tmp_path / "other").write_bytes(b"other")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1

    (tmp_path / "file").chmod(0o640)
    replace_file(tmp_path / "file", b"newer")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(OSError, match="not a regular file"):
        replace_file(tmp_path, b"new")


def test_the_longest_name_that_the_system_has_is_written(tmp_path):
    path = tmp_path / ("n" * 255)
    for content in (b"old", b"new"):
        replace_file(path, content)
    assert path.read_bytes() == b"new"


@on_posix
def test_a_file_system_without_links_gets_its_file_too(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(replace, "_open_unnamed", lambda _: None)
    monkeypatch.setattr(os, "link", refuse)
    replace_file(tmp_path / "file", b"new", overwrite=False)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]
