"""Pre-trained weights: the list of published files, which files are accepted, and that a network
loads from them what Keras would."""

import re
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.networks import TINY
from support.project import data_json
from support.servers import OPTIONS, Server

from stages import params
from stages.params.families import Application
from stages.params.names import APPLICATIONS
from stages.runtime import inputs
from stages.runtime.errors import UserError
from stages.sources import pretrained
from stages.storage import files, hdf5
from stages.training import backend

LAYERS = [("conv2d", [(3, 3, 3, 2)]), ("batch_normalization", [(2,), (2,), (2,), (2,)])]
NETWORK = {key: value for key, value in TINY.items() if key not in ("family", "fine_tuning")}


def test_the_list_of_files_has_the_digests_of_the_installed_keras():
    source = Path(find_spec("keras").origin).parent / "src" / "applications"
    known = set()
    for file in source.glob("*.py"):
        if file.name not in ("imagenet_utils.py", "applications_test.py"):
            known |= set(re.findall(r'"([0-9a-f]{32}|[0-9a-f]{64})"', file.read_text("utf-8")))
    listed = pretrained.load_published()
    assert {file.digest.split()[1] for file in listed if file.digest} <= known
    assert {file.network for file in listed if not file.digest} == {"MobileNet", "MobileNetV2"}
    assert {(file.network, file.top) for file in listed} == {
        (name, top) for name in APPLICATIONS for top in (True, False)
    }


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"arguments": {}}, "mobilenet_1_0_224_tf_no_top.h5"),
        (
            {"arguments": {"alpha": 0.5}, "weights": "imagenet-160"},
            "mobilenet_5_0_160_tf_no_top.h5",
        ),
        ({"top": "own", "arguments": {"dropout": 0.5}}, "mobilenet_1_0_224_tf.h5"),
        (
            {"network": "MobileNetV3Small", "arguments": {"minimalistic": True}},
            "weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5",
        ),
        ({"network": "NASNetMobile", "arguments": {}}, "nasnet_mobile_no_top.h5"),
    ],
)
def test_imagenet_names_the_file_that_keras_would_fetch(changes: dict, name: str):
    assert pretrained.find("tiny", Application(**TINY | changes)).name == name


@pytest.mark.parametrize("changes", [{"arguments": {"alpha": 0.3}}, {"weights": "imagenet-96"}])
def test_weights_that_keras_does_not_publish_are_refused(changes: dict):
    with pytest.raises(UserError, match="architectures.tiny.weights"):
        pretrained.find("tiny", Application(**TINY | changes))


def write(path: Path, arrays: list[np.ndarray] | None = None) -> None:
    """Write a file of weights of `LAYERS` as keras.applications publishes them."""
    shapes = [shape for _, of_layer in LAYERS for shape in of_layer]
    arrays = arrays or [np.full(shape, number, np.float32) for number, shape in enumerate(shapes)]
    names = {"conv": ["conv/kernel:0"], "bn": [f"bn/{key}:0" for key in "abcd"]}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["image", *names]
        file.create_group("image").attrs["weight_names"] = []
        left = iter(arrays)
        for layer, weights in names.items():
            file.create_group(layer).attrs["weight_names"] = weights
            for weight in weights:
                file[layer][weight] = next(left)


def test_weights_are_read_in_their_order(tmp_path: Path):
    write(tmp_path / "w.h5")
    layers = hdf5.read(tmp_path / "w.h5", LAYERS)
    assert [[array.flat[0] for array in arrays] for arrays in layers] == [[0], [1, 2, 3, 4]]


def other_shape(path: Path) -> None:
    write(path, [np.zeros((3, 3, 3, 4))] + [np.zeros(4)] * 4)


def other_layers(path: Path) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["conv"]


def other_names(path: Path) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]


