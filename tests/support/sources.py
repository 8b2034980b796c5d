"""Small data sets in the forms that people and publishers use."""

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from stages.params.schema import Source
from stages.sources import dataset
from stages.sources.raw import Raw
from support.example import load_example
from support.pictures import claim_size

OPTIONS = load_example().download
RANDOM = np.random.default_rng(0)


def bring(source: str, class_names=None, limits=(), **changes) -> Raw:
    options = OPTIONS.model_copy(
        update=changes | {"limits": OPTIONS.limits.model_copy(update=dict(limits))}
    )
    dataset.import_dataset(
        "mine", Source(source=source, class_names=class_names), options, Path("data/raw")
    )
    return Raw(Path("data/raw/mine"))


def encoded(kind="PNG", size=(5, 4), mode="RGB", **options) -> bytes:
    """An image file with random pixels."""
    shape = size[::-1] if mode == "L" else (*size[::-1], {"RGB": 3, "RGBA": 4, "CMYK": 4}[mode])
    file = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, shape, np.uint8), mode).save(file, kind, **options)
    return file.getvalue()


def digest_of(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def publish(name: str, changes: dict) -> None:
    """Fit a publisher's description to files made here; ``files`` has one change per file."""
    path = Path(f"data/official/{name}.yaml")
    description = yaml.safe_load(path.read_text())
    for file, change in zip(description["files"], changes.pop("files")):
        for key in ("bytes", "md5", "sha256", "unpacked_sha256"):
            file.pop(key, None)
        file.update(change)
    path.write_text(yaml.safe_dump(description | changes))


TREE = {
    f"{part}/{label}/{number}.png": encoded()
    for part in ("train", "test")
    for label in ("cat", "dog")
    for number in range(3)
}


FLAT = {
    name.removeprefix("train/"): content
    for name, content in TREE.items()
    if name.startswith("train/")
}


def as_folder(tree: dict[str, bytes | None], name="set") -> str:
    for file, content in tree.items():
        path = Path(name, file)
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
    return name


def as_zip(tree: dict[str, bytes | None], name="set.zip", mode=None) -> str:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in tree.items():
            info = zipfile.ZipInfo(file + "/" * (content is None))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (mode or 0) << 16
            archive.writestr(info, content or b"")
    return name


def as_tar(tree: dict[str, bytes | None], name="set.tar.gz", **members) -> str:
    with tarfile.open(name, "w:" + name.rpartition(".")[2].replace("tar", "")) as archive:
        for file, content in tree.items():
            info = tarfile.TarInfo(file)
            info.size = len(content or b"")
            info.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(content or b""))
        for file, kind in members.items():
            info = tarfile.TarInfo(file)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return name


def facts(raw: Raw) -> tuple:
    return (
        raw.names,
        raw.labels.tolist(),
        raw.digests.tobytes(),
        raw.class_names,
        raw.train,
        Path("data/raw/mine/images.bin").read_bytes(),
    )


BAD_IMAGES = {
    "empty": b"",
    "text": b"This is not an image.\n" * 20,
    "truncated PNG": encoded()[:-30],
    "truncated JPEG": encoded("JPEG", (64, 64))[:-200],
    "truncated GIF": encoded("GIF", (64, 64))[:300],
    "truncated WebP": encoded("WEBP", (64, 64))[:-100],
    "truncated BMP": encoded("BMP")[:-10],
    "header only": encoded()[:33],
    "huge dimensions": claim_size(50_000, 50_000),
    "TIFF": encoded("TIFF"),
    "AVIF": encoded("AVIF"),
    "PDF": b"%PDF-1.4 nothing",
    "zip": b"PK\x03\x04" + bytes(50),
}


def images(count: int, side=28, channels=0) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, side, side, channels)[: 3 + bool(channels)], np.uint8)


def as_npz(name="set.npz", compressed=False, **changes) -> str:
    arrays = {
        "x_train": images(6),
        "y_train": np.arange(6) % 3,
        "x_test": images(3),
        "y_test": np.arange(3),
    } | changes
    save = np.savez_compressed if compressed else np.savez
    save(name, **{key: array for key, array in arrays.items() if array is not None})
    return name


def as_idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def as_fashion(folder="fashion", **changes) -> str:
    """Fashion-MNIST's four files and their publisher's description. The keys of `changes` are the
    beginnings of file names."""
    Path(folder).mkdir()
    content = {
        "train_images": as_idx(images(20)),
        "train_labels": as_idx(np.arange(20) % 10),
        "t10k_images": as_idx(images(10)),
        "t10k_labels": as_idx(np.arange(10)),
    } | changes
    published = []
    for (name, data), end in zip(content.items(), ("idx3", "idx1") * 2):
        path = Path(folder, f"{name.replace('_', '-')}-{end}-ubyte.gz")
        path.write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data))
        published.append({"sha256": digest_of(path)})
    publish("fashion_mnist", {"files": published})
    return folder


def records(count: int, label_bytes: int) -> bytes:
    rows = RANDOM.integers(0, 256, (count, label_bytes + 3072), np.uint8)
    rows[:, label_bytes - 1] = np.arange(count) % 3
    return rows.tobytes()


def as_cifar(name="cifar10", **changes) -> str:
    """CIFAR's binary archive with three classes, its members out of order, and its publisher's
    description."""
    label_bytes = 1 if name == "cifar10" else 2
    tree = {
        "readme.html": b"",
        "test_batch.bin": records(3, 1),
        "data_batch_2.bin": records(6, 1),
        "batches.meta.txt": b"a\nb\nc\n\n",
        "data_batch_1.bin": records(9, 1),
    }
    if label_bytes == 2:
        tree = {
            "train.bin": records(6, 2),
            "coarse_label_names.txt": b"k\n",
            "fine_label_names.txt": b"a\nb\nc\n",
            "test.bin": records(3, 2),
        }
    tree |= changes
    path = as_tar(
        {f"made/{file}": content for file, content in tree.items() if content is not None},
        f"cifar-{name[5:]}-binary.tar.gz",
    )
    publish(name, {"files": [{"sha256": digest_of(path)}]})
    return path


def put(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def xz_for(dictionary: int) -> str:
    """A tar.xz whose header asks for a dictionary of 4 GB (40), 64 MB (28), ..."""
    as_tar(FLAT, "set.tar")
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    content = bytearray(lzma.compress(Path("set.tar").read_bytes(), filters=filters))
    end = 12 + 4 * content[12]  # of the first block's header, without its checksum
    assert content[14] == 0x21  # LZMA2; the size of the dictionary follows
    content[16] = dictionary
    content[end : end + 4] = struct.pack("<I", zlib.crc32(content[12:end]))
    return put("set.tar.xz", bytes(content))
