"""`python -m commands.predict` on files, as a user runs it: with the saved model alone."""

import json
import shutil

import numpy as np
from PIL import Image
from support.project import Project

CLASSES = 10


def test_the_saved_model_alone_classifies_what_can_be_read(finished: Project):
    images = np.load(finished.path("data/prepared/test.npy"))[:5, ..., 0]
    selected = json.loads(finished.path("reports/selection.json").read_text())["selected"]
    expected = np.load(finished.path(f"models/{selected}/predictions.npz"))["test"][:5]
    folder = finished.path("pictures")
    (folder / "below").mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    Image.fromarray(images[0]).resize((90, 60)).convert("RGB").save(folder / "below" / "colour.jpg")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("a folder may hold other files")
    shutil.rmtree(finished.path("data"))
    finished.path("params.yaml").unlink()

    arguments = ("--format", "json", "--top", str(CLASSES), "pictures", "missing.png")
    output = finished.command("predict", *arguments, status=1)
    assert "Traceback" not in output
    assert (
        "error: pictures/text.png: not an image" in output
        and "error: pictures/empty.jpg: the file is empty" in output
    )
    assert (
        "error: missing.png: No such file" in output
        and "error: 3 files could not be classified" in output
    )
    rows = json.loads(
        "\n".join(line for line in output.splitlines() if not line.startswith("error: "))
    )
    assert [row["file"] for row in rows] == [
        *(f"pictures/{number}.png" for number in range(5)),
        "pictures/below/colour.jpg",
    ]
    for row, probabilities in zip(rows, expected):
        obtained = [row["probability"], *(other["probability"] for other in row["runners_up"])]
        np.testing.assert_allclose(obtained, np.sort(probabilities)[::-1], atol=2e-6)


def test_an_exported_folder_explains_itself(finished: Project):
    image = np.load(finished.path("data/prepared/test.npy"))[0, ..., 0]
    Image.fromarray(image).save(finished.path("a.png"))
    exports = finished.path("elsewhere")
    finished.path("exports").rename(exports)
    arguments = (
        "--model",
        "elsewhere",
        "--format",
        "csv",
        "--top",
        "2",
        "--explain",
        "why",
        "a.png",
    )
    lines = finished.command("predict", *arguments).splitlines()
    assert lines[-2] == "file,class,probability,class_2,probability_2" and lines[-1].startswith(
        "a.png,"
    )
    with Image.open(finished.path("why/a.png.png")) as picture:
        assert picture.height >= 200 and len(picture.getcolors(1 << 16)) > 10


def test_an_unknown_model_is_named_with_those_that_are_there(finished: Project):
    output = finished.command("predict", "--model", "mnist-danse", "a.png", status=1)
    assert "'mnist-danse'" in output and "mnist-dense" in output and "Traceback" not in output