def cut(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def linked(path: Path) -> None:
    write(path)
    write(path.with_name("secret.h5"))
    with h5py.File(path, "a") as file:
        del file["conv/conv/kernel:0"]
        file["conv/conv/kernel:0"] = h5py.ExternalLink("secret.h5", "conv/conv/kernel:0")


def elsewhere(path: Path) -> None:
    write(path)
    path.with_name("secret.bin").write_bytes(bytes(216))
    with h5py.File(path, "a") as file:
        del file["conv/conv/kernel:0"]
        external = [(str(path.with_name("secret.bin")), 0, 216)]
        file["conv"].create_dataset("conv/kernel:0", (3, 3, 3, 2), "f4", external=external)


def not_a_number(path: Path) -> None:
    write(path, [np.full((3, 3, 3, 2), np.nan)] + [np.zeros(2)] * 4)


def packed(path: Path) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        del file["conv/conv/kernel:0"]
        shapes = {"shape": (3, 3, 3, 2), "maxshape": (None,) * 4, "chunks": (300, 300, 300, 2)}
        file["conv"].create_dataset("conv/kernel:0", dtype="f4", compression="gzip", **shapes)


def text(path: Path) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        del file["conv/conv/kernel:0"]
        file["conv/conv/kernel:0"] = np.full((3, 3, 3, 2), b"1")


@pytest.mark.parametrize(
    "harm",
    [other_shape, other_layers, other_names, cut, linked, elsewhere, not_a_number, packed, text],
)
def test_a_file_of_unsuitable_or_harmful_weights_is_refused(tmp_path: Path, harm):
    harm(tmp_path / "w.h5")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "w.h5"))):
        hdf5.read(tmp_path / "w.h5", LAYERS)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"\x80\x04\x95\x1d\x00\x00\x00", "pickle"),
        (b"PK\x03\x04", "archive"),
        (b"", "not an HDF5 file"),
    ],
)
def test_a_file_that_is_not_hdf5_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, named: str
):
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(UserError, match=named):
        hdf5.read(tmp_path / "w.h5", LAYERS)


def test_a_published_file_comes_from_a_mirror_and_anything_else_is_deleted(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pretrained, "DOWNLOADS", tmp_path)
    options = OPTIONS.model_copy(update={"mirror": server.address})
    with pytest.raises(UserError, match="mobilenet_2_5_224_tf_no_top.h5 by hand"):
        pretrained.obtain("tiny", Application(**TINY), options)  # the server's bytes are no HDF5
    assert server.seen == [("/mobilenet_2_5_224_tf_no_top.h5", None)]
    write(tmp_path / "mobilenet_2_5_224_tf_no_top.h5")
    path, about = pretrained.obtain("tiny", Application(**TINY), options)
    assert about["bytes"] == path.stat().st_size and len(server.seen) == 1


def test_a_truncated_published_file_is_deleted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrained, "DOWNLOADS", tmp_path)
    options = OPTIONS.model_copy(update={"mirror": server.address})
    path = tmp_path / "mobilenet_2_5_224_tf_no_top.h5"
    cut(path)
    with pytest.raises(UserError, match="by hand"):
        pretrained.obtain("tiny", Application(**TINY), options)
    assert not path.exists()


def test_kept_weights_replace_a_missing_file_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    own = Application(**TINY | {"weights": str(tmp_path / "mine.h5")})
    write(tmp_path / "mine.h5")
    pretrained.write(tmp_path / "first", "tiny", own, OPTIONS, kept=tmp_path / "none")
    kept = (tmp_path / "first/weights.h5").read_bytes()

    def bring_again(folder: str) -> bytes:
        pretrained.write(tmp_path / folder, "tiny", own, OPTIONS, kept=tmp_path / "first")
        return (tmp_path / folder / "weights.h5").read_bytes()

    write(tmp_path / "mine.h5", [np.ones(shape) for _, shapes in LAYERS for shape in shapes])
    assert bring_again("second") == (tmp_path / "mine.h5").read_bytes() != kept
    (tmp_path / "mine.h5").unlink()
    assert bring_again("third") == kept
    assert files.read_json(Path("third/source.json")) == files.read_json(Path("first/source.json"))
    (tmp_path / "first/weights.h5").write_bytes(b"damaged")
    with pytest.raises(UserError, match="no file lies at"):
        bring_again("fourth")


def test_a_kept_published_file_is_not_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrained, "DOWNLOADS", tmp_path / "downloads")
    options = OPTIONS.model_copy(update={"mirror": server.address})
    file = pretrained.find("tiny", Application(**TINY))
    kept = tmp_path / "kept"
    kept.mkdir()
    write(kept / "weights.h5")
    about = pretrained.describe(kept / "weights.h5", "imagenet", file.url, "of before")
    files.write_json(kept / "source.json", about)
    pretrained.write(tmp_path / "first", "tiny", Application(**TINY), options, kept)
    assert not server.seen
    assert files.read_json(tmp_path / "first/source.json") == about | {"licence": file.licence}
    cut(kept / "weights.h5")
    about = pretrained.describe(kept / "weights.h5", "imagenet", file.url, file.licence)
    files.write_json(kept / "source.json", about)
    with pytest.raises(UserError):  # the server's bytes are no HDF5
        pretrained.write(tmp_path / "second", "tiny", Application(**TINY), options, kept)
    assert len(server.seen) == 1


