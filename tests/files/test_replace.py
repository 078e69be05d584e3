import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from napari_kmeans._files.replace import replace_file

on_posix = pytest.mark.skipif(os.name == "nt", reason="as POSIX systems have it")


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def run_python(code, path):
    """Run Python that writes to a file."""
    start = (
        "import os, sys\n"
        "from napari_kmeans._files.replace import replace_file as write\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
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
def test_a_full_disk_leaves_what_was_there(tmp_path, old):
    # The system refuses to write past 1000 bytes, as it does on a disk that is full.
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write(sys.argv[1], bytes(5000))\n"
        "except OSError as error: print(error.filename == sys.argv[1], error.strerror,"
        " str(error).endswith(f': {sys.argv[1]!r}'))"
    )
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = names(tmp_path)
    assert run_python(code, path).stdout == "True File too large True\n"
    assert names(tmp_path) == before
    assert old is None or path.read_bytes() == old


@on_posix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_read_only_folder_is_refused_by_the_name_of_the_file(old):
    code = (
        "if os.geteuid() == 0: os.seteuid(65534)\n"  # Root may write everywhere.
        "try: write(sys.argv[1], b'new')\n"
        "except OSError as error: print(error.filename == sys.argv[1], error.strerror)"
    )
    # Not below a folder that only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)
        before = names(folder)
        os.chmod(folder, 0o555)
        assert run_python(code, path).stdout == "True Permission denied\n"
        assert names(folder) == before
        assert old is None or path.read_bytes() == old


@on_posix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_killed_while_writing_leaves_what_was_there(tmp_path, old):
    code = (
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\nwrite(sys.argv[1], bytes(5000))"
    )
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = set(names(tmp_path))
    assert run_python(code, path).returncode == -signal.SIGKILL
    assert path.exists() == (old is not None)
    assert old is None or path.read_bytes() == old
    assert all(
        name.startswith(".napari-kmeans-") for name in set(names(tmp_path)) - before
    )

    replace_file(path, b"new")  # The next one is not kept from writing.
    assert path.read_bytes() == b"new"


@on_posix
def test_a_process_killed_before_the_move_leaves_what_was_there(tmp_path):
    code = "os.replace = lambda *_: os.kill(os.getpid(), 9)\nwrite(sys.argv[1], b'new')"
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert run_python(code, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    replace_file(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_two_writers_of_one_file_do_not_mix(tmp_path, monkeypatch):
    path = tmp_path / "file"
    sync, found = os.fsync, []

    def write_too(descriptor):
        sync(descriptor)
        if not found:
            found.append(names(tmp_path))
            replace_file(path, b"second")
            found.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", write_too)
    replace_file(path, b"first")
    assert len(found[0]) == 1
    assert found[1] == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["file"]


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

    # Also what no new file would get.
    for mode in (0o640, 0o666, 0o777, 0o600):
        (tmp_path / "file").chmod(mode)
        replace_file(tmp_path / "file", b"newer")
        assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@on_posix
def test_a_link_that_leads_nowhere_is_left(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="symbolic links") as raised:
        replace_file(tmp_path / "link", b"new")
    assert raised.value.filename == str(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


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

    monkeypatch.setattr(os, "link", refuse)
    replace_file(tmp_path / "file", b"new", overwrite=False)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]
