import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from click.shell_completion import BashComplete

import napari_kmeans
from command_line import run, run_process
from napari_kmeans import _cli


def test_help_has_examples_and_is_quick():
    start = time.perf_counter()
    result = run_process("--help")
    assert time.perf_counter() - start < 10
    assert "130  interrupted by Ctrl-C" in result.stdout
    assert run("-h").stdout == run("--help").stdout
    assert run().stderr == run("--help").stdout
    assert run("--help", "curve").stdout == run("curve", "--help").stdout
    for command in ("compress", "apply", "palette", "curve", "info"):
        assert f"\n  {command}" in result.stdout
        assert f"  napari-kmeans {command} " in run(command, "--help").stdout or (
            "  napari-kmeans -k 8 -o posters/ *.jpg" in run(command, "-h").stdout
        )


def test_help_loads_no_image_library():
    code = (
        "import sys, napari_kmeans._cli;"
        "print({'PIL', 'tifffile', 'oxipng', 'skimage', 'tqdm', 'napari'}"
        "& set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True).stdout.split() == [b"set()"]


NEEDS_FULL = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="needs /dev/full"
)
WITHOUT_SPACE = "Error: -: No space left on device\n"


@NEEDS_FULL
@pytest.mark.parametrize(
    "arguments",
    [
        "photo.jpg -o -",
        "photo.jpg -o out.png",
        "info photo.jpg",
        "info --json photo.jpg photo.jpg --jobs 2",
        "palette photo.jpg",
        "curve photo.jpg -k 2",
        "--help",
        "curve -h",
        "--version",
    ],
)
def test_a_full_standard_output_is_one_line(folder, arguments):
    command = [sys.executable, "-m", "napari_kmeans", *arguments.split()]
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder
        )
    assert finished.returncode == 1
    assert finished.stderr == WITHOUT_SPACE


@NEEDS_FULL
@pytest.mark.parametrize("how", ["source", "complete"])
def test_completions_that_cannot_be_written_are_one_line(how):
    code = "from napari_kmeans._cli import main; main(prog_name='napari-kmeans')"
    words = {"COMP_WORDS": "napari-kmeans in", "COMP_CWORD": "1"}
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | words | {"_NAPARI_KMEANS_COMPLETE": f"bash_{how}"},
        )
    assert finished.returncode == 1
    assert finished.stderr == WITHOUT_SPACE


@NEEDS_FULL
@pytest.mark.parametrize("arguments", [["missing.jpg"], ["photo.jpg", "--nonsense"]])
def test_a_full_error_output_is_a_failure_without_a_traceback(folder, arguments):
    command = [sys.executable, "-X", "dev", "-m", "napari_kmeans", *arguments]
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=full, cwd=folder
        )
    assert finished.returncode == 1
    assert finished.stdout == b""


@pytest.mark.skipif(os.name == "nt", reason="closes descriptors as a shell does")
def test_closed_outputs_lose_an_image_only_with_an_error(folder):
    program = f"{sys.executable} -m napari_kmeans photo.jpg --force"
    closed = subprocess.run(f"{program} -o out.png >&- 2>&-", shell=True, cwd=folder)
    assert closed.returncode == 0
    assert (folder / "out.png").exists()
    closed = subprocess.run(
        f"{program} -o - >&-", shell=True, cwd=folder, capture_output=True, text=True
    )
    assert closed.returncode == 1
    assert closed.stderr == "Error: -: Bad file descriptor\n"


def test_the_shell_completes_commands_options_and_files():
    def completed(*words):
        complete = BashComplete(_cli.main, {}, "napari-kmeans", "_COMPLETE")
        found = complete.get_completions(list(words[:-1]), words[-1])
        # bash forgets what comes before files.
        assert "file" not in [item.type for item in found][1:]
        return {(item.type, item.value) for item in found}

    assert {("plain", "compress"), ("plain", "palette")} <= completed("")
    assert ("file", "pho") in completed("pho")
    assert ("plain", "--max-size") in completed("photo.jpg", "--max")
    assert ("plain", "oklab") in completed("apply", "--color-space", "ok")
    assert ("file", "pho") in completed("info", "pho")
    for name in ("-o", "--output", "--csv", "--report", "--compare", "--mask"):
        assert completed("compress", name, "pho") == {("file", "pho")}
    assert completed("palette", "-o", "pho") == {("file", "pho")}
    assert completed("curve", "-o", "pho") == {("file", "pho")}
    # Before the command, too, while it may still be left out.
    for words in ([], ["-k", "8"], ["--dither", "ordered", "-q"]):
        found = completed(*words, "")
        assert {("plain", "palette"), ("plain", "info"), ("file", "")} <= found
        assert ("plain", "--max-size") in completed(*words, "--ma")
        assert ("plain", "--palette") in completed(*words, "--pal")
        assert ("plain", "oklab") in completed(*words, "--color-space", "ok")
        assert ("file", "pho") in completed(*words, "palette", "--mask", "pho")
        assert ("plain", "--recursive") in completed(*words, "info", "--rec")
        assert ("plain", "palette") not in completed(*words, "photo.jpg", "pal")


