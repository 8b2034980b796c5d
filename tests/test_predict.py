"""`python -m commands.predict` on files, as users run it, with nothing but the saved model."""

import argparse
import errno
import hashlib
import io
import json
import os
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support import packages
from support.project import Project

from commands import predict
from commands.predicting import finding, network, pictures, trained
from commands.predicting.grad_cam import Explainer
from stages.conversion import checking
from stages.images.decode import BadImage
from stages.runtime.errors import UserError

CLASSES = 10


def test_nothing_is_written_into_the_home_of_whoever_predicts(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    Image.new("L", (28, 28)).save(finished.path("image.png"))
    finished.path("home").mkdir()
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(finished.path("home")))
    finished.command("predict", "image.png")
    assert list(finished.path("home").iterdir()) == []


def test_a_refused_image_has_no_class_on_a_terminal_or_in_a_file():
    row = {"file": "a.png", "class": None, "probability": 0.5, "runners_up": []}
    shown, written = (predict.make_csv_row(row, on_terminal) for on_terminal in (True, False))
    assert shown == written
    assert shown["class"] is None


def test_an_answer_is_refused_only_below_the_confidence():
    for least, best in ((0.6, "b"), (0.600001, None)):
        row = pictures.make_row("a.png", np.float32([0.4, 0.6]), ["a", "b"], 1, least)
        assert (row["class"], row["probability"], len(row["runners_up"])) == (best, 0.6, not best)


def test_the_selected_model_is_used_even_where_another_is_still_exported(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trained, "ROOT", finished.folder)
    exported = trained.open_model(None)
    assert exported.folder == finished.path("exports")
    other = next(
        path for path in finished.path("models").iterdir() if path.name != exported.training.model
    )
    digest = json.loads((other / "training.json").read_text())["file"]["sha256"]
    selection = {"selected": other.name, "sha256": digest}
    finished.path("reports/selection.json").write_text(json.dumps(selection))
    assert trained.open_model(None).folder == other


