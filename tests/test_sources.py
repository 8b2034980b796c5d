"""Data sets of every kind of source through the stage download, good and bad, each made here."""

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.pictures import write_png

from stages import download, params
from stages.images import decode as decoding
from stages.images.decode import BadImage, decode
from stages.images.naming import is_image_file
from stages.params.schema import Source
from stages.runtime.errors import UserError
from stages.source import describe_source
from stages.sources import archives, official, writing
from stages.sources.parts import are_parts
from stages.sources.raw import Raw, digest

PROJECT = Path(__file__).parents[1]
OPTIONS = params.load(PROJECT / "params.yaml").download
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder that has nothing of the project but what publishers say."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PROJECT / "data/official", "data/official")


def bring(source: str, class_names=None, limits=(), **changes) -> Raw:
    options = OPTIONS.model_copy(
        update=changes | {"limits": OPTIONS.limits.model_copy(update=dict(limits))}
    )
    download.bring("mine", Source(source=source, class_names=class_names), options)
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
    """Change what the publisher says to suit files made here; a change of
    ``files`` is one a file."""
    path = Path(f"data/official/{name}.yaml")
    said = yaml.safe_load(path.read_text())
    for file, change in zip(said["files"], changes.pop("files")):
        for key in ("bytes", "md5", "sha256", "unpacked_sha256"):
            file.pop(key, None)
        file.update(change)
    path.write_text(yaml.safe_dump(said | changes))


# --- folders, zip and tar
# ---------------------------------------------------------------------------------------------

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


def test_folder_zip_and_tar_give_the_same_data_set():
    backwards = dict(reversed(TREE.items()))
    wrapped = {f"./wrap/{name}": content for name, content in backwards.items()}
    litter = TREE | dict.fromkeys(
        (".DS_Store", "train/cat/._0.png", "train/Thumbs.db", "__MACOSX/train/cat/0.png", "README"),
        b"x",
    )
    expected = facts(bring(as_folder(TREE)))
    for source in (
        as_zip(backwards),
        as_tar(backwards),
        as_tar(wrapped, "wrapped.tar"),
        as_tar(wrapped, "wrapped.tar.xz"),
        as_zip(wrapped, "wrapped.zip"),
        as_zip(litter, "litter.zip"),
        as_folder(litter, "litter"),
    ):
        assert facts(bring(source)) == expected
    names, labels, _, class_names, train, _ = expected
    assert names == [
        f"{part}/{label}/{number}.png"
        for part in ("train", "test")
        for label in ("cat", "dog")
        for number in range(3)
    ]
    assert (labels, class_names, train) == ([0, 0, 0, 1, 1, 1] * 2, ["cat", "dog"], 6)


def test_encoded_images_are_read_back():
    raw = bring(as_zip(TREE))
    for place, (name, image) in enumerate(zip(raw.names, raw.images(range(12)))):
        assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(TREE[name]))))
        assert raw.digests[place].tobytes() == digest(image)
    assert np.array_equal(
        next(iter(raw.images([7]))), np.asarray(Image.open(io.BytesIO(TREE[raw.names[7]])))
    )
    assert raw.dataset["width"] == {"min": 5, "max": 5} and raw.dataset["height"] == {
        "min": 4,
        "max": 4,
    }
    assert (raw.dataset["kind"], raw.dataset["source_digest"]) == ("zip", digest_of("set.zip"))


def test_where_a_source_lies_is_no_part_of_the_data(tmp_path):
    content, written = Path(as_zip(TREE)).read_bytes(), set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "set.zip").write_bytes(content)
        bring(str(tmp_path / folder / "set.zip"))
        written.add(Path("data/raw/mine/dataset.json").read_bytes())
    assert len(written) == 1


def test_without_parts_all_is_for_training_and_classes_may_be_named_train_and_test():
    names = ["bus", "car", "naïve Straße 图", "test", "train"]
    raw = bring(as_folder({f"{name}/1.png": encoded() for name in reversed(names)}))
    assert (raw.train, raw.dataset["test"], raw.class_names) == (5, 0, names)
    assert raw.names == [f"{name}/1.png" for name in names]


@pytest.mark.parametrize(
    "names",
    [
        ("bus", "train", "tram"),
        ("freight_train", "steam_train"),
        ("trainers", "boots"),
        ("valid", "invalid"),
        ("blood_test", "urine_test"),
        ("1", "2"),
        ("small", "full"),
    ],
)
def test_what_only_sounds_like_a_part_is_a_class(names: tuple[str, ...]):
    assert not are_parts(list(names))


def test_a_long_name_of_a_folder_is_told_from_a_part_at_once():
    unit = "testevaltrainvalsetsunlabeled"
    assert not are_parts([f"{unit * 8}!", f"{unit * 8}?"])


def test_an_archive_of_deep_folders_takes_no_memory_for_each_of_them():
    as_tar({f"{number}{'/a' * 2000}/x.png": b"x" for number in range(20)})
    _, folders = archives.survey(Path("set.tar.gz"), OPTIONS.limits)
    assert max(name.count("/") for name in folders) < 5


def test_an_archive_packed_as_small_as_can_be():
    assert facts(bring(xz_for(28))) == facts(bring(as_tar(FLAT)))


def test_names_of_all_scripts_and_spaces_of_all_widths_are_names():
    """Joiners shape Persian words and emoji; macOS writes U+202F into the names of screenshots."""
    names = ["گل\u200cها", "👨\u200d👩\u200d👧", "<b>|=1", "4\u202fPM"]
    raw = bring(as_zip({f"{name}/{name}.png": encoded() for name in names}))
    assert raw.class_names == sorted(names)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("cat/1.PNG", True),
        ("cat/a.b/1.jpeg", True),
        ("cat/1.txt", False),
        ("cat/._1.png", False),
        (".cache/1.png", False),
        ("__MACOSX/cat/1.png", False),
        ("Thumbs.db", False),
    ],
)
def test_one_rule_says_what_is_an_image_file(name: str, taken: bool):
    assert is_image_file(name) == taken


