"""Bad sources are refused, and messages say why."""

import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.sources import (
    BAD_IMAGES,
    FLAT,
    TREE,
    as_cifar,
    as_fashion,
    as_folder,
    as_idx,
    as_npz,
    as_tar,
    as_zip,
    bring,
    encoded,
    images,
    publish,
    put,
    records,
    xz_for,
)

from stages import check
from stages.runtime.errors import UserError
from stages.sources.archives import is_what_it_promises
from stages.sources.opening import GZIP

pytestmark = pytest.mark.usefixtures("publishers_folder")


def cut(path: str, end: int) -> str:
    Path(path).write_bytes(Path(path).read_bytes()[:end])
    return path


def patched(path: str, old: bytes, new: bytes) -> str:
    content = Path(path).read_bytes()
    assert old in content
    return put(path, content.replace(old, new))


def flag_encrypted(path: str) -> str:
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return put(path, bytes(content))


def repacked(path: str) -> str:
    """A .gz file with the same content but other bytes."""
    return put(path, gzip.compress(gzip.decompress(Path(path).read_bytes()), 1))


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
    """An .npz file with correct checksums whose x_train announces more images than it holds, or
    something else."""
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
    """An .npz file with one member replaced."""
    as_npz()
    with zipfile.ZipFile("set.npz") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile("set.npz", "w", method) as archive:
        for file, data in (members | {f"{name}.npy": content}).items():
            archive.writestr(file, data)
    return "set.npz"


def npy(announced: str, content: bytes, version=1) -> bytes:
    """An .npy file with this header."""
    header = announced.encode().ljust(118)
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


LABELS = "{'descr': '<i8', 'fortran_order': False, 'shape': (%s,), }"


def with_bytes_behind(path: str, count: int) -> str:
    """A compressed tar file with `count` zeros behind its end."""
    return put(path, gzip.compress(gzip.decompress(Path(path).read_bytes()) + bytes(count)))


def many_headers() -> str:
    """A tar file with 40 extended headers of 60 KB before its first member."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 60_000
    value = b"60000 comment=".ljust(59_999, b"x") + b"\n"
    packed = header.tobuf(tarfile.GNU_FORMAT) + value.ljust(60_416, b"\0")
    as_tar(FLAT, "set.tar")
    return put("set.tar", packed * 40 + Path("set.tar").read_bytes())


def zip_by(method: int) -> str:
    with zipfile.ZipFile("set.zip", "w", method) as archive:
        for name, content in FLAT.items():
            archive.writestr(name, content)
    return "set.zip"


def flat(*parts: str, prefix="") -> dict[str, bytes]:
    """Two images in each folder."""
    return {f"{prefix}{part}/{number}.png": encoded() for part in parts for number in range(2)}


PUBLISHED = "homepage: x\nlicence: x\nformat: %s\nfiles:\n"


def publisher(kind: str, *names: str, more="") -> str:
    """A publisher's description of these files."""
    files = "".join(f"- {{name: {name}, url: 'http://localhost:1/{name}'}}\n" for name in names)
    return put("said.yaml", (PUBLISHED % kind + files + more).encode())


IDX = ["train-images", "train-labels", "t10k-images", "t10k-labels"]


def expect(**limits):
    """Options of `bring` with small limits."""
    return {"limits": limits}


ZEROS = bytes(1_000_000)
LARGE = encoded() + ZEROS  # an image, since what lies behind its end does not count