def test_the_saved_model_alone_classifies_what_can_be_read(finished: Project):
    images = np.load(finished.path("data/prepared/test.npy"))[:5, ..., 0]
    selected = finished.find_selected()
    expected = np.load(finished.path(f"models/{selected}/predictions.npz"))["test"][:5]
    folder = finished.path("pictures")
    (folder / "below").mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    Image.fromarray(images[0]).resize((90, 60)).convert("RGB").save(folder / "below" / "colour.jpg")
    Image.new("L", (90, 61)).save(folder / "large.png")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").touch()
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "notes.txt").write_text("a folder may hold other files")
    shutil.rmtree(finished.path("data"))
    # predict reads nothing but the limits from this file
    limits = {"files": 1, "file_bytes": 100_000, "total_bytes": 1, "pixels": 90 * 60}
    finished.path("params.yaml").write_text(json.dumps({"download": {"limits": limits}}))

    arguments = ("--format", "json", "--top", str(CLASSES), "pictures", "missing.png")
    output = finished.command("predict", *arguments, status=1)
    assert "Traceback" not in output
    assert (
        "error: pictures/text.png: not an image" in output
        and "error: pictures/empty.jpg: the file is empty" in output
        and "error: pictures/phone.HEIC: not an image" in output
    )
    assert (
        "error: missing.png: No such file" in output
        and "error: 5 files could not be classified" in output
    )
    assert (
        "large.png: more than 5,400 pixels, the limit download.limits.pixels in params.yaml"
        in output
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


def test_a_folder_that_may_not_be_listed_is_named_and_hidden_folders_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("closed", ".Trashes", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "open/a.png").touch()
    scan = os.scandir

    def refuse(path):
        if Path(path).name in ("closed", ".Trashes"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listed = list(finding.find_files([tmp_path]))
    assert listed == [tmp_path / "closed", tmp_path / "open/a.png"]
    with pytest.raises(PermissionError):
        pictures.read_file(listed[0], 1000)


def test_a_link_to_a_folder_is_named_and_not_followed(tmp_path: Path):
    for name in ("open/a.png", "other/below/b.png", "none/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "open/link").symlink_to(tmp_path / "other")
    (tmp_path / "open/without").symlink_to(tmp_path / "none")
    listed = list(finding.find_files([tmp_path / "open"]))
    assert listed == [tmp_path / "open/a.png", tmp_path / "open/link"]
    with pytest.raises(BadImage, match="link"):
        pictures.read_file(listed[1], 1000)
    assert list(finding.find_files([tmp_path / "open/link"])) == [
        tmp_path / "open/link/below/b.png"
    ]


def test_a_picture_never_overwrites_what_lies_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "images/folder").mkdir(parents=True)
    (tmp_path / "images/folder/a.png").touch()
    monkeypatch.chdir(tmp_path / "images")
    explainer = SimpleNamespace(
        target=tmp_path, compute_heat=lambda image, number: np.zeros((1, 1))
    )
    explainer.choose_output = lambda path: Explainer.choose_output(explainer, path)
    image = np.zeros((4, 4, 1), np.uint8)
    (tmp_path / "a.png.png/kept").mkdir(parents=True)
    (tmp_path / "folder").touch()
    Image.new("L", (1, 1), 7).save(tmp_path / "b.jpg.png")
    (tmp_path / "c.png").write_text("kept")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "d.png")
    text = PngInfo()
    text.add_text("Comment", "x" * 2**21, zip=True)  # Pillow refuses to unpack it
    Image.new("L", (1, 1)).save(tmp_path / "e.png", pnginfo=text)
    for path in ("a.png", "b.jpg", "c", "d", "e"):
        with pytest.raises(UserError, match="--explain"):
            Explainer.prepare_outputs(explainer, [Path("new.png"), Path(path)])
    with pytest.raises(UserError, match="folder cannot be made"):
        Explainer.prepare_outputs(explainer, [Path("new.png"), Path("folder/a.png")])
    Explainer.prepare_outputs(explainer, [Path("typo/a.png"), Path("x" * 300, "a.png")])
    assert not (tmp_path / "typo").exists()
    assert (tmp_path / "a.png.png/kept").is_dir()
    assert Image.open(tmp_path / "b.jpg.png").getpixel((0, 0)) == 7
    assert (tmp_path / "c.png").read_text() == "kept"
    for _ in range(2):  # its own pictures are replaced
        Explainer.prepare_outputs(explainer, [Path("own.png")])
        Explainer.draw(explainer, Path("own.png"), image, 0)


def test_pictures_of_an_earlier_run_are_not_classified(tmp_path: Path):
    explainer = SimpleNamespace(
        target=tmp_path / "why", compute_heat=lambda image, number: np.zeros((1, 1))
    )
    explainer.choose_output = lambda path: Explainer.choose_output(explainer, path)
    image = np.zeros((4, 4, 1), np.uint8)
    files = [tmp_path / "a.png", tmp_path / "b.jpg.png"]
    for path in files:
        Image.fromarray(image[..., 0]).save(path)
    Explainer.draw(explainer, Path("a.png"), image, 0)
    os.mkfifo(tmp_path / "why/c.jpg.png")  # never opened
    pipe, picture = sorted((tmp_path / "why").iterdir(), reverse=True)
    assert list(finding.find_files([tmp_path])) == [*files, pipe]
    assert list(finding.find_files([picture])) == [picture]  # unless it is named
    assert not finding.is_own(Path("a" * 300))  # no file can have such a name


def test_pictures_of_the_same_name_in_several_folders_stay_apart():
    explainer = SimpleNamespace(target=Path("why"))
    paths = (Path("/a/x.png"), Path("a/x.png"), Path("../a/x.png"), Path("../../a/x.png"))
    places = {Explainer.choose_output(explainer, path) for path in paths}
    assert len(places) == len(paths) and all(".." not in place.parts for place in places)


def test_a_folder_that_cannot_be_made_for_pictures_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    explainer = SimpleNamespace(choose_output=lambda path: Path("why", path.name))
    (tmp_path / "a.png").touch()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="folder why cannot be made"):
        Explainer.prepare_outputs(explainer, [tmp_path / "a.png"])


def test_the_current_folder_without_images_is_no_obstacle_to_explaining(tmp_path: Path):
    """That it holds no images is reported later, as for any other folder."""
    explainer = SimpleNamespace(target=tmp_path)
    explainer.choose_output = lambda path: Explainer.choose_output(explainer, path)
    Explainer.prepare_outputs(explainer, [Path(".")])


