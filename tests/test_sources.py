"""Folders, zip and tar files become the same data set, whatever their names."""

import hashlib
import io
import os
import struct
import tarfile
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.sources import (
    FLAT,
    OPTIONS,
    TREE,
    as_folder,
    as_npz,
    as_tar,
    as_zip,
    bring,
    digest_of,
    encoded,
    facts,
    images,
    put,
    xz_for,
)

from stages.images import decode as decoding
from stages.runtime.errors import UserError
from stages.sources import archives, zips
from stages.sources.digests import describe_source, digest_files
from stages.sources.parts import are_parts
from stages.sources.raw import Raw, digest

pytestmark = pytest.mark.usefixtures("publishers_folder")


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


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_a_folder_may_bring_a_validation_part(name: str):
    tree = TREE | {f"{name}/dog/{number}.png": encoded() for number in range(3)}
    tree |= {f"{name}/cat/bad.png": b"x", "train/cat/bad.png": b"x"}
    raw = bring(
        as_folder({f"set/{path}": content for path, content in tree.items()}, "around"),
        on_bad_image="skip",
    )
    parts = [path.split("/")[0] for path in raw.names]
    assert parts == ["train"] * 6 + [name] * 3 + ["test"] * 6
    assert (raw.train, raw.validation, raw.dataset["test"]) == (6, 3, 6)


def test_encoded_images_are_read_back():
    raw = bring(as_zip(TREE))
    for place, (name, image) in enumerate(zip(raw.names, map(raw.image, range(12)))):
        assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(TREE[name]))))
        assert raw.digests[place].tobytes() == digest(image)
        assert digest(image) != digest(image.reshape(image.shape[1], image.shape[0], -1))
    assert np.array_equal(raw.image(7), np.asarray(Image.open(io.BytesIO(TREE[raw.names[7]]))))
    assert raw.dataset["width"] == {"min": 5, "max": 5} and raw.dataset["height"] == {
        "min": 4,
        "max": 4,
    }
    assert (raw.dataset["kind"], raw.dataset["source_digest"]) == ("zip", digest_of("set.zip"))


def test_the_place_of_a_source_does_not_change_the_data(tmp_path):
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
def test_a_folder_that_only_sounds_like_a_part_is_a_class(names: tuple[str, ...]):
    assert not are_parts(list(names))


def test_a_long_name_of_a_folder_is_told_from_a_part_in_no_time():
    unit = "testevaltrainvalsetsunlabeled"
    assert not are_parts([f"{unit * 8}!", f"{unit * 8}?"])


def test_an_archive_of_deep_folders_takes_no_memory_for_each_of_them():
    as_tar({f"{number}{'/a' * 2000}/x.png": b"x" for number in range(20)})
    _, folders = archives.survey(Path("set.tar.gz"), OPTIONS.limits)
    assert max(name.count("/") for name in folders) < 5


def test_an_archive_of_the_strongest_allowed_compression_is_read():
    assert facts(bring(xz_for(28))) == facts(bring(as_tar(FLAT)))


def test_a_member_of_a_zip_is_unpacked_no_further_than_announced():
    with zipfile.ZipFile("set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/0.png", bytes(100_000_000))
    size, content = struct.pack("<I", 100_000_000), Path("set.zip").read_bytes()
    Path("set.zip").write_bytes(content.replace(size, struct.pack("<I", 1000)))
    tracemalloc.start()
    with pytest.raises(UserError):
        list(archives.read_contents(Path("set.zip"), {"cat/0.png": 1000}))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_class_names_may_have_any_script_joiner_or_space():
    """Joiners shape Persian words and emoji; macOS writes U+202F into the names of screenshots."""
    names = ["گل\u200cها", "👨\u200d👩\u200d👧", "<b>|=1", "4\u202fPM"]
    raw = bring(as_zip({f"{name}/{name}.png": encoded() for name in names}))
    assert raw.class_names == sorted(names)


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


def clear_utf8_flags(archive: str) -> bytes:
    """The bytes of a zip file, with no name marked as UTF-8."""
    content = bytearray(Path(archive).read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(start, place + 1)) >= 0:
            content[place + flags + 1] &= ~0x08
    return bytes(content)


def test_names_in_an_unknown_encoding_are_noted(capsys: pytest.CaptureFixture):
    named = as_zip({f"{name}/0.png": encoded() for name in ("niñxo", "dog")})
    windows = clear_utf8_flags(named).replace("ñx".encode(), "ñxx".encode("cp1252"))
    assert bring(put("windows.zip", windows)).class_names == ["dog", "ni±xxo"]
    assert "ni±xxo" in capsys.readouterr().err


def test_names_as_macos_writes_them_are_the_composed_ones():
    """Its zips do not mark their names as UTF-8, and é is an e and an accent."""
    composed, apart = "árbol", unicodedata.normalize("NFD", "árbol")
    assert composed != apart
    tree = {f"train/{composed}/0.png": encoded(), f"test/{apart}/0.png": encoded()}
    tree |= {f"{part}/niño/1.png": encoded() for part in ("train", "test")}
    put("set.zip", clear_utf8_flags(as_zip(tree)))
    for source in ("set.zip", as_folder(tree)):
        raw = bring(source)
        assert raw.class_names == ["niño", "árbol"]
        assert raw.labels.tolist() == [0, 1, 0, 1]


