"""Damage the commands' inputs at random, and check that each answers with a clear message.

    python benchmarks/fuzz_commands.py [--examples 2000]

Four borders, each with that many examples by Hypothesis (``benchmarks/requirements.txt``), drawn
from a fixed seed: training.json and model.keras given to predict, names of files, the files that a
review reads, and text in each format that is written. Anything but a result, a `UserError` or (for
one file) a reason is a fault, and so is memory above `MOST_MEMORY`. Needs a finished run. Takes
about 5 minutes with 2,000 examples."""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from commands.predicting import finding, network, pictures, schemas, trained
from commands.reviewing import revisions
from commands.reviewing.revisions import Revision
from stages.runtime import escape
from stages.runtime.errors import UserError
from stages.training import backend

MOST_MEMORY = 1_500_000_000  # bytes of resident memory, with TensorFlow's own 600 MB
MODELS = 10  # other examples for each model, which Keras takes long to load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, content: object) -> object:
    """`content` with one value, at any depth, replaced, removed or added to."""
    place = content = json.loads(json.dumps(content))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return draw(JSON)
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            place[key] = draw(JSON)
        elif isinstance(place, dict):
            del place[key]
        else:
            place.append(draw(JSON))
        return content


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` cut short, with some bytes overwritten, or replaced."""
    kind = draw(st.sampled_from(["cut", "overwritten", "other"]))
    if kind == "other":
        return draw(st.binary(max_size=300))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "cut":
        return content[:at]
    some = draw(st.binary(min_size=1, max_size=30))
    return content[:at] + some + content[at + len(some) :]


def model_folder(source: Path, target: Path) -> Path:
    """A folder with copies of a model's two files, to be damaged."""
    target.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copyfile(source / name, target / name)
    return target


def of_training(folder: Path, examples: int) -> None:
    content = json.loads((folder / "training.json").read_text())
    whole = (folder / "training.json").read_bytes()

    @run(examples)
    @given(changed(content).map(lambda one: json.dumps(one).encode()) | damaged(whole))
    def check(text: bytes) -> None:
        (folder / "training.json").write_bytes(text)
        try:
            training = trained.validate(schemas.Training, folder / "training.json")
        except UserError as error:
            assert "dvc repro" not in str(error)
            return
        assert max(training.shape) <= schemas.MAX_SIDE
        pictures.prepare(folder / "image.png", training, pictures.read_limits())

    Image.new("L", (30, 20)).save(folder / "image.png")
    check()
    (folder / "training.json").write_bytes(whole)


def of_models(folder: Path, examples: int) -> None:
    training = trained.validate(schemas.Training, folder / "training.json")
    backend.start(training.train.threads)
    with zipfile.ZipFile(folder / "model.keras") as file:
        members = {name: file.read(name) for name in file.namelist()}
    config = json.loads(members["config.json"])

    @run(examples)
    @given(
        changed(config).map(lambda one: {"config.json": json.dumps(one).encode()})
        | damaged(members["model.weights.h5"]).map(lambda one: {"model.weights.h5": one})
    )
    def check(change: dict[str, bytes]) -> None:
        with zipfile.ZipFile(folder / "model.keras", "w") as file:
            for name, content in (members | change).items():
                file.writestr(name, content)
        digest = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
        of_file = training.model_copy(update={"file": schemas.File(sha256=digest)})
        try:
            predict = network.start(
                trained.Trained(folder, of_file, folder / "model.keras", digest)
            )
        except UserError:
            return
        image = np.zeros((1, *training.shape), np.uint8)
        answer = pictures.make_row("a", predict(image)[0], training.class_names, 3)
        assert isinstance(answer, str | dict)

    check()


def of_names(folder: Path, examples: int) -> None:
    names = st.binary(min_size=1, max_size=255).filter(
        lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
    )

    @run(examples)
    @given(names, st.sampled_from(["file", "folder", "pipe", "link", "nothing"]))
    def check(name: bytes, kind: str) -> None:
        path = Path(os.fsdecode(os.fsencode(folder / "names") + b"/" + name))
        path.parent.mkdir()
        try:
            {
                "file": path.touch,
                "folder": path.mkdir,
                "pipe": lambda: os.mkfifo(path),
                "link": lambda: path.symlink_to("/dev/zero"),
                "nothing": lambda: None,
            }[kind]()
            training = trained.validate(schemas.Training, folder / "training.json")
            limits = pictures.read_limits()
            for one in finding.find_files([path, path.parent]):
                assert isinstance(pictures.prepare(one, training, limits), str)
            shown = escape.terminal(path)
            assert shown.isprintable() or set(shown) <= set(str(path))
            assert not {"\n", "\x1b", "\u202e"} & set(shown)
        finally:
            shutil.rmtree(path.parent)

    check()


def of_reviews(folder: Path, examples: int) -> None:
    """The JSON files and tables that a review reads, as a pull request may write them."""
    names = {path: path for path in revisions.SCHEMAS if "/" in path}
    names |= {"metrics.json": "reports/models/mnist-dense/metrics.json"}
    names |= {"training.json": "reports/models/mnist-dense/training.json"}
    names |= {"selection.json": "reports/selection.json"}
    whole = {path: Path(path).read_bytes() for path in names.values()}
    tables = ("predictions.csv", "curves.csv")
    whole |= {
        path: Path(path).read_bytes()
        for path in (f"reports/models/mnist-dense/{name}" for name in tables)
    }

    @run(examples)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(whole)))
        content = whole[path]
        if path.endswith(".json") and data.draw(st.booleans()):
            content = json.dumps(data.draw(changed(json.loads(content)))).encode()
        else:
            content = data.draw(damaged(content))
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
            revision = Revision("the working tree", None)
            read = revision.read_json if path.endswith(".json") else revision.read_table
            found = read(path)
            assert found is not None or path in revision.damaged or not content
            for words in revision.damaged.values():
                assert not set("`<>|@*[]\n\x1b") & set(words)
            assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for name in
                       revision.models)  # fmt: skip

    check()