def test_the_heat_map_is_that_of_grad_cam(tmp_path: Path):
    """The only feature map is the image itself, and all pixels but one speak for the first class:
    its heat map is the image; that of the second class is empty."""
    import keras

    inputs = keras.Input((4, 4, 1), dtype="uint8")
    maps = keras.layers.Conv2D(1, 1, use_bias=False)(keras.layers.Rescaling(1 / 255)(inputs))
    flat = keras.layers.Flatten()(maps)
    outputs = keras.layers.Dense(2, "softmax", use_bias=False, name="probability")(flat)
    model = keras.Model(inputs, outputs)
    model.set_weights([np.ones((1, 1, 1, 1)), np.array([[1.0, -1.0]] * 15 + [[-5.0, 5.0]])])
    model.save(tmp_path / "model.keras")
    explainer = Explainer(tmp_path / "model.keras", tmp_path)
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    np.testing.assert_allclose(explainer.compute_heat(image, 0), image[..., 0] / 15, atol=1e-6)
    assert not explainer.compute_heat(image, 1).any()


def save_network(path: Path, precision: str) -> None:
    """A convolution of 64 × 64 pixels and a classifier, with the same weights in every precision,
    as training saves them."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((64, 64, 1), dtype="uint8"),
            layers.Rescaling(1 / 255, dtype=precision),
            layers.Conv2D(8, 3, activation="relu", dtype=precision),
            layers.Flatten(dtype=precision),
            layers.Dense(2, "softmax", dtype=precision, name="probability"),
        ]
    )
    keras.Model(network.inputs, network.outputs).save(path)


def test_the_heat_map_of_a_bfloat16_network_is_that_of_float32_but_for_rounding(tmp_path: Path):
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 1), np.uint8)
    maps = []
    for precision in ("float32", "mixed_bfloat16"):
        save_network(tmp_path / "model.keras", precision)
        maps.append(Explainer(tmp_path / "model.keras", tmp_path).compute_heat(image, 0))
    np.testing.assert_allclose(*maps, atol=0.05)


def test_a_bfloat16_network_predicts_in_float32_where_onednn_would_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_network(tmp_path / "model.keras", "mixed_bfloat16")
    for limit, processor, expected in (
        ("AVX2", "avx512", "float32"),
        ("AVX512_CORE_BF16", "avx2", "float32"),
        ("AVX512_CORE_BF16", "avx512", "bfloat16"),
    ):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        monkeypatch.setattr(checking.processor, "find_instruction_set", lambda p=processor: p)
        network = checking.load_to_predict(tmp_path / "model.keras")
        assert network.get_layer("probability").compute_dtype == expected


def test_the_heat_map_is_of_a_layer_on_all_paths_and_of_the_unaugmented_image(tmp_path: Path):
    """The last layer with maps is in a branch, and the first one flips images in training."""
    import keras

    inputs = keras.Input((8, 8, 1), dtype="uint8")
    flipped = keras.layers.RandomFlip("horizontal")(keras.layers.Rescaling(1 / 255)(inputs))
    maps = keras.layers.Conv2D(1, 1, use_bias=False, name="all")(flipped)
    branches = [
        keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(1, 1, use_bias=False)(maps))
        for _ in range(2)
    ]
    joined = keras.layers.Concatenate()(branches)
    outputs = keras.layers.Dense(2, "softmax", use_bias=False, name="probability")(joined)
    model = keras.Model(inputs, outputs)
    *kernels, dense = model.weights
    for kernel in kernels:
        kernel.assign(np.ones((1, 1, 1, 1)))
    dense.assign([[1, -1], [1, -1]])
    model.save(tmp_path / "model.keras")
    explainer = Explainer(tmp_path / "model.keras", tmp_path)
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    for _ in range(8):
        np.testing.assert_allclose(explainer.compute_heat(image, 0), image[..., 0] / 63, atol=1e-6)


def test_an_exported_folder_elsewhere_explains_its_predictions(finished: Project):
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


def test_the_classes_without_keras_and_in_any_folder_are_those_of_the_keras_file(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number, image in enumerate(np.load(finished.path("data/prepared/test.npy"))[..., 0]):
        Image.fromarray(image).save(finished.path(f"{number:02}.png"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    hiding = packages.hide_all_but_served(tmp_path / "hiding")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([hiding, str(finished.folder)]))
    selected = finished.find_selected()
    output = Project(elsewhere).command("predict", "--format", "csv", "../project")
    classes = [line.split(",")[1] for line in output.splitlines()[1:81]]
    probabilities = np.load(finished.path(f"models/{selected}/predictions.npz"))["test"]
    names = finished.read_json("exports/training.json")["class_names"]
    assert classes == [names[number] for number in probabilities.argmax(axis=1)]


def test_a_python_without_the_projects_packages_gets_a_one_line_error(finished: Project):
    output = finished.run(sys.executable, "-S", "-m", "commands.predict", "a.png", status=1)
    assert output.startswith("error: ") and "make setup" in output and output.count("\n") == 1


def test_a_mistake_in_the_environment_is_not_blamed_on_the_model(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_BACKEND", "tensroflow")
    monkeypatch.chdir(finished.folder)
    monkeypatch.setattr(trained, "ROOT", finished.folder)
    model = trained.open_model("mnist-dense")
    with pytest.raises(UserError) as caught:
        network.start(model)
    assert "tensroflow" in str(caught.value) and "dvc" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "https://example.com/a.png"])
@pytest.mark.parametrize("before", [[], ["a.png", "--explain"]])
def test_an_empty_path_or_an_address_is_refused(
    before: list[str], path: str, capsys: pytest.CaptureFixture
):
    """An empty path would be this folder with all its pictures."""
    parser = argparse.ArgumentParser()
    predict.add_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([*before, path])
    assert f"error: argument {before[-1] if before else 'PATH'}" in capsys.readouterr().err


def test_an_unknown_model_is_named_with_those_that_exist(finished: Project):
    output = finished.command("predict", "--model", "mnist-danse", "a.png", status=1)
    assert "'mnist-danse'" in output and "mnist-dense" in output and "Traceback" not in output


def image(project: Project, name: str) -> None:
    path = project.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.load(project.path("data/prepared/test.npy"))[0, ..., 0]).save(path, "PNG")


def test_files_that_are_irregular_or_too_large_are_refused_and_others_classified(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    names = ["long" * 61 + ".jpg", "=1+1.png", "\x1b]0;title\x07\nerror: forged.png"]
    for name in [*names, "folder/._a.png", "folder/__MACOSX/a.png", "folder/.cache/a.png"]:
        image(finished, name)
    image(finished, "folder/a.png")
    monkeypatch.chdir(finished.folder)
    os.mkfifo("pipe.png")
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind("socket.png")
    with open("huge.png", "wb") as file:
        file.truncate(200_000_000_000)  # sparse
    wrong = ["pipe.png", "socket.png", "huge.png", "/dev/zero", "x" * 300]
    output = finished.command("predict", *wrong, "folder", *names, status=1)
    assert "Traceback" not in output and "error: 5 files could not be classified" in output
    assert output.count("not a regular file") == 3 and "200,000,000,000 bytes" in output
    assert output.count("folder/") == 1 and "folder/a.png" in output
    assert "\x1b" not in output and "\nerror: forged" not in output
    assert "\n'=1+1.png," in finished.command("predict", "--format", "csv", "=1+1.png")
    predict.main([*map(Path, names)], "exports", "table", 3, False, False, Path("why"))
    assert len(list(Path("why").rglob("*.png"))) == len(names)


def text(folder: Path) -> None:
    (folder / "model.keras").write_text("not a model")


def truncated(folder: Path) -> None:
    (folder / "model.keras").write_bytes((folder / "model.keras").read_bytes()[:-100])


def sign(folder: Path) -> None:
    """Make the digests match the files, as an attacker would."""
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".onnx", ".keras")
    }
    if (folder / "training.json").exists():
        content = json.loads((folder / "training.json").read_text())
        content["file"]["sha256"] = digests.get("model.keras", "0" * 64)
        text = json.dumps(content)
        (folder / "training.json").write_text(text)
        digests["training.json"] = hashlib.sha256(text.encode()).hexdigest()
    if (folder / "SHA256SUMS").exists():
        lines = [f"{digest}  {name}\n" for name, digest in digests.items()]
        (folder / "SHA256SUMS").write_text("".join(lines))


def hdf5(folder: Path) -> None:
    (folder / "model.keras").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    sign(folder)


def in_archive(
    change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED
) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "model.keras"
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, content in members.items():
                file.writestr(name, content)
        sign(folder)

    return edit


def in_config(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def edit(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return in_archive(edit)


def a_lambda(config: dict) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA", "defaults": None}}
    config["config"]["layers"][1] |= {
        "class_name": "Lambda",
        "config": {"name": "rescaling", "function": code, "arguments": {}},
    }


def wider(config: dict) -> None:
    layers = config["config"]["layers"]
    for layer in layers:
        layer.pop("build_config", None)
    next(layer for layer in layers if layer["class_name"] == "Dense")["config"]["units"] = 10**9


def compressed_weights(members: dict[str, bytes]) -> None:
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        file.create_dataset("more", (10**7,), "float32", compression="gzip", fillvalue=0)
    members["model.weights.h5"] = weights.getvalue()


def in_training(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "training.json").read_text()) | changes
        content = {key: value for key, value in content.items() if value is not None}
        (folder / "training.json").write_text(json.dumps(content))
        sign(folder)

    return edit


def onnx(change: Callable[[bytes], bytes], signed: bool = True) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "model.onnx"
        path.write_bytes(change(path.read_bytes()))
        if signed:
            sign(folder)

    return edit


def other_output(content: bytes) -> bytes:
    return content.replace(b"probability", b"probabilitx")


def no_numbers(folder: Path) -> None:
    import keras

    model = keras.saving.load_model(folder / "model.keras", compile=False)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    model.save(folder / "model.keras")
    sign(folder)


KERAS = {  # of a folder without an ONNX file
    "text": (text, "their SHA-256 digests differ"),
    "truncated": (truncated, "their SHA-256 digests differ"),
    "HDF5": (hdf5, "Keras cannot load it"),
    "code": (in_config(a_lambda), "Keras cannot load it"),
    "empty": (in_config(dict.clear), "Keras cannot load it"),
    "wider": (in_config(wider), "but its layers need"),
    "compressed": (in_archive(lambda _: None, zipfile.ZIP_DEFLATED), "is compressed"),
    "compressed weights": (in_archive(compressed_weights), "is compressed"),
    "shape": (in_training(image_shape=[27, 28, 1]), "training.json says (27, 28, 1)"),
    "no file": (lambda folder: (folder / "model.keras").unlink(), "is missing"),
    "NaN": (no_numbers, "NaN"),
}
EXPORTED = {
    "changed": (onnx(lambda content: content[:-1] + b" ", signed=False), "digests differ"),
    "no protobuf": (onnx(lambda content: b"\xff" * 99), "ONNX Runtime cannot load it"),
    "truncated": (onnx(lambda content: content[:-1000]), "ONNX Runtime cannot load it"),
    "other network": (onnx(other_output), "not written by the stage export"),
    "large": (in_training(image_shape=[20_000, 20_000, 1]), "less than or equal to 4096"),
    "shape": (in_training(image_shape=[27, 28, 1]), "training.json says (27, 28, 1)"),
    "classes": (in_training(class_names=["a"]), "has 10 classes"),
    "missing key": (in_training(preprocess=None), "preprocess: Field required"),
    "type": (in_training(decoded_channels="1"), "decoded_channels: "),
    "name": (in_training(model="a</title><script>"), "model: A name has"),
    "training.json": (lambda folder: (folder / "training.json").unlink(), "is missing"),
    "model.onnx": (lambda folder: (folder / "model.onnx").unlink(), "is missing"),
    "digests": (lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff"), "digests differ"),
}
DAMAGES = {f"Keras, {name}": (True, *damage) for name, damage in KERAS.items()}
DAMAGES |= {name: (False, *damage) for name, damage in EXPORTED.items()}


@pytest.mark.parametrize(("keras", "damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_hostile_model_is_refused_with_the_reason(
    finished_template: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    keras: bool,
    damage: Callable[[Path], None],
    said: str,
):
    """In this process, since Keras takes seconds to start."""
    folder = tmp_path / "fetched"
    shutil.copytree(finished_template.path("exports"), folder, copy_function=shutil.copyfile)
    if keras:
        (folder / "model.onnx").unlink()
        (folder / "SHA256SUMS").unlink()
    damage(folder)
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        predict.main([Path("a.png")], "fetched", "table", 3, False, False, None)
    output = f"{capsys.readouterr().err}{error.value}"
    assert said in output and "dvc repro" not in output


def test_a_compiled_model_is_opened_and_nothing_is_left_behind(tmp_path: Path):
    """No uninitialised variable stays behind, to which Keras would give memory later."""
    import keras
    from keras.src.backend.common import global_state

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    loaded = checking.load(tmp_path / "model.keras")
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
    assert not global_state.get_global_attribute("uninitialized_variables")


def test_a_refusal_is_shown_without_a_traceback(finished: Project):
    folder = finished.path("fetched")
    shutil.copytree(finished.path("exports"), folder, copy_function=shutil.copyfile)
    no_protobuf, message = EXPORTED["no protobuf"]
    no_protobuf(folder)
    output = finished.command("predict", "--model", "fetched", "a.png", status=1)
    assert output.startswith("error: ") and message in output and "Traceback" not in output