def test_a_second_run_writes_the_same_bytes():
    def run() -> dict[str, bytes]:
        bring(as_zip(TREE | {"train/cat/bad.png": b"x"}), on_bad_image="skip")
        return {path.name: path.read_bytes() for path in Path("data/raw/mine").iterdir()}

    first = run()
    assert run() == first
    assert set(first) == {
        "images.bin",
        "offsets.npy",
        "names.txt",
        "labels.npy",
        "digests.npy",
        "dataset.json",
    }


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar])
def test_bad_images_are_skipped_and_listed(pack):
    bad = {
        "train/cat/!first.png": b"text",
        "train/dog/1b.jpg": b"",
        "test/dog/zz.png": encoded()[:60],
        "stray.jpg": b"x",
    }
    raw = bring(pack(TREE | bad), on_bad_image="skip")
    assert [entry["file"] for entry in raw.dataset["skipped"]] == sorted(bad)
    good = bring(as_zip(TREE, "good.zip"))
    assert facts(raw) == facts(good)
    with pytest.raises(UserError) as error:
        bring(pack(TREE | bad))
    assert all(name in str(error.value) for name in bad)


def test_a_class_named_like_the_folder_around_it_keeps_its_images():
    tree = {f"cat/{name}": content for name, content in FLAT.items()}  # cat/cat/, cat/dog/
    raw = bring(as_zip(tree | {"cat/0.png": encoded()}), on_bad_image="skip")
    assert [entry["file"] for entry in raw.dataset["skipped"]] == ["cat/0.png"]
    assert len(raw.labels) == len(FLAT)


def test_names_as_macos_writes_them():
    """Its zips do not say that their names are UTF-8, and its é is an e and an accent."""
    composed, apart = "árbol", unicodedata.normalize("NFD", "árbol")
    assert composed != apart
    tree = {f"train/{composed}/0.png": encoded(), f"test/{apart}/0.png": encoded()}
    tree |= {f"{part}/niño/1.png": encoded() for part in ("train", "test")}
    content = bytearray(Path(as_zip(tree)).read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(start, place + 1)) >= 0:
            content[place + flags + 1] &= ~0x08
    Path("set.zip").write_bytes(content)
    for source in ("set.zip", as_folder(tree)):
        raw = bring(source)
        assert raw.class_names == ["niño", "árbol"]
        assert raw.labels.tolist() == [0, 1, 0, 1]


def test_what_is_hidden_in_a_folder_is_no_part_of_it():
    expected, digest = facts(bring(as_folder(FLAT))), describe_source(Path("set"))
    os.symlink("nowhere", "set/cat/.#0.png")  # the lock of an editor
    os.mkdir("set/.git")
    os.symlink("/", "set/.git/root")
    Path("set/cat/.DS_Store").write_bytes(b"x")
    assert facts(bring("set")) == expected and describe_source(Path("set")) == digest


@pytest.mark.parametrize("name", ["set.npz", "set.yaml", "set.zip"])
def test_a_folder_may_be_named_like_a_file(name: str):
    assert facts(bring(as_folder(FLAT, name))) == facts(bring(as_folder(FLAT)))


def test_too_little_memory_makes_no_image_a_bad_one(monkeypatch: pytest.MonkeyPatch):
    def converted(*_):
        raise MemoryError

    monkeypatch.setattr(decoding, "converted", converted)
    with pytest.raises(MemoryError):
        bring(as_folder(FLAT), on_bad_image="skip")


def test_data_that_were_damaged_since_are_named():
    raw = bring(as_zip(FLAT))
    content = bytearray(Path("data/raw/mine/images.bin").read_bytes())
    content[40:70] = b"x" * 30
    Path("data/raw/mine/images.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"data/raw/mine is damaged: cat/0\.png"):
        list(Raw(Path("data/raw/mine")).images(range(len(raw.labels))))


def test_links_to_images_in_a_folder_are_followed():
    as_folder(FLAT, "true")
    as_folder({"cat": None, "dog": None})
    for name in FLAT:
        os.symlink(Path("true", name).resolve(), Path("set", name))
    assert facts(bring("set")) == facts(bring("true"))


# --- decoding
# ---------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RGB = Image.fromarray(RANDOM.integers(0, 256, (4, 5, 3), np.uint8))
GREY16 = np.array([[0, 65535], [32768, 300]], np.uint16)
HALF = Image.new("RGBA", (2, 2), (255, 0, 0, 128))


def png(depth: int, colour: int, pixels: bytes, transparent: bytes) -> bytes:
    """A PNG of two pixels, of which the second has the transparent colour."""
    return write_png(
        (b"IHDR", struct.pack(">2I5B", 2, 1, depth, colour, 0, 0, 0)),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(b"\0" + pixels)),
    )


