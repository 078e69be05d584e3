import subprocess
import sys

import pytest

from command_line import names, run

OTHER = "or the suffix of another image format, got"
IMAGE = f"must end in .png, .gif, .tif, .webp, .jpg, .ome.zarr, .zarr {OTHER}"
IMAGE_FORMAT = f"must be png, gif, tif, webp, jpg, ome.zarr, zarr {OTHER}"
PALETTE = f"must end in .gpl, .json, .npy, .hex, .pal, .png {OTHER}"
PALETTE_FORMAT = f"must be gpl, json, npy, hex, pal, png {OTHER}"
NUMBER = "is not in the range 1<=x<=65536."
SIZE = "is not a size such as 50KB or 1.5MiB"
WEIGHTS = "is neither std nor positive numbers such as 1,1,2"
COLORS = "is no list of colors such as '#000000,#ffffff' or 0/0/0,9/9/9"


def usage_error(arguments):
    """The only error of a call that does nothing."""
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    *usage, line = result.stderr.splitlines()
    assert usage[0].startswith("Usage: napari-kmeans ")
    assert not any("Error" in line for line in usage)
    return line


@pytest.mark.parametrize(
    ("arguments", "option", "rule"),
    [
        ("apply --palette no.gpl a", "--palette", "File 'no.gpl' does not exist."),
        ("photo.jpg -k 0", "-k", f"0 {NUMBER}"),
        ("photo.jpg -qk65537", "-k", f"65537 {NUMBER}"),
        ("photo.jpg --colors 0", "--colors", f"0 {NUMBER}"),
        ("photo.jpg --colors=0", "--colors", f"0 {NUMBER}"),
        ("-k 0 -- --colors", "-k", f"0 {NUMBER}"),
        ("photo.jpg -k few", "-k", "'few' is not a valid integer range."),
        ("palette -k 0 photo.jpg", "-k", f"0 {NUMBER}"),
        ("curve -k 2,0 photo.jpg", "-k", f"0 {NUMBER}"),
        ("curve --colors 9,65537 photo.jpg", "--colors", f"65537 {NUMBER}"),
        ("curve -k 2,x photo.jpg", "-k", "'2,x' is not a list such as 2,4,8"),
        ("photo.jpg --iters -1", "--iters", "-1 is not in the range x>=0."),
        ("photo.jpg --seed -1", "--seed", "-1 is not in the range x>=0."),
        ("info --jobs 0 photo.jpg", "--jobs", "0 is not in the range x>=1."),
        ("photo.jpg --psnr nan", "--psnr", "'nan' is not a number"),
        ("photo.jpg --dither-strength 0.5", "--dither-strength", "needs --dither"),
        (
            "photo.jpg --dither ordered --dither-strength 2",
            "--dither-strength",
            "2.0 is not in the range 0<=x<=1.",
        ),
        (
            "photo.jpg --dither ordered --dither-strength nan",
            "--dither-strength",
            "'nan' is not a number",
        ),
        ("photo.jpg --psnr -1", "--psnr", "-1.0 is not in the range x>=0."),
        ("photo.jpg --max-size 50XB", "--max-size", f"'50XB' {SIZE}"),
        ("photo.jpg --max-size 0.4", "--max-size", f"'0.4' {SIZE}"),
        ("photo.jpg b.jpg -o -", "-o", "- takes a single image"),
        ("photo.jpg --report -", "--report", "must be a file, not the standard output"),
        ("a.jpg --compare -", "--compare", "must be a file, not the standard output"),
        ("photo.jpg -o a.xyz", "-o", f"{IMAGE} a.xyz"),
        ("photo.jpg --output a", "--output", f"{IMAGE} a; a directory ends in /"),
        ("apply --palette photo.jpg a.jpg -o a.gpl", "-o", f"{IMAGE} a.gpl"),
        ("photo.jpg --compare a.pdf", "--compare", f"must end in .png {OTHER} a.pdf"),
        ("palette photo.jpg -o a.xyz", "-o", f"{PALETTE} a.xyz"),
        ("curve photo.jpg -o a.xyz", "-o", f"must end in .csv, .png {OTHER} a.xyz"),
        ("a.jpg --csv -", "--csv", "must be a file, not the standard output"),
        ("palette a.jpg --csv -", "--csv", "must be a file, not the standard output"),
        ("a.jpg --mask no.png", "--mask", "File 'no.png' does not exist."),
        ("a.jpg --channel-weights 1,0,1", "--channel-weights", f"'1,0,1' {WEIGHTS}"),
        ("a.jpg --channel-weights nan", "--channel-weights", f"'nan' {WEIGHTS}"),
        ("curve a.jpg --channel-weights x", "--channel-weights", f"'x' {WEIGHTS}"),
        (
            "apply --palette photo.jpg a.jpg --channel-weights std",
            "--channel-weights",
            "must be numbers, as --json of compress and palette has them, got std",
        ),
        ("a.jpg --fixed black", "--fixed", f"'black' {COLORS}"),
        ("a.jpg --fixed #12345", "--fixed", f"'#12345' {COLORS}"),
        ("a.jpg --fixed #000,0/0/0/0", "--fixed", f"'#000,0/0/0/0' {COLORS}"),
        ("a.jpg --fixed 0/0/0,1/2", "--fixed", f"'0/0/0,1/2' {COLORS}"),
        ("a.jpg --fixed inf", "--fixed", f"'inf' {COLORS}"),
        ("a.jpg --fixed #000,#fff -k 1", "--fixed", "must be at most 1 colors, as K, "),
        ("photo.jpg --format nope", "--format", f"{IMAGE_FORMAT} nope"),
        ("photo.jpg --format /../a.png", "--format", f"{IMAGE_FORMAT} /../a.png"),
        ("palette photo.jpg --format pdf", "--format", f"{PALETTE_FORMAT} pdf"),
        (
            "photo.jpg -o a.png --format gif",
            "--format",
            "must be the format of a.png, got .gif",
        ),
        ("a.jpg -o photo.jpg/", "-o", "must be a directory, got photo.jpg/"),
        ("a.jpg b.jpg -o photo.jpg", "-o", "must be a directory, got photo.jpg"),
        (
            "a.jpg b.jpg -o c.png",
            "-o",
            "must be a directory, got c.png; a new one ends in /",
        ),
        (
            "a.jpg b.jpg --compare c.png",
            "--compare",
            "must be a directory, got c.png; a new one ends in /",
        ),
    ],
)
def test_a_wrong_value_is_told_with_the_name_that_was_typed(
    folder, arguments, option, rule
):
    error = usage_error(arguments)
    assert error.startswith(f"Error: Invalid value for '{option}': {rule}")
    assert names(folder) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("compress", "Missing argument 'IMAGE...'."),
        ("apply photo.jpg", "Missing option '--palette'."),
        ("photo.jpg --psnr 30 -k 3", "--psnr and -k exclude each other"),
        ("photo.jpg --colors 3 --psnr 30", "--psnr and --colors exclude each other"),
        ("photo.jpg --psnr 30 --shared", "--psnr and --shared exclude each other"),
        ("photo.jpg --psnr 30 --init auto", "--psnr and --init exclude each other"),
        ("photo.jpg --psnr 30 --fixed #000", "--psnr and --fixed exclude each other"),
        ("photo.jpg --psnr 30 --seed 1", "--psnr and --seed exclude each other"),
        ("photo.jpg --psnr 9 --max-size 9", "--psnr and --max-size exclude each other"),
        ("a.jpg --max-size 9KB --shared", "--max-size and --shared exclude each other"),
        ("palette photo.jpg --psnr 9 -k 3", "--psnr and -k exclude each other"),
        ("palette a.jpg --psnr 9 --shared", "--psnr and --shared exclude each other"),
        (
            "photo.jpg -o - --json",
            "--json and an image on the standard output exclude each other",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(folder, arguments, error):
    assert usage_error(arguments) == f"Error: {error}"
    assert names(folder) == ["photo.jpg"]


@pytest.mark.parametrize("command", ["compress", "palette", "curve"])
def test_wrong_usage_is_told_before_any_image_is_opened(folder, command):
    arguments = [command, "-", "missing.jpg", "photo.jpg", "-o", "new.xyz"]
    process = [sys.executable, "-m", "napari_kmeans", *arguments]
    # The standard input stays open: who reads it waits for ever.
    with subprocess.Popen(
        process, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.wait(timeout=60) == 2
        assert waiting.stderr.read().count("Error") == 1
    assert names(folder) == ["photo.jpg"]


def test_max_size_knows_units(folder):
    run("photo.jpg", "--max-size", "0.4kb", "-k", 9, "-o", "a.png")
    run("photo.jpg", "--max-size", "400", "-k", 9, "-o", "b.png")
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    assert run("photo.jpg", "--max-size", "9" * 400, "-k", 3).exit_code == 0


@pytest.mark.parametrize(
    "command", ["", "compress", "apply", "palette", "curve", "info"]
)
def test_help_fits_on_one_screen_and_puts_rare_options_apart(command):
    lines = run(*command.split(), "--help").stdout.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    if command in ("compress", "palette"):
        groups = [lines.index(title) for title in ("Options:", "Rare options:")]
        names = ("  -k, --colors K", "  --seed N")
        places = [next(i for i, x in enumerate(lines) if n in x) for n in names]
        assert groups[0] < places[0] < groups[1] < places[1]
        # The help of each option is one line.
        end = next(i for i, line in enumerate(lines) if "Examples" in line)
        assert not any(line.startswith(" " * 8) for line in lines[groups[0] : end])