def of_texts(folder: Path, examples: int) -> None:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    hostile = st.text("<>!-/[]()|`*_~&;#@=+\\\n\t \x1b\u202eab1$:", max_size=30)

    @run(examples)
    @given(st.text(max_size=30) | hostile)
    def check(text: str) -> None:
        for written in (escape.markdown(text), escape.code(text)):
            tokens = parser.parse(f"- x {written}")
            inline = [token for token in tokens if token.type == "inline"]
            assert len(inline) == 1
            kinds = {token.type for token in inline[0].children}
            assert kinds <= {"text", "text_special", "code_inline"}, kinds
        table = f"| a | b |\n|---|---|\n| {escape.markdown(text)} | {escape.code(text, True)} |\n"
        assert sum(token.type == "inline" for token in parser.parse(table)) == 4
        assert "</" not in escape.script(text) and escape.from_script(escape.script(text)) == text
        assert escape.from_spreadsheet(escape.spreadsheet(text)) == text
        written = escape.as_json([text])
        assert json.loads(written) == [text] and not {"\x1b", "\u202e"} & set(written)
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerow([escape.spreadsheet(text)])
        assert not out.getvalue().lstrip('"').startswith(("=", "+", "-", "@", "\t", "\r"))

    check()


def run(examples: int) -> Callable:
    """Settings: so many examples, always the same, and none is tried again for a smaller one."""

    def decorate(test: Callable) -> Callable:
        options = {
            "max_examples": examples,
            "deadline": None,
            "database": None,
            "phases": [Phase.generate],
            "suppress_health_check": list(HealthCheck),
        }
        return seed(1)(settings(**options)(test))

    return decorate


BORDERS = {
    "training.json": (of_training, 1),
    "model.keras": (of_models, MODELS),
    "names of files": (of_names, 1),
    "files of a review": (of_reviews, 1),
    "text in each format": (of_texts, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000, help="of each border (2000)")
    parser.add_argument("--model", type=Path, default=Path("models/mnist-dense"))
    arguments = parser.parse_args()
    for border, (check, times) in BORDERS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = model_folder(arguments.model, Path(temporary) / "model")
            examples = max(1, arguments.examples // times)
            check(folder, examples)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert memory < MOST_MEMORY, f"{border}: {memory:,} bytes of memory"
        print(f"{border}: {examples:,} examples, no fault; {memory / 1e9:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