# how the source is made, what the message must say, and options; all but what is refused could be
# imported, so that nothing else is wrong with the source
BAD = {
    # paths
    "missing": (lambda: "nowhere.zip", "nowhere.zip"),
    "unknown kind": (lambda: put("set.rar", b"Rar!"), "set.rar is none of"),
    "a .gz alone": (lambda: put("set.gz", gzip.compress(b"x")), "set.gz is none of"),
    # archives
    "zip: absolute path": (
        lambda: as_zip(FLAT | {"/etc/x.png": encoded()}),
        "'/etc/x.png' is an absolute",
    ),
    "zip: drive letter": (
        lambda: as_zip(FLAT | {"C:/x.png": encoded()}),
        "'C:/x.png' is an absolute",
    ),
    "zip: ..": (lambda: as_zip(FLAT | {"../x.png": encoded()}), "'../x.png' leads out"),
    "zip: .. by backslashes": (
        lambda: as_zip(FLAT | {"cat/a\\..\\..\\x.png": encoded()}),
        "x.png' leads out",
    ),
    "zip: symlink": (lambda: as_zip(FLAT, mode=0o120777), "'cat/0.png' is a link"),
    "zip: device": (lambda: as_zip(FLAT, mode=0o060666), "'cat/0.png' is a device"),
    "zip: encrypted": (lambda: flag_encrypted(as_zip(FLAT)), "'cat/0.png' is encrypted"),
    "zip: cut": (lambda: cut(as_zip(FLAT), 300), "is damaged"),
    "zip: damaged member": (
        lambda: patched(as_zip(FLAT), b"PK\x03\x04", b"PK\x03\x05"),
        "Bad magic number",
    ),
    "zip: empty": (lambda: as_zip({}), "no class folders"),
    "zip: empty file": (lambda: put("set.zip", b""), "is damaged"),
    "zip: text": (lambda: put("set.zip", b"hello" * 100), "not what its name says"),
    "zip: newline in a name": (lambda: as_zip(FLAT | {"cat/a\nb.png": encoded()}), "U+000A"),
    "zip: too many": (lambda: as_zip(FLAT), "download.limits.files", expect(files=5)),
    "zip: too large a file": (
        lambda: as_zip(FLAT | {"cat/bomb.png": LARGE}),
        "download.limits.file_bytes",
        expect(file_bytes=999_999),
    ),
    "zip: bomb": (
        lambda: as_zip(dict.fromkeys(FLAT, LARGE)),
        "'dog/2.png': from here on, download.limits.total_bytes",
        expect(total_bytes=5_500_000),
    ),
    "zip: archive inside": (
        lambda: as_zip(FLAT | {"cat/more.zip": b"PK\x05\x06" + bytes(18)}),
        "cat/more.zip",
    ),
    "zip: name twice": (
        lambda: as_zip(FLAT | {"./cat/0.png": b"x"}),
        "'./cat/0.png' is there twice",
    ),
    "tar: absolute path": (
        lambda: as_tar(FLAT | {"/etc/x.png": encoded()}),
        "'/etc/x.png' is an absolute",
    ),
    "tar: ..": (lambda: as_tar(FLAT | {"../x.png": encoded()}), "'../x.png' leads out"),
    "tar: symlink": (lambda: as_tar(FLAT, sym=tarfile.SYMTYPE), "'sym' is a link"),
    "tar: hardlink": (lambda: as_tar(FLAT, hard=tarfile.LNKTYPE), "'hard' is a link"),
    "tar: device": (lambda: as_tar(FLAT, null=tarfile.CHRTYPE), "'null' is a device"),
    "tar: pipe": (lambda: as_tar(FLAT, fifo=tarfile.FIFOTYPE), "'fifo' is a device"),
    "tar: not UTF-8": (lambda: as_tar(FLAT | {"cat/\udcff.png": encoded()}), "U+DCFF"),
    "tar: cut": (lambda: cut(as_tar(FLAT, "set.tar"), 2000), "is damaged"),
    "tar: cut between members": (
        lambda: cut(as_tar(FLAT, "set.tar"), 1024),
        "no member of a tar file at byte 1,024",
    ),
    "tar: damaged header": (
        lambda: patched(as_tar(FLAT, "set.tar"), b"dog/0.png", b"dog/9.png"),
        "no member of a tar file at byte 3,072",
    ),
    "tar.gz: cut": (lambda: cut(as_tar(FLAT), 400), "ended before"),
    "tar.gz: checksum": (lambda: cut(as_tar(FLAT), -4), "ended before"),
    "tar: text": (lambda: put("set.tar", b"hello" * 1000), "invalid header"),
    "tar: empty file": (lambda: put("set.tar", b""), "empty file"),
    "tar.gz: bomb": (
        lambda: as_tar(FLAT | {"cat/bomb.png": LARGE}),
        "download.limits.file_bytes",
        expect(file_bytes=999_999),
    ),
    "tar: huge extended header": (huge_header, "empty header"),
    # folders
    "folder: one class": (lambda: as_folder({"cat/0.png": encoded()}), "at least two"),
    "folder: one class below train": (
        lambda: as_folder({"train/cat/0.png": encoded()}),
        "at least two",
    ),
    "folder: empty": (lambda: as_folder({"": None}), "no class folders"),
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
    "folder: more beside train": (
        lambda: as_folder(TREE | {"extra/cat/0.png": encoded()}),
        "extra/",
    ),
    "folder: two for one part": (
        lambda: as_folder(TREE | {"val/cat/0.png": encoded(), "valid/cat/1.png": encoded()}),
        "val/ and valid/",
    ),
    "folder: class in val only": (
        lambda: as_folder(TREE | {"val/emu/0.png": encoded()}),
        "'emu' is in val/",
    ),
    "folder: test only": (
        lambda: as_folder({f"test/{name}": data for name, data in FLAT.items()}),
        "test/",
    ),
    "folder: test without classes": (
        lambda: as_folder({f"train/{n}": FLAT[n] for n in FLAT} | {"test/0.png": b""}),
        "test/",
    ),
    "folder: class in test only": (lambda: as_folder(TREE | {"test/emu/0.png": encoded()}), "emu"),
    "folder: stray image": (lambda: as_folder(FLAT | {"stray.JPG": encoded("JPEG")}), "stray.JPG"),
    "folder: newline in a name": (lambda: as_folder(FLAT | {"cat/a\nb.png": encoded()}), "U+000A"),
    "folder: not UTF-8": (lambda: as_folder(FLAT | {"cat/\udcff.png": encoded()}), "U+DCFF"),
    "folder: pipe": (lambda: with_pipe(as_folder(FLAT)), "pipe.png' is not a file"),
    "folder: link to nothing": (
        lambda: with_link(as_folder(FLAT), "cat/link.png", "nothing"),
        "'cat/link.png' is a link",
    ),
    "folder: link to a folder": (
        lambda: with_link(as_folder(FLAT), "emu", "cat"),
        "'emu' is a link",
    ),
    "folder: class_names given": (
        lambda: as_folder(FLAT),
        "class_names",
        {"class_names": ["a", "b"]},
    ),
    "folder: all of a class skipped": (
        lambda: as_folder(FLAT | {"cat/9.png": b"x", "emu/0.png": b"x"}),
        "such as emu/0.png: ",
        {"on_bad_image": "skip"},
    ),
    "folder: classes that differ in spaces": (
        lambda: as_folder({f"{name}/0.png": encoded() for name in ("a b", "a  b")}),
        "spaces",
    ),
    # a competition's layout: names of parts are not classes
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
            f"in {min(names, key=lambda name: (name in ('cat', 'extra', 'masks'), name))}/,",
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
    "zip: bidi": (lambda: as_zip(FLAT | {"cat/a\u202egnp.png": encoded()}), "U+202E"),
    "zip: C1": (lambda: as_zip(FLAT | {"cat/\x9b31m.png": encoded()}), "U+009B"),
    "zip: line separator": (lambda: as_zip(FLAT | {"c\u2028d/1.png": encoded()}), "U+2028"),
    "tar: invisible": (lambda: as_tar(FLAT | {"cat\u200b/1.png": encoded()}), "U+200B"),
    "tar: long name": (lambda: as_tar(FLAT | {f"cat/{'x' * 300}.png": encoded()}), "255 bytes"),
    "zip: blank name": (lambda: as_zip(FLAT | {" /1.png": encoded()}), "is blank"),
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
    "zip: bzip2": (lambda: zip_by(zipfile.ZIP_BZIP2), "'cat/0.png' is packed by another"),
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
    "tar: zeros behind the end": (
        lambda: with_bytes_behind(as_tar(FLAT), 2_000_000),
        "the bytes after the end",
    ),
    "tar: many extended headers": (many_headers, "a member's headers"),
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
        "array header",
    ),
    "npz: bzip2": (lambda: in_npz("y_x", b"", zipfile.ZIP_BZIP2), "savez_compressed"),
    "npz: labels beyond int64": (
        lambda: as_npz(y_train=np.full(6, 2**64 - 1, np.uint64)),
        "y_train holds the label 18446744073709551615",
    ),
    "npz: labels that are NaN": (lambda: as_npz(y_train=np.full(6, np.nan)), "y_train"),
    # images
    **{
        f"image: {what}": (lambda bad=bad: as_folder(FLAT | {"cat/b.jpg": bad}), "cat/b.jpg")
        for what, bad in BAD_IMAGES.items()
    },
    # npz
    "npz: missing array": (lambda: as_npz(y_test=None), "y_test"),
    "npz: floats": (lambda: as_npz(x_train=np.zeros((6, 28, 28))), "x_train is float64"),
    "npz: two dimensions": (lambda: as_npz(x_train=np.zeros((6, 784), np.uint8)), "shape (6, 784)"),
    "npz: channels": (lambda: as_npz(x_train=images(6, channels=4)), "shape (6, 28, 28, 4)"),
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
        "y_train holds Python objects",
    ),
    "npz: pickled images": (
        lambda: as_npz(x_train=np.full((6, 28, 28), None)),
        "x_train holds Python objects",
    ),
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
    "npz: labels from 1": (
        lambda: as_npz(y_train=np.arange(6) % 3 + 1, y_test=np.arange(3) + 1),
        "1, 2, 3",
    ),
    "npz: labels with gaps": (
        lambda: as_npz(y_train=np.arange(6) % 2 * 2, y_test=np.arange(3) % 2 * 2),
        "0, 2",
    ),
    "npz: name twice": (lambda: as_npz(class_names=np.array(["a", "b", "a"])), "same name"),
    "npz: cut": (lambda: cut(as_npz(), 500), "is damaged"),
    "npz: text": (lambda: put("set.npz", b"hello"), "not an .npz file"),
    "npz: a pickle": (lambda: put("set.npz", b"\x80\x04N."), "not an .npz file"),
    "npz: checksum": (
        lambda: patched(as_npz(x_test=np.full((3, 28, 28), 7, np.uint8)), b"\7" * 50, b"\6" * 50),
        "Bad CRC-32",
    ),
    "npz: fewer images than announced": (header_says_more, "ends early"),
    "npz: damaged header": (
        lambda: header_says_more(b"(6, 28, 28), }  ", b"(6, (8, 28), }  "),
        "is damaged",
    ),
    "npz: too large": (lambda: as_npz(), "download.limits.total_bytes", expect(total_bytes=5000)),
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
    "official: wrong digest": (lambda: repacked(as_cifar()), "sha256"),
    "official: no YAML": (lambda: put("x.yaml", b"a: [\n"), "x.yaml"),
    "official: unknown key": (lambda: put("x.yaml", b"format: npz\ncolour: red\n"), "colour"),
    "official: wrong counts": (
        lambda: (
            publish("flowers", {"files": [{}], "images": {"cat": 3, "dog": 4}}),
            as_zip(FLAT, "flowers-recognition.zip"),
        )[1],
        "flowers-recognition.zip",
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
    ("make", "named"),
    [
        (lambda: with_link(as_folder(FLAT), "cat/.#0.png", "nowhere"), ".#0.png is a link"),
        (lambda: with_pipe(as_folder(FLAT)), "pipe.png is a pipe"),
        (lambda: Path(with_pipe(as_folder(FLAT)), "cat/pipe.png"), "pipe.png is a pipe"),
    ],
    ids=["hidden link to nothing", "pipe", "pipe instead of a file"],
)
def test_what_dvc_could_not_hash_is_refused_before_it_tries(make, named: str):
    with pytest.raises(UserError, match=named):
        check.refuse_unreadable(Path(make()))
    check.refuse_unreadable(Path(as_folder(FLAT, "good")))
    check.refuse_unreadable(Path(as_zip(FLAT)))


def test_a_published_tar_file_is_opened_with_bounded_memory():
    assert is_what_it_promises(Path(as_tar(FLAT)), "set.tar")
    assert not is_what_it_promises(Path(huge_header()), "set.tar")
    assert not is_what_it_promises(Path(put("set.tar.gz", GZIP)), "set.tar.gz")


@pytest.mark.parametrize(
    "make, named, options", [(*case, {})[:3] for case in BAD.values()], ids=BAD
)
def test_a_bad_source_is_refused_by_name_and_leaves_nothing(make, named, options):
    source = make()
    with pytest.raises(UserError) as error:
        bring(source, **options)
    assert named in str(error.value)
    assert Path(source).suffix == ".yaml" or Path(source).name in str(error.value)
    assert not list(Path("data").glob("raw/*")) and not list(Path("data").glob("raw/.*"))