BLACK_AND_WHITE = np.uint8([[[0] * 3, [255] * 3]])
EXIF = Image.Exif()
EXIF[0x0112] = 6
FRAMES = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
GOOD = {  # file, and the pixels in three channels that it must decode to
    "PNG": (saved(RGB, "PNG"), np.asarray(RGB)),
    "BMP": (saved(RGB, "BMP"), np.asarray(RGB)),
    "WebP": (saved(RGB, "WEBP", lossless=True), np.asarray(RGB)),
    "JPEG": (
        saved(Image.new("RGB", (9, 7), (10, 200, 90)), "JPEG"),
        np.tile(np.uint8([10, 200, 90]), (7, 9, 1)),
    ),
    "JPEG in CMYK": (
        saved(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"),
        np.zeros((8, 8, 3), np.uint8),
    ),
    "grey JPEG": (saved(Image.new("L", (8, 8), 77), "JPEG"), np.full((8, 8, 3), 77, np.uint8)),
    "GIF, first frame": (
        saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
        np.asarray(FRAMES[0]),
    ),
    "WebP, first": (
        saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True),
        np.asarray(FRAMES[0]),
    ),
    "16-bit grey": (
        saved(Image.fromarray(GREY16), "PNG"),
        np.uint8([[0, 255], [128, 1]])[..., None].repeat(3, 2),
    ),
    "black and white": (
        saved(Image.fromarray(np.array([[True, False]])), "PNG"),
        np.uint8([[[255] * 3, [0] * 3]]),
    ),
    "palette": (
        saved(Image.new("RGB", (2, 1), (9, 8, 7)).quantize(2), "PNG"),
        np.tile(np.uint8([9, 8, 7]), (1, 2, 1)),
    ),
    "palette, transparent": (
        saved(Image.new("P", (2, 1), 0), "PNG", transparency=0),
        np.full((1, 2, 3), 255, np.uint8),
    ),
    "alpha onto white": (saved(HALF, "PNG"), np.tile(np.uint8([255, 127, 127]), (2, 2, 1))),
    "grey with alpha": (
        saved(Image.new("LA", (2, 2), (0, 0)), "PNG"),
        np.full((2, 2, 3), 255, np.uint8),
    ),
    "one colour transparent": (
        saved(FRAMES[1], "PNG", transparency=(0, 0, 255)),
        np.full((3, 3, 3), 255, np.uint8),
    ),
    **{
        f"a transparent colour of {what}": (png(*made), BLACK_AND_WHITE)
        for what, made in {
            "1 bit": (1, 0, b"\x40", b"\0\1"),
            "2 bits": (2, 0, b"\x10", b"\0\1"),
            "4 bits": (4, 0, b"\x05", b"\0\5"),
            "8 bits": (8, 0, b"\0\5", b"\0\5"),
            "16 bits": (16, 0, b"\0\0\1\x09", b"\1\x09"),
            "3 × 16 bits": (16, 2, bytes(6) + b"\1\2\3\4\5\6", b"\1\2\3\4\5\6"),
            "3 × 16 bits, of which one pixel is near": (
                16,
                2,
                b"\0\2\0\4\0\6\0\2\0\4\0\7",
                b"\0\2\0\4\0\7",
            ),
            "8 bits, with more bits than count": (8, 0, b"\0\5", b"\1\5"),
            "4 bits, with more bits than count": (4, 0, b"\x05", b"\1\5"),
        }.items()
    },
    "turned by EXIF": (saved(RGB, "PNG", exif=EXIF), np.rot90(np.asarray(RGB), -1)),
    "damaged EXIF": (saved(RGB, "PNG", exif=b"Exif\0\0nonsense"), np.asarray(RGB)),
}


@pytest.mark.parametrize("content, pixels", GOOD.values(), ids=GOOD)
def test_decodes(content, pixels):
    image = decode(content, 3)
    assert image.dtype == np.uint8 and image.shape == pixels.shape
    assert np.abs(image.astype(int) - pixels).max() <= 2  # of JPEG; the others are exact
    grey = decode(content, 1)
    assert grey.shape == (*pixels.shape[:2], 1)
    assert np.abs(grey[..., 0] - pixels @ [0.299, 0.587, 0.114]).max() <= 3


@pytest.mark.parametrize("content, pixels", GOOD.values(), ids=GOOD)
def test_an_image_in_strips_is_the_same_image(content, pixels, monkeypatch):
    whole = decode(content, 3)
    monkeypatch.setattr(decoding, "STRIP", 2)
    assert np.array_equal(decode(content, 3), whole)


def huge_png() -> bytes:
    """A small PNG whose header announces 50,000 × 50,000 pixels."""
    content = bytearray(encoded())
    content[16:24] = struct.pack(">2I", 50_000, 50_000)
    content[29:33] = struct.pack(">I", zipfile.crc32(bytes(content[12:29])))
    return bytes(content)


BAD_IMAGES = {
    "empty": b"",
    "text": b"This is not an image.\n" * 20,
    "truncated PNG": encoded()[:-30],
    "truncated JPEG": encoded("JPEG", (64, 64))[:-200],
    "truncated GIF": encoded("GIF", (64, 64))[:300],
    "truncated WebP": encoded("WEBP", (64, 64))[:-100],
    "truncated BMP": encoded("BMP")[:-10],
    "header only": encoded()[:33],
    "huge dimensions": huge_png(),
    "TIFF": encoded("TIFF"),
    "PDF": b"%PDF-1.4 nothing",
    "zip": b"PK\x03\x04" + bytes(50),
}


@pytest.mark.parametrize("content", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_does_not_decode(content):
    with pytest.raises(BadImage, match="."):
        decode(content, 3, OPTIONS.limits.pixels)


def test_cut_images_fail_as_images_wherever_they_are_cut():
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        content = encoded(kind, (12, 12))
        for end in range(0, len(content), 7):
            try:
                decode(content[:end], 3)
            except BadImage:
                pass


# --- arrays and the publishers' files
# ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "changes",
    [{}, {"compressed": True}, {"y_train": (np.arange(6) % 3).reshape(6, 1).astype(np.uint8)}],
)
def test_npz(changes):
    raw = bring(as_npz(**changes))
    with np.load("set.npz") as file:
        pixels = np.concatenate([file["x_train"], file["x_test"]])[..., None]
    assert np.array_equal(np.stack(list(raw.images(range(9)))), pixels)
    assert (raw.labels.tolist(), raw.train, raw.class_names, raw.names) == (
        [0, 1, 2] * 3,
        6,
        ["0", "1", "2"],
        None,
    )
    assert raw.digests[4].tobytes() == digest(pixels[4])


def test_npz_in_fortrans_order_and_with_names():
    pixels = np.asfortranarray(images(6, channels=3))
    raw = bring(
        as_npz(x_train=pixels, x_test=images(3, channels=3), class_names=np.array(["a", "b", "c"]))
    )
    assert np.array_equal(np.stack(list(raw.images(range(6)))), pixels)
    assert raw.class_names == ["a", "b", "c"]
    assert bring("set.npz", class_names=["x", "y", "z"]).class_names == ["x", "y", "z"]


