"""Pre-trained weights: which file ``architectures.NAME.weights`` means, and how it gets here.

``imagenet`` is a file that ``keras.applications`` publishes, listed in
``data/official/weights/imagenet.yaml``; where there are several by the size of the images,
``imagenet`` is the one of 224 pixels, and ``imagenet-160`` and so on are the others. Anything else
is a path.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import h5py
from pydantic import Field

from stages import params
from stages.params.fields import Section
from stages.params.names import is_published
from stages.runtime import guard
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import official
from stages.sources.fetch import by_hand, fetch
from stages.storage import files, hdf5

if TYPE_CHECKING:
    from stages.params.families import Application, Architecture
    from stages.params.schema import Download

LIST = official.FOLDER / "weights" / "imagenet.yaml"
DOWNLOADS = Path("data/downloads/weights")
SIZE = 224  # pixels
DEFAULTS = {"alpha": 1.0, "minimalistic": False}  # the arguments that decide which file it is


class Weights(official.File):
    """A published file: of which network, with or without its classifier."""

    network: str
    top: bool
    arguments: dict[str, bool | float] = {}
    size: int | None = None
    licence: str
    place: ClassVar[str] = "architectures.NAME.weights"

    @property
    def value(self) -> str:
        """What ``weights`` in ``params.yaml`` calls it."""
        return "imagenet" if self.size in (None, SIZE) else f"imagenet-{self.size}"


class Published(Section):
    """The whole list."""

    homepage: str
    files: list[Weights] = Field(min_length=1)


def load_published() -> list[Weights]:
    """The files that keras.applications publishes."""
    return params.checked(LIST, Published).files


def find(name: str, architecture: "Application") -> Weights:
    """The published file that the architecture `name` starts from. Raises `UserError` where Keras
    publishes none."""
    wanted = {key: architecture.arguments.get(key, default) for key, default in DEFAULTS.items()}
    fitting = {
        file.value: file
        for file in load_published()
        if file.network == architecture.network
        and file.top == (architecture.top == "own")
        and DEFAULTS | file.arguments == wanted
    }
    if architecture.weights not in fitting:
        there = ", ".join(fitting) or "none with these arguments"
        raise UserError(
            f"params.yaml: architectures.{name}.weights: Keras publishes no {architecture.weights} "
            f"for {architecture.network}; there is {there}"
        )
    return fitting[architecture.weights]


def bring(
    name: str, architecture: "Application", options: "Download"
) -> tuple[Path, dict[str, Any]]:
    """The file that the architecture `name` starts from, fetched where it is a published one, and
    what the model card says of it. `options` is the section ``download``.

    Raises `UserError` where it is missing, cannot be fetched, or is no HDF5 file.
    """
    file = find(name, architecture) if is_published(architecture.weights) else None
    if file:
        with guard.exclusive(DOWNLOADS / "download.lock", "the download of weights"):
            path = fetch(file, DOWNLOADS, options)
        source, licence = file.url, file.licence
    else:
        path, source, licence = Path(architecture.weights), architecture.weights, None
        if not path.is_file():
            raise UserError(
                f"params.yaml: architectures.{name}.weights: no file lies at {source!r}: give the "
                "path of an .h5 file, or imagenet, which fetches Keras's own"
            )
    try:
        check_hdf5(path)
    except UserError as error:
        if not file:
            raise
        # without a published digest, only this tells a web page, or a part of a file, from the file
        files.remove(path)
        raise UserError(f"{error}\n{by_hand(file, path)}") from None
    return path, describe(path, architecture.weights, source, licence)


def describe(path: Path, weights: str, source: str, licence: str | None) -> dict[str, Any]:
    """What source.json says of the file at `path`."""
    return {
        "weights": weights,
        "source": source,
        "licence": licence,
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
    }


def check_hdf5(path: Path) -> None:
    """Raises `UserError` where a file is no HDF5 file, or the beginning of one."""
    hdf5.check_signature(path)
    try:
        with h5py.File(path):
            pass
    except OSError as error:
        raise UserError(f"{path} is damaged: {printable(error)}") from None


def find_kept(
    kept: Path, name: str, architecture: "Application", options: "Download"
) -> dict[str, Any] | None:
    """What to say of weights.h5 in the folder `kept`, where that is what the architecture `name`
    starts from: the published file, or that of a path where none lies now; None where it is
    not."""
    path, weights = kept / "weights.h5", architecture.weights
    file = find(name, architecture) if is_published(weights) else None
    source, licence = (file.url, file.licence) if file else (weights, None)
    try:
        check_hdf5(path)
        before = files.read_json(kept / "source.json")
    except (OSError, UserError):  # it is brought anew
        return None
    about = describe(path, weights, source, licence)
    if any(before.get(key) != about[key] for key in ("source", "sha256")):
        return None
    other = official.fault(path, file, options.limits) if file else Path(source).exists()
    return None if other else about


def write(
    folder: Path,
    name: str,
    architecture: "Architecture",
    options: "Download",
    kept: Path | None = None,
) -> None:
    """Write into `folder` what the architecture `name` starts from: weights.h5, and source.json,
    which says what it is; of a network with random weights only that, empty. An earlier run may
    have written the folder `kept`."""
    folder.mkdir(parents=True)
    about = {}
    if architecture.pretrained:
        if kept and (about := find_kept(kept, name, architecture, options)):
            path = kept / "weights.h5"
        else:
            path, about = bring(name, architecture, options)
        shutil.copy(path, folder / "weights.h5")
        print("{0}: {weights}, {bytes:,} bytes".format(name, **about))
    files.write_json(folder / "source.json", about)
