"""Arrays, and the files that Fashion-MNIST, CIFAR and the flowers are published as."""

import gzip
import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.project import ROOT
from support.sources import (
    FLAT,
    OPTIONS,
    as_cifar,
    as_fashion,
    as_folder,
    as_npz,
    as_zip,
    bring,
    digest_of,
    facts,
    images,
    publish,
)

from stages import params
from stages.runtime.errors import UserError
from stages.sources import chunks, official, writing
from stages.sources.raw import digest

pytestmark = pytest.mark.usefixtures("publishers_folder")


@pytest.mark.parametrize(
    "changes",
    [{}, {"compressed": True}, {"y_train": (np.arange(6) % 3).reshape(6, 1).astype(np.uint8)}],
)
def test_an_npz_file_becomes_a_data_set(changes):
    raw = bring(as_npz(**changes))
    with np.load("set.npz") as file:
        pixels = np.concatenate([file["x_train"], file["x_test"]])[..., None]
    assert np.array_equal(np.stack([raw.image(place) for place in range(9)]), pixels)
    assert (raw.labels.tolist(), raw.train, raw.class_names, raw.names) == (
        [0, 1, 2] * 3,
        6,
        ["0", "1", "2"],
        None,
    )
    assert raw.digests[4].tobytes() == digest(pixels[4])


def test_an_npz_file_may_have_fortran_order_and_class_names():
    pixels = np.asfortranarray(images(6, channels=3))
    raw = bring(
        as_npz(x_train=pixels, x_test=images(3, channels=3), class_names=np.array(["a", "b", "c"]))
    )
    assert np.array_equal(np.stack([raw.image(place) for place in range(6)]), pixels)
    assert raw.class_names == ["a", "b", "c"]
    assert bring("set.npz", class_names=["x", "y", "z"]).class_names == ["x", "y", "z"]


@pytest.mark.parametrize("dtype", ["uint8", "int8", ">i2", "uint64", ">u8"])
def test_labels_of_an_npz_file_may_have_any_integer_type(dtype: str):
    assert bring(as_npz(y_train=np.arange(6).astype(dtype) % 3)).labels.tolist() == [0, 1, 2] * 3


def test_class_names_of_an_npz_file_may_be_bytes():
    names = np.array([name.encode() for name in ("cat", "größe", "図")])
    assert bring(as_npz(class_names=names)).class_names == ["cat", "größe", "図"]


def test_an_npz_file_is_read_in_chunks_of_bounded_size(monkeypatch):
    expected = bring(as_npz()).digests.tolist()
    sizes = []
    write = writing.digest
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2 * 28 * 28)
    monkeypatch.setattr(
        writing, "digest", lambda image: (sizes.append(image.base.size), write(image))[1]
    )
    assert bring("set.npz").digests.tolist() == expected
    assert max(sizes) == 2 * 28 * 28


def test_an_official_npz_file_is_known_by_its_digest_and_repacked_by_its_content():
    publish("mnist", {"files": [{"sha256": digest_of(as_npz("mnist.npz"))}]})
    assert bring("mnist.npz").dataset["official"] == "data/official/mnist.yaml"
    content = official.digest_arrays(Path("mnist.npz"), OPTIONS.limits)
    publish("mnist", {"files": [{"sha256": "0" * 64, "unpacked_sha256": content}]})
    assert bring("mnist.npz").dataset["licence"] == "CC BY-SA 3.0"
    publish(
        "mnist",
        {"files": [{"sha256": "0" * 64, "unpacked_sha256": content | {"y_test": "0" * 64}}]},
    )
    with pytest.raises(UserError, match=r"mnist\.npz"):
        bring("mnist.npz")


def test_fashion_mnists_idx_files_become_a_data_set():
    raw = bring(as_fashion())
    assert (raw.train, raw.dataset["test"], raw.labels.tolist()) == (20, 10, [*range(10)] * 3)
    assert (raw.class_names[9], raw.dataset["licence"], raw.dataset["channels"]) == (
        "Ankle boot",
        "MIT",
        1,
    )
    with gzip.open("fashion/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(10, 28, 28, 1)
    assert np.array_equal(np.stack([raw.image(place) for place in range(20, 30)]), pixels)


def test_fashion_mnist_compressed_anew_is_still_recognised():
    """As Debian does: other .gz bytes with equal content."""
    folder = as_fashion()
    entries = []
    for file in params.read_checked(
        Path("data/official/fashion_mnist.yaml"), official.Publisher
    ).files:
        path = Path(folder, file.name)
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(content, 1, mtime=1))
        entries.append(
            {
                "sha256": file.sha256,
                "unpacked_sha256": {path.stem: hashlib.sha256(content).hexdigest()},
            }
        )
    publish("fashion_mnist", {"files": entries})
    assert bring(folder).train == 20


@pytest.mark.parametrize(
    "name, order",
    [
        ("cifar10", ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")),
        ("cifar100", ("train.bin", "test.bin")),
    ],
)
def test_cifars_binary_archive_becomes_a_data_set(name, order):
    path = as_cifar(name)
    raw = bring(path)
    with tarfile.open(path) as archive:
        content = b"".join(archive.extractfile(f"made/{file}").read() for file in order)
    label_bytes = 1 if name == "cifar10" else 2
    made = np.frombuffer(content, np.uint8).reshape(-1, label_bytes + 3072)
    assert raw.labels.tolist() == made[:, label_bytes - 1].tolist()
    assert (raw.class_names, raw.dataset["test"], raw.dataset["official"]) == (
        ["a", "b", "c"],
        3,
        f"data/official/{name}.yaml",
    )
    red, green, blue = made[4, label_bytes:].reshape(3, 32, 32)
    assert np.array_equal(raw.image(4), np.stack([red, green, blue], axis=-1))


def test_the_second_copy_of_the_tree_in_the_flowers_archive_is_ignored():
    once = {f"flowers/{name}": content for name, content in FLAT.items()}
    twice = once | {f"flowers/{name}": content for name, content in once.items()}
    publish("flowers", {"files": [{}], "images": {"cat": 3, "dog": 3}})
    raw = bring(as_zip(twice, "flowers-recognition.zip"))
    assert raw.names == sorted(FLAT)
    assert facts(bring(as_folder(twice, "unpacked") + "/flowers")) == facts(raw)


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((ROOT / "data/official").glob("*.yaml"))]
)
def test_each_publishers_description_is_complete(name):
    publisher = params.read_checked(Path(f"data/official/{name}.yaml"), official.Publisher)
    assert all(file.digest or publisher.images for file in publisher.files)
    assert f"data/official/{name}.yaml" == params.load(ROOT / "params.yaml").datasets[name].source


def test_a_publishers_data_set_is_read_from_data_downloads():
    Path("data/downloads/cifar10").mkdir(parents=True)
    shutil.move(as_cifar(), "data/downloads/cifar10")
    raw = bring("data/official/cifar10.yaml")
    assert (raw.train, json.loads(Path("data/raw/mine/dataset.json").read_text())["kind"]) == (
        15,
        "cifar",
    )