def test_an_archive_made_on_windows_may_separate_folders_by_backslashes():
    with zipfile.ZipFile("set.zip", "w") as archive:
        for name, content in FLAT.items():
            info = zipfile.ZipInfo(f"photos\\{name}".replace("/", "\\"))
            info.create_system = 0
            archive.writestr(info, content)
    assert facts(bring("set.zip")) == facts(bring(as_zip(FLAT, "plain.zip")))
    # in Shift-JIS, ソ ends with the byte of a backslash
    info = zipfile.ZipInfo("cat/ソ.png".encode("cp932").decode("cp437"))
    info.create_system, info.flag_bits = 0, 0
    assert zips.find_member_name(info).count("/") == 1


def test_a_folder_that_repeats_what_lies_beside_it_is_left_out_with_a_note(
    capsys: pytest.CaptureFixture,
):
    copied = FLAT | {f"again/{name}": content for name, content in FLAT.items()}
    raw = bring(as_zip(copied))
    assert facts(raw) == facts(bring(as_zip(FLAT, "plain.zip")))
    assert [entry["file"] for entry in raw.dataset["skipped"]] == ["again/"]
    assert "again/" in capsys.readouterr().err
    # but not if it is a part: then the classes beside it are one too many
    with pytest.raises(UserError, match="train"):
        bring(as_zip(FLAT | {f"train/{name}": content for name, content in FLAT.items()}))


def test_a_part_whose_images_were_all_skipped_is_not_replaced_by_others():
    broken = {f"val/{label}/0.png": b"x" for label in ("cat", "dog")}
    with pytest.raises(UserError, match="2 validation images"):
        bring(as_zip(TREE | broken), on_bad_image="skip")


def test_films_and_sidecar_files_are_left_out():
    expected = facts(bring(as_zip(FLAT, "a.zip")))
    films = {f"cat/{name}": b"x" for name in ("0.MOV", "0.aae", "0.png.json", "film.mp4")}
    for source in (as_folder(FLAT | films), as_zip(FLAT | films), as_tar(FLAT | films)):
        assert facts(bring(source)) == expected
    named_so = {f"v1.mov/{name}": content for name, content in FLAT.items()}  # a folder
    assert facts(bring(as_folder(named_so, "set2"))) == expected


def test_arrays_without_a_test_part_are_all_for_training():
    raw = bring(as_npz("all.npz", x_test=None, y_test=None))
    assert len(raw.labels) == raw.train == 6
    assert np.array_equal(raw.labels, bring(as_npz()).labels[:6])


def test_arrays_may_bring_a_validation_part_and_others_are_named(capsys: pytest.CaptureFixture):
    x, y = images(4), np.array([0, 1, 2, 0])
    raw = bring(str(Path(as_npz(x_val=x, y_val=y, x_valid=x)).rename("set.NPZ")))
    assert (raw.train, raw.validation, raw.dataset["test"]) == (6, 4, 3)
    assert raw.labels.tolist() == [0, 1, 2, 0, 1, 2, *y.tolist(), 0, 1, 2]
    assert np.array_equal(raw.image(7)[..., 0], x[1])
    assert "x_valid" in capsys.readouterr().err


def test_hidden_files_are_left_out_of_an_archive_whatever_they_are():
    hidden = {"cat/.thumbnail.png": tarfile.SYMTYPE, ".fifo": tarfile.FIFOTYPE}
    expected = facts(bring(as_zip(FLAT)))
    assert facts(bring(as_tar(FLAT, **hidden))) == expected
    film = FLAT | {"cat/0.MOV": bytes(2000)}
    assert facts(bring(as_zip(film), limits={"file_bytes": 1000})) == expected
    for pack in (as_zip, as_tar):  # but reading through it costs time
        with pytest.raises(UserError, match="total_bytes"):
            bring(pack(film), limits={"total_bytes": 2000})


def test_hidden_files_of_a_folder_are_left_out():
    expected, digest = facts(bring(as_folder(FLAT))), describe_source(Path("set"))
    os.symlink("nowhere", "set/cat/.#0.png")  # the lock of an editor
    os.mkdir("set/.git")
    os.symlink("/", "set/.git/root")
    Path("set/cat/.DS_Store").write_bytes(b"x")
    assert facts(bring("set")) == expected and describe_source(Path("set")) == digest
    assert bring("set").dataset["source_digest"] == digest["sha256"]
    # what sha256sum prints, in whatever order the file system lists the files
    files = {os.fsencode(name): Path("set", name) for name in reversed(FLAT)}
    lines = [f"{digest_of(Path('set', name))}  {name}\n" for name in sorted(FLAT)]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest["sha256"] == digest_files(files, "set") == expected


@pytest.mark.parametrize("name", ["set.npz", "set.yaml", "set.zip"])
def test_a_folder_may_be_named_like_a_file(name: str):
    assert facts(bring(as_folder(FLAT, name))) == facts(bring(as_folder(FLAT)))


def test_too_little_memory_is_not_taken_for_a_bad_image(monkeypatch: pytest.MonkeyPatch):
    def converted(*_):
        raise MemoryError

    monkeypatch.setattr(decoding, "convert", converted)
    with pytest.raises(MemoryError):
        bring(as_folder(FLAT), on_bad_image="skip")


def test_data_damaged_after_the_import_are_named():
    raw = bring(as_zip(FLAT))
    content = bytearray(Path("data/raw/mine/images.bin").read_bytes())
    content[40:70] = b"x" * 30
    Path("data/raw/mine/images.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"data/raw/mine is damaged: cat/0\.png"):
        raw = Raw(Path("data/raw/mine"))
        list(map(raw.image, range(len(raw.labels))))


def test_links_to_images_in_a_folder_are_followed():
    as_folder(FLAT, "true")
    as_folder({"cat": None, "dog": None})
    for name in FLAT:
        os.symlink(Path("true", name).resolve(), Path("set", name))
    assert facts(bring("set")) == facts(bring("true"))