@pytest.mark.parametrize("dtype", ["uint8", "int8", ">i2", "uint64", ">u8"])
def test_npz_with_labels_of_any_whole_numbers(dtype: str):
    assert bring(as_npz(y_train=np.arange(6).astype(dtype) % 3)).labels.tolist() == [0, 1, 2] * 3


def test_npz_with_names_as_bytes():
    names = np.array([name.encode() for name in ("cat", "größe", "図")])
    assert bring(as_npz(class_names=names)).class_names == ["cat", "größe", "図"]


def test_npz_is_read_in_chunks_of_so_many_bytes(monkeypatch):
    expected = bring(as_npz()).digests.tolist()
    sizes = []
    write = writing.digest
    monkeypatch.setattr(writing, "CHUNK_BYTES", 2 * 28 * 28)
    monkeypatch.setattr(
        writing, "digest", lambda image: (sizes.append(image.base.size), write(image))[1]
    )
    assert bring("set.npz").digests.tolist() == expected
    assert max(sizes) == 2 * 28 * 28


def test_official_npz_is_known_by_its_name_and_by_its_content_when_packed_anew():
    publish("mnist", {"files": [{"sha256": digest_of(as_npz("mnist.npz"))}]})
    assert bring("mnist.npz").dataset["official"] == "data/official/mnist.yaml"
    options = OPTIONS
    content = official.arrays_sha256(Path("mnist.npz"), options.limits)
    publish("mnist", {"files": [{"sha256": "0" * 64, "unpacked_sha256": content}]})
    assert bring("mnist.npz").dataset["licence"] == "CC BY-SA 3.0"
    publish(
        "mnist",
        {"files": [{"sha256": "0" * 64, "unpacked_sha256": content | {"y_test": "0" * 64}}]},
    )
    with pytest.raises(UserError, match=r"mnist\.npz"):
        bring("mnist.npz")


def as_idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def as_fashion(folder="fashion", **changes) -> str:
    """Fashion-MNIST's four files, and what the publisher says of them; `changes` by the beginnings
    of their names."""
    Path(folder).mkdir()
    content = {
        "train_images": as_idx(images(20)),
        "train_labels": as_idx(np.arange(20) % 10),
        "t10k_images": as_idx(images(10)),
        "t10k_labels": as_idx(np.arange(10)),
    } | changes
    said = []
    for (name, data), end in zip(content.items(), ("idx3", "idx1") * 2):
        path = Path(folder, f"{name.replace('_', '-')}-{end}-ubyte.gz")
        path.write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data))
        said.append({"sha256": digest_of(path)})
    publish("fashion_mnist", {"files": said})
    return folder


def test_official_idx_files():
    raw = bring(as_fashion())
    assert (raw.train, raw.dataset["test"], raw.labels.tolist()) == (20, 10, [*range(10)] * 3)
    assert (raw.class_names[9], raw.dataset["licence"], raw.dataset["channels"]) == (
        "Ankle boot",
        "MIT",
        1,
    )
    with gzip.open("fashion/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(10, 28, 28, 1)
    assert np.array_equal(np.stack(list(raw.images(range(20, 30)))), pixels)


def test_official_idx_files_packed_anew():
    """As Debian does: other .gz bytes, equal content."""
    folder = as_fashion()
    said = []
    for file in params.checked(Path("data/official/fashion_mnist.yaml"), official.Publisher).files:
        path = Path(folder, file.name)
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(content, 1, mtime=1))
        said.append(
            {
                "sha256": file.sha256,
                "unpacked_sha256": {path.stem: hashlib.sha256(content).hexdigest()},
            }
        )
    publish("fashion_mnist", {"files": said})
    assert bring(folder).train == 20


def records(count: int, label_bytes: int) -> bytes:
    made = RANDOM.integers(0, 256, (count, label_bytes + 3072), np.uint8)
    made[:, label_bytes - 1] = np.arange(count) % 3
    return made.tobytes()


def as_cifar(name="cifar10", **changes) -> str:
    """CIFAR's binary archive with three classes, its members out of order, and what the publisher
    says of it."""
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


@pytest.mark.parametrize(
    "name, order",
    [
        ("cifar10", ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")),
        ("cifar100", ("train.bin", "test.bin")),
    ],
)
def test_official_cifar(name, order):
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
    assert np.array_equal(next(iter(raw.images([4]))), np.stack([red, green, blue], axis=-1))


def test_official_flowers_hold_their_tree_twice():
    once = {f"flowers/{name}": content for name, content in FLAT.items()}
    twice = once | {f"flowers/{name}": content for name, content in once.items()}
    publish("flowers", {"files": [{}], "images": {"cat": 3, "dog": 3}})
    raw = bring(as_zip(twice, "flowers-recognition.zip"))
    assert raw.names == sorted(FLAT)
    assert facts(bring(as_folder(twice, "unpacked") + "/flowers")) == facts(raw)


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((PROJECT / "data/official").glob("*.yaml"))]
)
def test_what_publishers_say_is_complete(name):
    said = params.checked(Path(f"data/official/{name}.yaml"), official.Publisher)
    assert all(file.digest or said.images for file in said.files)
    assert (
        f"data/official/{name}.yaml" == params.load(PROJECT / "params.yaml").datasets[name].source
    )


def test_the_publishers_data_set_is_brought_from_downloads():
    Path("data/downloads/cifar10").mkdir(parents=True)
    shutil.move(as_cifar(), "data/downloads/cifar10")
    raw = bring("data/official/cifar10.yaml")
    assert (raw.train, json.loads(Path("data/raw/mine/dataset.json").read_text())["kind"]) == (
        15,
        "cifar",
    )


# --- bad sources, each refused with a word
# ---------------------------------------------------------------------------------------------


def cut(path: str, end: int) -> str:
    Path(path).write_bytes(Path(path).read_bytes()[:end])
    return path


