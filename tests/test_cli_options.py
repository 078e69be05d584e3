import pytest

from command_line import names, run


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["compress"], "Missing argument 'IMAGE...'"),
        (["apply", "photo.jpg"], "Missing option '--palette'"),
        (["apply", "--palette", "no.gpl", "photo.jpg"], "'no.gpl' does not exist"),
        (["curve", "photo.jpg", "-k", "2,x"], "'2,x' is not a list such as 2,4,8"),
        (["photo.jpg", "--max-size", "50XB"], "'50XB' is not a size such as 50KB"),
        (["photo.jpg", "--max-size", "0"], "'0' is not a size such as 50KB"),
        (["photo.jpg", "--psnr", "30", "-k", "3"], "--psnr and --colors exclude each"),
        (["photo.jpg", "--psnr", "30", "--shared"], "--psnr and --shared exclude each"),
        (
            ["photo.jpg", "--max-size", "9KB", "--psnr", "9"],
            "--psnr and --max-size exc",
        ),
        (["photo.jpg", "--max-size", "9KB", "--shared"], "--max-size and --shared exc"),
        (["photo.jpg", "-o", "-", "--json"], "--json and an image on the standard out"),
        (["photo.jpg", "b.jpg", "-o", "-"], "--output - takes a single image"),
        (["photo.jpg", "-k", "few"], "'few' is not a valid integer"),
        (["photo.jpg", "--init", "best"], "'best' is not one of 'auto'"),
        (["a.jpg", "b.jpg", "-o", "c.png"], "--output must be a directory for sev"),
        (["a.jpg", "b.jpg", "--compare", "c.png"], "--compare must be a directory"),
    ],
)
def test_wrong_usage_has_status_2(folder, arguments, match):
    result = run(*arguments)
    assert result.exit_code == 2
    assert match in result.stderr
    assert names(folder) == ["photo.jpg"]


def test_max_size_knows_units(folder):
    run("photo.jpg", "--max-size", "0.4kb", "-k", 9, "-o", "a.png")
    run("photo.jpg", "--max-size", "400", "-k", 9, "-o", "b.png")
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
