import json

import numpy as np
import pytest
from PIL import Image

from command_line import FEW_COLORS, run
from napari_kmeans._cli.outcomes import sum_up


@pytest.fixture
def small(folder):
    """Save a JPEG that no PNG of many colors is as small as."""
    noise = np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8)
    Image.fromarray(noise).save("small.jpg", quality=5)
    Image.fromarray(np.zeros((99, 99, 3), np.uint8)).save("large.png")
    return (folder / "small.jpg").stat().st_size


def test_a_result_that_is_larger_is_said_to_be_with_what_to_do(folder, small):
    result = run("small.jpg", "-k", 64, "-v")
    size = (folder / "small_compressed.png").stat().st_size
    percent = round(100 * (size / small - 1))
    assert result.exit_code == 0
    assert f"{small:,} -> {size:,} bytes ({percent} % larger than small.jpg), " in (
        result.stdout
    )
    advice = (
        "; use fewer colors, --skip-if-larger, or keep the JPEG, which suits photos"
    )
    assert advice in result.stdout


@pytest.mark.usefixtures("small")
def test_json_says_which_are_larger_and_how_many():
    told = json.loads(run("small.jpg", "large.png", "--json").stdout)
    assert [image["larger"] for image in told["images"]] == [True, False]
    assert told["summary"]["larger"] == 1


@pytest.mark.usefixtures("small")
def test_the_sum_counts_results_that_are_larger():
    *_, line = run("small.jpg", "large.png", "-o", "out").stdout.splitlines()
    assert line.startswith("2 of 2 images written, 1 larger: ")
    *_, line = run("small.jpg", "large.png", "--skip-if-larger").stdout.splitlines()
    assert line.startswith("1 of 2 images written, 1 skipped: ")


@pytest.mark.usefixtures("small")
def test_an_image_without_losses_is_kept_by_its_name(folder):
    Image.fromarray(FEW_COLORS).save("few.png", optimize=True)
    line = run("few.png", "-o", "few.tif").stdout
    n_before, n_after = ((folder / f"few.{s}").stat().st_size for s in ("png", "tif"))
    assert n_after > n_before
    assert line.endswith("; use fewer colors, --skip-if-larger, or keep few.png\n")


@pytest.mark.usefixtures("small")
def test_a_result_of_the_same_size_is_not_larger():
    run("large.png", "-o", "a.png")
    assert "(ratio 1.00)" in run("a.png", "-o", "b.png").stdout


def test_a_little_more_is_not_0_percent():
    statuses = {"images": 1, "done": 1, "larger": 1, "skipped": 0, "failed": 0}
    line = sum_up(statuses | {"bytes_before": 1000, "bytes_after": 1001})
    assert (
        line
        == "1 of 1 images written, 1 larger: 1,000 -> 1,001 bytes (up to 1 % larger)"
    )
