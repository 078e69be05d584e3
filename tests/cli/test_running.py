import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

from command_line import names, refusal, run, run_process
from napari_kmeans._files.read import read_image


def broken_files(folder):
    photo = (folder / "photo.jpg").read_bytes()
    Image.fromarray(skimage.data.astronaut()).save(folder / "sound.png")
    png = bytearray((folder / "sound.png").read_bytes())
    ihdr = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = png[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + png[33:]
    deep = struct.pack(">4sIIBBBBB", b"IHDR", 512, 512, 16, 2, 0, 0, 0)
    deep = png[:12] + deep + struct.pack(">I", zlib.crc32(deep)) + png[33:]
    return {
        "empty.jpg": (b"", "the file is empty"),
        "text.png": (b"Dear reader,", "not an image"),
        "half.jpg": (photo[: len(photo) // 2], "truncated"),
        "half.png": (png[:9000], "truncated"),
        "corrupt.png": (png[:9000] + bytes(99) + png[9099:], "cannot be read"),
        "bomb.png": (bomb, "too many pixels"),
        "deep.png": (deep, "truncated"),
        "half.tif": (b"II*\0", "cannot be read"),
    }


def test_each_bad_image_gets_one_line_and_the_others_are_done(folder):
    broken = broken_files(folder)
    for name, (content, _) in broken.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    reasons = {name: reason for name, (_, reason) in broken.items()} | {
        "missing.jpg": "No such file or directory",
        "folder.jpg": "the folder holds no images",
    }

    result = run("photo.jpg", *reasons, "sound.png")

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == len(reasons)
    for line, (name, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"Error: {name}: ")
        assert reason in line
    *done, summary = result.stdout.splitlines()
    assert [line.split(" ->")[0] for line in done] == ["photo.jpg", "sound.png"]
    assert summary.startswith(f"2 of {len(reasons) + 2} images written, ")
    assert set(names(folder)) == {
        *reasons.keys() - {"missing.jpg"},
        *["photo.jpg", "sound.png", "photo_compressed.png", "sound_compressed.png"],
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_cannot_be_printed_takes_one_line(folder):
    (folder / "photo.jpg").rename(os.fsdecode(b"a\n\xff.jpg"))
    result = run_process(b"a\n\xff.jpg")
    assert result.returncode == 0
    assert result.stdout.startswith("a\\n\\udcff.jpg -> a\\n\\udcff_compressed.png: ")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


@pytest.mark.usefixtures("folder")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_control_characters_of_names_are_escaped_wherever_they_are_shown(folder):
    odd = "a\x1b[31m\x07\x9b\u202e<.jpg"
    shutil.copy("photo.jpg", odd)
    (folder / f"broken{odd}").write_bytes(b"")
    page = ["--report", "r.html", "--compare", "looks/"]
    shown = run(odd, f"broken{odd}", *page, "-v").output
    shown += run("info", odd).output + run("palette", odd, "-v").output
    shown += run("curve", odd, "-k", 2, "-o", "c.csv").output
    shown += (folder / "c.csv").read_text("utf-8")
    html = (folder / "r.html").read_text("utf-8")
    assert "<h2>a\\x1b[31m\\x07\\x9b\\u202e&lt;.jpg</h2>" in html
    for text in (shown, html):
        assert not any(c in text for c in "\x1b\x07\x9b\u202e")


def test_errors_that_float64_cannot_hold_are_shown_as_unknown(folder):
    image = np.random.default_rng(0).random((9, 9)) * 1e300
    tifffile.imwrite("huge.tif", image)
    pictures = ["--report", "r.html", "--compare", "c.png"]
    line = run_process("huge.tif", "-k", "4", *pictures)
    assert (line.returncode, line.stderr) == (0, "")
    assert line.stdout.endswith(" -> 4 colors, PSNR unknown\n")
    page = (folder / "r.html").read_text("utf-8")
    assert "<td>PSNR</td><td></td><td>unknown</td>" in page
    assert "<td>Mean squared error</td><td></td><td>over 1.8e+308</td>" in page

    ks = ["-k", "4,81", "-o", "c.csv"]
    assert run("curve", "huge.tif", *ks).stdout.splitlines()[2:] == [
        "       4   over 1.8e+308     unknown",
        "      81          0.0000    lossless",
    ]
    assert (folder / "c.csv").read_text().splitlines()[1] == "huge.tif,4,inf,-inf"
    run("curve", "huge.tif", "-o", "curve.png")
    assert (folder / "curve.png").exists()
    assert refusal(run("huge.tif", "--psnr", 20, "-o", "o.tif")) == (
        "Error: huge.tif: psnr=20 cannot be measured, as float64 does not hold the "
        "squares of values this large; divide the image first"
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", [["compress", "--force"], ["palette"], ["curve"]])
def test_json_has_no_number_that_json_does_not_know(command):
    tifffile.imwrite("huge.tif", np.array([[0, 1e300, 1.7e308, np.nan]]))
    k = "1,3" if command == ["curve"] else "1"
    told = run(*command, "huge.tif", "-k", k, "--json").stdout
    (facts,) = json.loads(told, parse_constant=pytest.fail)["images"]
    assert facts["mse"] in (None, [None, 0])
    assert facts.get("psnr") in (None, [None, None])
    assert facts.get("lossless") in (None, False)


def heed_ctrl_c():
    """Undo what a shell does to programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# No signal ends this call, which lasts for hours and lets other threads go on.
ENDLESS = "hashlib.pbkdf2_hmac('md5', b'', b'', 2**31 - 1)"
# The program, which says when it comes to the call.
WITHIN = {
    "reading": "read.decode_image",
    "fitting": "_compression.fit_image",
    "compressing": "_compression.encode_indexed",
}


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("within", WITHIN)
def test_a_signal_ends_even_a_long_call_and_leaves_nothing(folder, within, jobs, sent):
    shutil.copy("photo.jpg", "two.jpg")
    before = names(folder)
    program = folder.parent / f"{within}.py"
    program.write_text(
        "import hashlib, os\n"
        "from napari_kmeans import _cli, _compression\n"
        "from napari_kmeans._cli import inputs as read\n"
        "def endless(*_, **__):\n"
        # In one piece, for two processes write at once.
        "    os.write(1, b'on\\n')\n"
        f"    {ENDLESS}\n"
        f"{WITHIN[within]} = endless\n"
        "if __name__ == '__main__':\n"
        "    _cli.run()\n"
    )
    command = [sys.executable, program, "photo.jpg", "two.jpg", "--jobs", str(jobs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, process_group=0, preexec_fn=heed_ctrl_c, **pipes
    ) as process:
        assert process.stdout.readline() == "on\n"
        # A terminal sends Ctrl-C to all processes.
        (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
        try:
            # Both ends of the pipes are closed only when all processes have ended.
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 128 + sent
    assert stderr == "Interrupted: 0 of 2 done\n"
    assert names(folder) == before


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_ends_a_program_that_is_still_loaded_in_one_line():
    code = (
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'numpy':\n"
        "            print('on', flush=True)\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from napari_kmeans._cli import run\n"
        "run()\n"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, preexec_fn=heed_ctrl_c, **pipes) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "Interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_in_a_terminal(folder):
    import pty

    controller, terminal = pty.openpty()
    os.set_blocking(controller, False)
    command = [sys.executable, "-m", "napari_kmeans", "photo.jpg"]
    finished = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=folder,
        timeout=120,
        check=True,
    )
    shown = os.read(controller, 100_000).decode()
    os.close(terminal)
    os.close(controller)
    percentages = [int(n) for n in re.findall(r"photo.jpg: \w+ +(\d+)%", shown)]
    assert percentages == sorted(percentages)
    assert len(set(percentages)) >= 5
    assert "fitting" in shown
    assert len(finished.stdout.splitlines()) == 1


def test_a_folder_of_mixed_images_is_done_in_one_call_with_a_true_summary(folder):
    expected = write_mixed_folder(folder / "mixed", 40)
    quick = ["-k", "4", "--iters", "1", "--report", "report.html"]
    result = run("mixed", "-o", "out", "--json", *quick)

    told = json.loads(result.stdout)
    outcome = {os.path.basename(i["input"]): i["status"] for i in told["images"]}
    assert outcome == expected
    n_done = sum(status == "done" for status in expected.values())
    assert told["summary"]["images"] == 40
    assert told["summary"]["done"] == n_done == len(names(folder / "out")) == 36
    assert told["summary"]["failed"] == len(result.stderr.splitlines()) == 4
    sizes = [path.stat().st_size for path in (folder / "out").iterdir()]
    assert told["summary"]["bytes_after"] == sum(sizes)
    assert result.exit_code == 1
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<section>") == n_done
    assert page.count('class="failed"') == 4


def write_mixed_folder(folder, n_images):
    """Write images of all kinds, every tenth of them broken; tell what is to come."""
    folder.mkdir()
    source = Image.fromarray(skimage.data.astronaut()).resize((24, 20))
    deep = np.asarray(source).astype(np.uint16) * 257
    expected = {}
    for number in range(n_images):
        kind = number % 10
        suffix = ["jpg", "png", "gif", "webp", "bmp", "tif", "png", "gif", "tif", "jpg"]
        path = folder / f"{number:03} {kind}.{suffix[kind]}"
        if kind == 5:
            tifffile.imwrite(path, deep, photometric="rgb")
        elif kind == 6:
            source.convert("RGBA").rotate(20).save(path)
        elif kind == 7:
            frames = [source.rotate(angle) for angle in (5, 10)]
            source.save(path, save_all=True, append_images=frames, duration=50)
        elif kind == 8:
            stack = np.asarray(source)[np.newaxis].repeat(3, axis=0)
            tifffile.imwrite(path, stack, photometric="rgb", imagej=True)
        elif kind == 9:  # Cut off, emptied, not an image, or mislabelled text.
            source.save(path)
            content = path.read_bytes()
            broken = [content[:400], b"", b"\x89PNG\r\n", b"Dear reader"]
            path.write_bytes(broken[number // 10 % 4])
        else:
            source.save(path)
        expected[path.name] = "failed" if kind == 9 else "done"
    return expected


def test_side_by_side_gives_the_same_files_and_lines_as_one_by_one(folder):
    write_mixed_folder(folder / "mixed", 10)
    alone = run("mixed", "-o", "one")
    beside = run_process("mixed", "-o", "two", "--jobs", "2")
    assert beside.stdout == alone.stdout.replace("-> one", "-> two")
    assert beside.stderr == alone.stderr
    assert beside.returncode == alone.exit_code == 1
    for name in names(folder / "one"):
        both = [(folder / place / name).read_bytes() for place in ("one", "two")]
        assert both[0] == both[1]


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("sent", [signal.SIGINT, 9])  # Windows has no name for 9.
def test_processes_beside_end_with_the_one_that_was_called(folder, sent):
    write_mixed_folder(folder / "mixed", 60)
    command = [sys.executable, "-m", "napari_kmeans", "mixed", "-o", "out"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [*command, "--jobs", "2", "--init", "thorough"],
        process_group=0,
        preexec_fn=heed_ctrl_c,
        **pipes,
    ) as process:
        assert process.stdout.readline().startswith("mixed")
        # A terminal sends Ctrl-C to all processes, a system that is out of memory kills
        # the one.
        (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
        # Both ends of the pipes are closed only when all processes have ended.
        _, stderr = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        *errors, last = stderr.splitlines()
        assert re.fullmatch(r"Interrupted: \d+ of 60 done", last)
        assert all(line.startswith("Error: ") for line in errors)
    for path in (folder / "out").iterdir():
        assert path.name.endswith(("_compressed.png", "_compressed.gif", "ed.tif"))
        read_image(path)


@pytest.mark.usefixtures("folder")
def test_quiet_tells_errors_only_and_verbose_more():
    result = run("photo.jpg", "missing.jpg", "-q")
    assert result.stdout == ""
    assert result.stderr == "Error: missing.jpg: No such file or directory\n"
    line = run("photo.jpg", "--force", "-v").stdout
    assert re.search(r"dB, \d+ iterations, (not )?converged, \d+\.\d\d s\n$", line)
    line = run("photo.jpg", "--force", "-v", "--iters", 1).stdout
    assert "dB, 1 iteration, not converged" in line


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["palette", "curve"])
def test_verbose_does_not_spoil_data(command):
    plain, verbose = (run(command, "photo.jpg", "-k", 2, *v) for v in ([], ["-v"]))
    assert verbose.stdout == plain.stdout
    assert re.fullmatch(r"photo\.jpg: (\d iter.*, )?\d+\.\d\d s\n", verbose.stderr)
    assert plain.stderr == ""