def put(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def patched(path: str, old: bytes, new: bytes) -> str:
    content = Path(path).read_bytes()
    assert old in content
    return put(path, content.replace(old, new))


def flag_encrypted(path: str) -> str:
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return put(path, bytes(content))


def with_pipe(folder: str) -> str:
    os.mkfifo(Path(folder, "cat", "pipe.png"))
    return folder


def with_link(folder: str, name: str, target: str) -> str:
    os.symlink(target, Path(folder, name))
    return folder


def huge_header() -> str:
    """A tar file whose first member announces an extended header of 8 GB."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 8_000_000_000
    return put("set.tar", info.tobuf(tarfile.GNU_FORMAT) + bytes(20 * 512))


def header_says_more(old=b"(6, 28, 28), }  ", new=b"(900, 28, 28), }") -> str:
    """An .npz file whose x_train announces more images than it holds, or something else, and whose
    checksums are right."""
    as_npz(y_train=np.arange(900) % 3)
    with np.load("set.npz") as file:
        arrays = dict(file)
    with zipfile.ZipFile("set.npz", "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            content = member.getvalue()
            if name == "x_train":
                content = content.replace(old, new)
            archive.writestr(f"{name}.npy", content)
    return "set.npz"


def in_npz(name: str, content: bytes, method=zipfile.ZIP_DEFLATED) -> str:
    """An .npz file, of which a member has other content."""
    as_npz()
    with zipfile.ZipFile("set.npz") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile("set.npz", "w", method) as archive:
        for file, data in (members | {f"{name}.npy": content}).items():
            archive.writestr(file, data)
    return "set.npz"


def npy(announced: str, content: bytes, version=1) -> bytes:
    """An array whose header announces something."""
    header = announced.encode().ljust(118)
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


LABELS = "{'descr': '<i8', 'fortran_order': False, 'shape': (%s,), }"


def with_bytes_behind(path: str, count: int) -> str:
    """A packed tar file with so many zeros behind its end."""
    return put(path, gzip.compress(gzip.decompress(Path(path).read_bytes()) + bytes(count)))


def many_headers() -> str:
    """A tar file with 40 extended headers of 60 KB before its first member."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 60_000
    value = b"60000 comment=".ljust(59_999, b"x") + b"\n"
    one = header.tobuf(tarfile.GNU_FORMAT) + value.ljust(60_416, b"\0")
    as_tar(FLAT, "set.tar")
    return put("set.tar", one * 40 + Path("set.tar").read_bytes())


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


def zip_by(method: int) -> str:
    with zipfile.ZipFile("set.zip", "w", method) as archive:
        for name, content in FLAT.items():
            archive.writestr(name, content)
    return "set.zip"


def flat(*parts: str, prefix="") -> dict[str, bytes]:
    """Images directly in folders."""
    return {f"{prefix}{part}/{number}.png": encoded() for part in parts for number in range(2)}


PUBLISHED = "homepage: x\nlicence: x\nformat: %s\nfiles:\n"


def publisher(kind: str, *names: str, more="") -> str:
    """What somebody says of files of these names."""
    files = "".join(f"- {{name: {name}, url: 'http://localhost:1/{name}'}}\n" for name in names)
    return put("said.yaml", (PUBLISHED % kind + files + more).encode())


IDX = ["train-images", "train-labels", "t10k-images", "t10k-labels"]


def expect(**limits):
    """Options of `bring` with small limits."""
    return {"limits": limits}


ZEROS = bytes(1_000_000)
BAD = {  # how the source is made, what the message must name, and options
    # paths
    "missing": (lambda: "nowhere.zip", "nowhere.zip"),
    "unknown kind": (lambda: put("set.rar", b"Rar!"), "set.rar"),
    "a .gz alone": (lambda: put("set.gz", gzip.compress(b"x")), "set.gz"),
    # archives
    "zip: absolute path": (lambda: as_zip(FLAT | {"/etc/x.png": b"x"}), "/etc/x.png"),
    "zip: drive letter": (lambda: as_zip(FLAT | {"C:/x/x.png": b"x"}), "C:/x/x.png"),
    "zip: ..": (lambda: as_zip(FLAT | {"cat/../../x.png": b"x"}), "cat/../../x.png"),
    "zip: .. by backslashes": (lambda: as_zip(FLAT | {"cat\\..\\..\\x.png": b"x"}), "x.png"),
    "zip: symlink": (
        lambda: as_zip({"cat/link.png": b"/etc/passwd"}, mode=0o120777),
        "cat/link.png",
    ),
    "zip: device": (lambda: as_zip({"cat/device.png": b""}, mode=0o060666), "cat/device.png"),
    "zip: encrypted": (lambda: flag_encrypted(as_zip(FLAT)), "cat/0.png"),
    "zip: cut": (lambda: cut(as_zip(FLAT), 300), "set.zip"),
    "zip: damaged member": (lambda: patched(as_zip(FLAT), b"PK\x03\x04", b"PK\x03\x05"), "set.zip"),
    "zip: empty": (lambda: as_zip({}), "set.zip"),
    "zip: empty file": (lambda: put("set.zip", b""), "set.zip"),
    "zip: text": (lambda: put("set.zip", b"hello" * 100), "set.zip"),
    "zip: newline in a name": (lambda: as_zip(FLAT | {"cat/a\nb.png": b"x"}), "cat/a"),
    "zip: too many": (lambda: as_zip(FLAT), "download.limits.files", expect(files=5)),
    "zip: too large a file": (
        lambda: as_zip(FLAT | {"cat/bomb.png": ZEROS}),
        "cat/bomb.png",
        expect(file_bytes=999_999),
    ),
    "zip: bomb": (
        lambda: as_zip({f"cat/{n}.png": ZEROS for n in range(9)}),
        "cat/8.png",
        expect(total_bytes=8_000_000),
    ),
    "zip: archive inside": (
        lambda: as_zip(FLAT | {"cat/more.zip": b"PK\x05\x06" + bytes(18)}),
        "cat/more.zip",
    ),
    "zip: name twice": (lambda: as_zip(FLAT | {"./cat/0.png": b"x"}), "cat/0.png"),
    "tar: absolute path": (lambda: as_tar(FLAT | {"/etc/x.png": b"x"}), "/etc/x.png"),
    "tar: ..": (lambda: as_tar(FLAT | {"../x.png": b"x"}), "../x.png"),
    "tar: symlink": (lambda: as_tar(FLAT, sym=tarfile.SYMTYPE), "'sym'"),
    "tar: hardlink": (lambda: as_tar(FLAT, hard=tarfile.LNKTYPE), "'hard'"),
    "tar: device": (lambda: as_tar(FLAT, null=tarfile.CHRTYPE), "'null'"),
    "tar: pipe": (lambda: as_tar(FLAT, fifo=tarfile.FIFOTYPE), "'fifo'"),
    "tar: not UTF-8": (lambda: as_tar(FLAT | {"cat/\udcff.png": b"x"}), "png"),
    "tar: cut": (lambda: cut(as_tar(FLAT, "set.tar"), 2000), "set.tar"),
    "tar: cut between members": (lambda: cut(as_tar(FLAT, "set.tar"), 1024), "set.tar"),
    "tar: damaged header": (
        lambda: patched(as_tar(FLAT, "set.tar"), b"dog/0.png", b"dog/9.png"),
        "set.tar",
    ),
    "tar.gz: cut": (lambda: cut(as_tar(FLAT), 400), "set.tar.gz"),
    "tar.gz: checksum": (lambda: cut(as_tar(FLAT), -4), "set.tar.gz"),
    "tar: text": (lambda: put("set.tar", b"hello" * 1000), "set.tar"),
    "tar: empty file": (lambda: put("set.tar", b""), "set.tar"),
    "tar.gz: bomb": (
        lambda: as_tar({"cat/bomb.png": ZEROS}),
        "cat/bomb.png",
        expect(file_bytes=999_999),
    ),
    "tar: huge extended header": (huge_header, "set.tar"),
    # folders
    "folder: one class": (lambda: as_folder({"cat/0.png": encoded()}), "cat"),
    "folder: one class below train": (lambda: as_folder({"train/cat/0.png": encoded()}), "cat"),
    "folder: empty": (lambda: as_folder({"": None}), "set"),
    "folder: only files": (lambda: as_folder({"0.png": encoded()}), "0.png"),
    "folder: no images": (lambda: as_folder({"cat/a.txt": b"a", "dog/b.txt": b"b"}), "cat/a.txt"),
    "folder: class folder empty": (lambda: as_folder(FLAT | {"emu": None}), "emu"),
    "folder: class folder with litter only": (
        lambda: as_folder(FLAT | {"emu/.DS_Store": b"x"}),
        "emu",
    ),
    "zip: class folder empty": (lambda: as_zip(FLAT | {"emu": None}), "emu"),
    "folder: nested twice": (
        lambda: as_folder({f"a/b/{name}": data for name, data in FLAT.items()}),
        "a/b/cat/0.png",
    ),
    "folder: deeper in a class": (
        lambda: as_folder(FLAT | {"cat/more/0.png": encoded()}),
        "cat/more/0.png",
    ),
    "folder: doubled with a change": (
        lambda: as_folder(FLAT | {"a/cat/0.png": encoded(size=(9, 9))}),
        "a/cat/0.png",
    ),
    "folder: val beside train": (lambda: as_folder(TREE | {"val/cat/0.png": encoded()}), "val/"),
    "folder: test only": (
        lambda: as_folder({f"test/{name}": data for name, data in FLAT.items()}),
        "test/",
    ),
    "folder: test without classes": (
        lambda: as_folder({f"train/{n}": FLAT[n] for n in FLAT} | {"test/0.png": b""}),
        "test/",
    ),
    "folder: class in test only": (lambda: as_folder(TREE | {"test/emu/0.png": encoded()}), "emu"),
    # a competition's layout: names of parts are no classes
    "parts as classes: folder": (lambda: as_folder(flat("train", "test")), "in test/,"),
    "parts as classes: wrapped": (
        lambda: as_zip(flat("train", "test", prefix="set/") | {"set/labels.csv": b"id,label"}),
        "in set/test/,",
    ),
    "parts as classes: other names": (
        lambda: as_tar(flat("Training_images", "val", "test-set", "holdout2")),
        "in Training_images/,",
    ),
    "parts as classes: below train": (
        lambda: as_folder(flat("train", "valid", prefix="train/")),
        "in train/train/,",
    ),
    "parts as classes: beside labels": (
        lambda: as_zip(flat("train", "test") | {"labels/1.xml": b"<a/>"}),
        "in test/,",
        {"on_bad_image": "skip"},
    ),
    **{
        f"parts as classes: {', '.join(names)}": (
            lambda names=names: as_zip(flat(*names)),
            f"in {min(names)}/,",
        )
        for names in (
            ("trainA", "testA", "trainB", "testB"),
            ("train-jpg", "test-jpg-v2"),
            ("train", "test", "extra", "masks"),
            ("train", "test", "cat"),
            ("Trainingsdaten", "Testdaten"),
            ("images", "masks"),
            ("fold1", "fold2"),
            ("HAM10000_images_part_1", "HAM10000_images_part_2"),
        )
    },
    # names
    "zip: bidi": (lambda: as_zip(FLAT | {"cat/a\u202egnp.png": b"x"}), "a\\u202egnp.png"),
    "zip: C1": (lambda: as_zip(FLAT | {"cat/\x9b31m.png": b"x"}), "U+009B"),
    "zip: line separator": (lambda: as_zip(FLAT | {"c\u2028d/1.png": b"x"}), "U+2028"),
    "tar: invisible": (lambda: as_tar(FLAT | {"cat\u200b/1.png": b"x"}), "cat\\u200b"),
    "tar: long name": (lambda: as_tar(FLAT | {f"cat/{'x' * 300}.png": b"x"}), "255 bytes"),
    "zip: blank name": (lambda: as_zip(FLAT | {" /1.png": b"x"}), "is blank"),
    "npz: newline in a name": (
        lambda: as_npz(class_names=np.array(["a", "b\n| c |", "d"])),
        "b\\n| c |",
    ),
    "npz: surrogate in a name": (
        lambda: as_npz(class_names=np.array(["a", "\ud800", "c"])),
        "U+D800",
    ),
    "npz: names that are not UTF-8": (
        lambda: as_npz(class_names=np.array([b"a", b"\xff", b"c"])),
        "class_names",
    ),
    "npz: names that are floats": (lambda: as_npz(class_names=np.arange(3.0)), "class_names"),
    "cifar: control character in a name": (
        lambda: as_cifar(**{"batches.meta.txt": b"a\n\x1b]0;x\x07\nc\n"}),
        "\\x1b]0;x",
    ),
    # bombs
    "zip: bzip2": (lambda: zip_by(zipfile.ZIP_BZIP2), "cat/0.png"),
    "zip: too many entries": (lambda: as_zip(FLAT), "download.limits.files", expect(files=5)),
    "zip: a directory of long names": (
        lambda: as_zip(FLAT | {f"cat/{'x' * 250}{n}.png": b"x" for n in range(4)}),
        "its directory has",
        expect(files=9),
    ),
    "tar: long names": (
        lambda: as_tar(FLAT | {f"{'x/' * 1000}{n}.png": b"x" for n in range(2)}),
        "download.limits.files",
        expect(files=20),
    ),
    "tar.xz: a dictionary of 4 GB": (lambda: xz_for(40), "268,435,456 bytes of memory"),
    "tar: zeros behind the end": (lambda: with_bytes_behind(as_tar(FLAT), 2_000_000), "set.tar.gz"),
    "tar: many extended headers": (many_headers, "set.tar"),
    "npz: pixels": (lambda: as_npz(), "download.limits.pixels", expect(pixels=28 * 28 - 1)),
    "npz: file_bytes": (
        lambda: as_npz(),
        "download.limits.file_bytes",
        expect(file_bytes=28 * 28 - 1),
    ),
    "npz: files": (lambda: as_npz(), "download.limits.files", expect(files=8)),
    "npz: labels for a billion": (
        lambda: in_npz("y_train", npy(LABELS % 10**9, bytes(48))),
        "y_train has the shape (1000000000,)",
    ),
    "npz: names of a gigabyte": (
        lambda: in_npz("class_names", npy(LABELS.replace("<i8", "<U9") % 10**8, b"")),
        "class_names has",
    ),
    "npz: header of a gigabyte": (
        lambda: in_npz("y_train", b"\x93NUMPY\2\0" + struct.pack("<I", 10**9)),
        "set.npz",
    ),
    "npz: bzip2": (lambda: in_npz("y_x", b"", zipfile.ZIP_BZIP2), "x_train"),
    "npz: labels beyond int64": (
        lambda: as_npz(y_train=np.full(6, 2**64 - 1, np.uint64)),
        "y_train holds the label 18446744073709551615",
    ),
    "npz: labels that are NaN": (lambda: as_npz(y_train=np.full(6, np.nan)), "y_train"),
    # publishers' files
    "official: idx by other names": (lambda: publisher("idx", "a", "b", "c", "d"), "train-images"),
    "official: idx without class names": (lambda: publisher("idx", *IDX), "class_names"),
    "official: two npz": (lambda: publisher("npz", "a.npz", "b.npz"), "one file"),
    "official: one name twice": (lambda: publisher("idx", *IDX[:3], IDX[0]), "same name"),
    "official: images in no archive": (lambda: publisher("images", "a.rar"), "a.rar"),
    "official: larger than the limits": (
        lambda: patched(publisher("npz", "a.npz"), b"npz'", b"npz', bytes: 99"),
        "download.limits.total_bytes",
        expect(total_bytes=98),
    ),
    "cifar: for Python": (
        lambda: as_tar(
            {
                f"cifar-10-batches-py/{name}": b"\x80\4N."
                for name in ("batches.meta", "data_batch_1")
            },
            "cifar-10-python.tar.gz",
        ),
        "cifar-10-binary.tar.gz",
    ),
    "cifar: for Python, unpacked": (
        lambda: as_folder(
            dict.fromkeys(("meta", "train", "test"), b"\x80\4N."), "cifar-100-python"
        ),
        "cifar-100-binary.tar.gz",
    ),
    "folder: stray image": (lambda: as_folder(FLAT | {"stray.JPG": encoded("JPEG")}), "stray.JPG"),
    "folder: newline in a name": (lambda: as_folder(FLAT | {"cat/a\nb.png": encoded()}), "cat/a"),
    "folder: not UTF-8": (lambda: as_folder(FLAT | {"cat/\udcff.png": encoded()}), "png"),
    "folder: pipe": (lambda: with_pipe(as_folder(FLAT)), "pipe.png"),
    "folder: link to nothing": (
        lambda: with_link(as_folder(FLAT), "cat/link.png", "nothing"),
        "cat/link.png",
    ),
    "folder: link to a folder": (lambda: with_link(as_folder(FLAT), "emu", "cat"), "emu"),
    "folder: class_names given": (
        lambda: as_folder(FLAT),
        "class_names",
        {"class_names": ["a", "b"]},
    ),
    "folder: all of a class skipped": (
        lambda: as_folder(FLAT | {"emu/0.png": b"x"}),
        "emu",
        {"on_bad_image": "skip"},
    ),
    # images
    **{
        f"image: {what}": (lambda bad=bad: as_folder(FLAT | {"cat/b.jpg": bad}), "cat/b.jpg")
        for what, bad in BAD_IMAGES.items()
    },
    # npz
    "npz: missing array": (lambda: as_npz(y_test=None), "y_test"),
    "npz: floats": (lambda: as_npz(x_train=np.zeros((6, 28, 28))), "x_train"),
    "npz: two dimensions": (lambda: as_npz(x_train=np.zeros((6, 784), np.uint8)), "x_train"),
    "npz: channels": (lambda: as_npz(x_train=images(6, channels=4)), "x_train"),
    "npz: no image": (lambda: as_npz(x_test=images(0), y_test=np.arange(0)), "x_test"),
    "npz: sizes differ": (lambda: as_npz(x_test=images(3, side=27)), "x_test"),
    "npz: too few labels": (lambda: as_npz(y_train=np.arange(5)), "y_train"),
    "npz: negative label": (lambda: as_npz(y_train=np.arange(6) - 1), "y_train"),
    "npz: labels as floats": (lambda: as_npz(y_train=np.arange(6.0)), "y_train"),
    "npz: labels as text": (lambda: as_npz(y_train=np.array(list("abcabc"))), "y_train"),
    "npz: one-hot labels": (lambda: as_npz(y_train=np.eye(6, dtype=int)), "y_train"),
    "npz: huge label": (lambda: as_npz(y_test=np.array([0, 1, 2**40])), "y_test"),
    "npz: pickled labels": (
        lambda: as_npz(y_train=np.array([0, 1, 2, "a", None, {}], object)),
        "set.npz",
    ),
    "npz: pickled images": (lambda: as_npz(x_train=np.full((6, 28, 28), None)), "x_train"),
    "npz: one class": (
        lambda: as_npz(y_train=np.zeros(6, int), y_test=np.zeros(3, int)),
        "one class",
    ),
    "npz: class without training images": (lambda: as_npz(y_train=np.arange(6) % 2), "'2'"),
    "npz: too few names": (lambda: as_npz(class_names=np.array(["a", "b"])), "2 class names"),
    "npz: too few names in params": (
        lambda: as_npz(),
        "2 class names",
        {"class_names": ["a", "b"]},
    ),
    "npz: name twice": (lambda: as_npz(class_names=np.array(["a", "b", "a"])), "same name"),
    "npz: cut": (lambda: cut(as_npz(), 500), "set.npz"),
    "npz: text": (lambda: put("set.npz", b"hello"), "set.npz"),
    "npz: a pickle": (lambda: put("set.npz", b"\x80\x04N."), "set.npz"),
    "npz: checksum": (
        lambda: patched(as_npz(x_test=np.full((3, 28, 28), 7, np.uint8)), b"\7" * 50, b"\6" * 50),
        "set.npz",
    ),
    "npz: fewer images than announced": (header_says_more, "x_train"),
    "npz: damaged header": (
        lambda: header_says_more(b"(6, 28, 28), }  ", b"(6, (8, 28), }  "),
        "set.npz",
    ),
    "npz: too large": (lambda: as_npz(), "download.limits.total_bytes", expect(total_bytes=5000)),
    # the publishers' files
    "official: wrong digest": (
        lambda: patched(as_cifar(), b"\x1f\x8b", b"\x1f\x8c"),
        "cifar-10-binary.tar.gz",
    ),
    "official: no YAML": (lambda: put("x.yaml", b"a: [\n"), "x.yaml"),
    "official: unknown key": (lambda: put("x.yaml", b"format: npz\ncolour: red\n"), "colour"),
    "official: wrong counts": (
        lambda: (
            publish("flowers", {"files": [{}], "images": {"cat": 3, "dog": 4}}),
            as_zip(FLAT, "flowers-recognition.zip"),
        )[1],
        "flowers-recognition.zip",
    ),
    "cifar: wrong length": (
        lambda: as_cifar(**{"data_batch_2.bin": records(2, 1)[:-1]}),
        "data_batch_2.bin",
    ),
    "cifar: empty records": (lambda: as_cifar(**{"test_batch.bin": b""}), "test_batch.bin"),
    "cifar: label without a name": (
        lambda: as_cifar(**{"batches.meta.txt": b"a\nb\n"}),
        "data_batch_1.bin",
    ),
    "cifar: no names": (lambda: as_cifar(**{"batches.meta.txt": None}), "cifar-10-binary.tar.gz"),
    "cifar: no test records": (
        lambda: as_cifar("cifar100", **{"test.bin": None}),
        "cifar-100-binary.tar.gz",
    ),
    "idx: cut": (lambda: as_fashion(train_images=as_idx(images(20))[:-1]), "train-images"),
    "idx: too long": (lambda: as_fashion(t10k_images=as_idx(images(10)) + b"x"), "t10k-images"),
    "idx: another type": (
        lambda: as_fashion(train_labels=b"\0\0\x0d\1" + bytes(24)),
        "train-labels",
    ),
    "idx: no header": (lambda: as_fashion(train_labels=b"\0\0"), "train-labels"),
    "idx: fewer labels": (lambda: as_fashion(t10k_labels=as_idx(np.arange(9))), "t10k-labels"),
    "idx: label too large": (
        lambda: as_fashion(t10k_labels=as_idx(np.arange(10) + 1)),
        "t10k-labels",
    ),
    "idx: damaged gzip": (
        lambda: as_fashion(t10k_labels=gzip.compress(as_idx(np.arange(10)))[:-9]),
        "t10k-labels",
    ),
    "idx: sizes differ": (
        lambda: as_fashion(t10k_images=as_idx(images(10, side=27))),
        "t10k-images",
    ),
}


@pytest.mark.parametrize(
    "make, named, options", [(*case, {})[:3] for case in BAD.values()], ids=BAD
)
def test_bad_source_is_refused(make, named, options):
    source = make()
    with pytest.raises(UserError) as error:
        bring(source, **options)
    assert named in str(error.value)
    assert not list(Path("data").glob("raw/*")) and not list(Path("data").glob("raw/.*"))