def test_a_training_started_by_hand_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    files.write_json(Path("data/weights/tiny/source.json"), {"weights": "mine.h5"})
    with pytest.raises(UserError, match="architectures.tiny.weights"):
        inputs.check_weights("tiny", Application(**TINY))
    inputs.check_weights("tiny", Application(**TINY | {"weights": "mine.h5"}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fine_tuning": None}, "fine_tuning"),
        ({"arguments": {"include_preprocessing": False}}, "include_preprocessing"),
        ({"fine_tuning": TINY["fine_tuning"] | {"head_epochs": 0, "layers": "none"}}, "nothing"),
    ],
)
def test_a_setting_that_contradicts_pretrained_weights_is_named(
    tmp_path: Path, changes: dict, named: str
):
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load(Path("params.yaml").read_text("utf-8"))
    content["architectures"]["tiny"] = TINY | changes
    content["models"] = ["tiny"]
    yaml.dump(content, tmp_path / "params.yaml")
    with pytest.raises(UserError, match=named):
        params.load(tmp_path / "params.yaml")


@pytest.fixture(scope="module")
def keras():
    backend.start(threads=2)
    import keras

    return keras


@pytest.mark.parametrize("network", APPLICATIONS)
def test_pixels_are_prepared_as_keras_prepares_them(keras, network: str):
    import sys

    from stages.architectures import application

    module = sys.modules[getattr(keras.applications, network).__module__]
    image = np.arange(48).reshape(1, 4, 4, 3).astype(np.uint8) * 5
    expected = module.preprocess_input(image.astype(np.float32))
    inputs = keras.Input((4, 4, 3), dtype="uint8")
    obtained = keras.Model(inputs, application.normalise(inputs, network))(image)
    np.testing.assert_allclose(obtained, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("published", [True, False])
def test_deviations_published_as_variances_are_squared_as_keras_does(
    keras, tmp_path: Path, published: bool
):
    from stages.architectures import application

    inputs = keras.Input((4, 4, 3))
    normalised = keras.layers.Normalization(axis=-1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="probability")(normalised))
    variance = application.IMAGENET_STD if published else np.array([0.3, 0.5, 1.0])
    model.layers[1].set_weights([np.zeros(3), variance, np.array(0)])
    keras.Model(inputs, normalised).save_weights(tmp_path / "a.weights.h5")
    application.load(model, tmp_path / "a.weights.h5", "EfficientNetB0", "global_average_pooling")
    obtained = model.layers[1].get_weights()[1]
    np.testing.assert_allclose(obtained, variance**2 if published else variance, rtol=1e-6)


def as_published(keras, model, path: Path) -> None:
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.h5", as_published),
        ("w.weights.h5", lambda keras, model, path: model.save_weights(path)),
        ("w.h5", lambda keras, model, path: model.save(path)),
    ],
    ids=["published", "weights", "model"],
)
@pytest.mark.parametrize("top", ["own", "global_average_pooling"])
def test_a_network_predicts_as_keras_does_with_its_weights(
    keras, tmp_path: Path, top: str, name: str, save
):
    from stages import architectures
    from stages.architectures import application

    options = {"alpha": 0.25, "weights": None, "input_shape": (32, 32, 3)}
    keras_network = keras.applications.MobileNet(include_top=top == "own", **options)
    for layer in keras_network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(0.1 * np.arange(layer.moving_mean.shape[0]) % 1)
    save(keras, keras_network, tmp_path / name)
    network = architectures.build(
        "tiny", "application", NETWORK | {"top": top}, data_json([32, 32, 3], 4)
    )
    application.load(network, tmp_path / name, "MobileNet", top)
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    last = keras_network.get_layer("conv_pw_13_relu").output
    features = keras.Model(keras_network.input, last)(image / 127.5 - 1)
    obtained = keras.Model(network.input, network.get_layer("conv_pw_13_relu").output)(image)
    np.testing.assert_allclose(obtained, features, rtol=1e-4, atol=1e-5)


def test_weights_of_another_alpha_are_refused_before_training(keras, tmp_path: Path):
    from stages import architectures
    from stages.architectures import application

    other = keras.applications.MobileNet(
        alpha=0.5, weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    other.save_weights(tmp_path / "w.weights.h5")
    network = architectures.build("tiny", "application", NETWORK, data_json([32, 32, 3], 4))
    with pytest.raises(UserError, match="another network"):
        application.load(network, tmp_path / "w.weights.h5", "MobileNet", "global_average_pooling")
