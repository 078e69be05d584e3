import json

from PIL import Image

from command_line import FEW_COLORS, pixels, refusal, run, upright
from napari_kmeans import error_curve


def test_curve_tells_the_error_of_each_number_of_colors(folder):
    told = json.loads(run("curve", "photo.jpg", "-k", "8,2", "--json").stdout)
    image = upright("photo.jpg")
    (facts,) = told["images"]
    assert facts["k"] == [2, 8]
    assert facts["mse"] == error_curve(image, [2, 8]).tolist()
    lines = run(
        "curve", "photo.jpg", "-k", "2,8", "-o", "curve.csv"
    ).stdout.splitlines()
    assert lines[0] == "photo.jpg"
    assert [line.split()[0] for line in lines[2:]] == ["2", "8"]
    table = (folder / "curve.csv").read_text().splitlines()
    assert table[0] == "image,k,mse,psnr"
    assert table[1].startswith(f"photo.jpg,2,{facts['mse'][0]}")


def test_curve_is_drawn(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    assert run("curve", "photo.jpg", "few.png", "-o", "curve.png").exit_code == 0
    drawn = pixels(folder / "curve.png")
    assert drawn.shape[1] == 960
    # The line of the only curve that has errors everywhere.
    assert ((drawn == (0, 114, 178)).all(axis=-1)).sum() > 500
    line = refusal(run("curve", "photo.jpg", "-o", "curve.png"))
    assert line == "Error: curve.png: exists, --force overwrites it"