@pytest.mark.parametrize(
    "words",
    [
        "palette -k 5 -o p.hex photo.jpg",
        "-k 5 palette -o p.hex photo.jpg",
        "-k 5 -o p.hex palette photo.jpg",
        "-k5 -op.hex palette photo.jpg",
        "-qk 5 --output=p.hex palette photo.jpg",
        "--colors 5 -qo p.hex palette -- photo.jpg",
    ],
)
def test_options_stand_before_and_behind_the_command(folder, words):
    result = run(*words.split())
    assert result.exit_code == 0, result.stderr
    assert len((folder / "p.hex").read_text().split()) == 5


def test_the_rest_of_a_short_option_is_its_value(folder):
    (folder / "o").mkdir()
    result = run("-oo", "palette", "photo.jpg")
    assert result.exit_code == 0, result.stderr
    assert (folder / "o/photo_palette.gpl").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--compare info -k 2 photo.jpg",
        "-k 2 photo.jpg --compare info",
        "-k 2 --compare info compress photo.jpg",
        "-qk 2 --compare info -- photo.jpg",
    ],
)
def test_the_value_of_an_option_is_no_command(folder, words):
    (folder / "info").mkdir()
    assert run(*words.split()).exit_code == 0
    assert (folder / "info/photo_before_after.png").exists()


@pytest.mark.parametrize("words", ["./palette", "-- palette", "compress palette"])
def test_an_image_that_is_called_like_a_command_is_read(folder, words):
    (folder / "photo.jpg").rename("palette")
    result = run("-k", "2", *words.split())
    assert result.exit_code == 0, result.stderr
    assert (folder / "palette_compressed.png").exists()


@pytest.mark.usefixtures("folder")
def test_wrong_options_before_the_command_are_told_by_their_name():
    for words in ("-k 0 palette photo.jpg", "-qk 0 photo.jpg"):
        result = run(*words.split())
        assert result.exit_code == 2
        assert "Invalid value for '-k': 0 is not in the range" in result.stderr
    result = run("-k", 8, "--labels", "palette", "photo.jpg")
    assert "No such option '--labels'" in result.stderr.replace(":", "")


def test_the_shell_is_told_how_to_complete():
    environment = os.environ | {"_NAPARI_KMEANS_COMPLETE": "zsh_source"}
    code = "from napari_kmeans._cli import main; main(prog_name='napari-kmeans')"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "#compdef napari-kmeans" in told.stdout


@pytest.mark.parametrize(
    ("word", "command"), [("palete", "palette"), ("comprss", "compress")]
)
def test_a_misspelled_command_is_no_image(folder, word, command):
    result = run(word, "photo.jpg")
    assert result.exit_code == 2
    message = f"no command or image '{word}', is '{command}' meant?"
    assert result.stderr.splitlines()[-1] == f"Error: {message}"
    assert [path.name for path in folder.iterdir()] == ["photo.jpg"]
    (folder / "photo.jpg").rename(word)
    assert run(word).exit_code == 0


@pytest.mark.parametrize(
    "words",
    ["--compare new.png photo.jpg", "--compare=new.png photo.jpg", "compres*", "--"],
)
def test_options_and_patterns_are_no_misspelled_commands(folder, words):
    (folder / "compress.jpg").write_bytes((folder / "photo.jpg").read_bytes())
    result = run(*words.split(), *(["compress.jpg"] if words == "--" else []))
    assert result.exit_code == 0, result.stderr
    assert ".jpg -> " in result.stdout


def test_version():
    assert napari_kmeans.__version__ in run("--version").stdout


def test_threads_of_dask_neither_hold_up_an_end_nor_complain_at_it(monkeypatch):
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setitem(sys.modules, "dask", sys)
    for status in (0, 1, 2, 130):
        end = partial(sys.exit, status)
        monkeypatch.setattr("napari_kmeans._cli.commands.main", end)
        with pytest.raises(SystemExit):
            _cli.run()
    assert ends == [1, 130]
