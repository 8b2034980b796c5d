"""Pre-trained weights: find the file that ``architectures.NAME.weights`` means, and obtain it.

``imagenet`` is a file that ``keras.applications`` publishes, listed in
``data/official/weights/imagenet.yaml``; where there are several, by image size, ``imagenet`` is the
one for 224 pixels, and ``imagenet-160`` and so on are the others. Anything else is a path.
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
from stages.sources.fetch import advise_by_hand, fetch
from stages.storage import files, hdf5

if TYPE_CHECKING:
    from stages.params.families import Application, Architecture
    from stages.params.schema import Download

LIST = official.FOLDER / "weights" / "imagenet.yaml"
DOWNLOADS = Path("data/downloads/weights")
SIZE = 224  # pixels
DEFAULTS = {"alpha": 1.0, "minimalistic": False}  # arguments that select the file


class Weights(official.File):
    """A published file: its network, and whether it includes the classifier (`top`)."""

    network: str
    top: bool
    arguments: dict[str, bool | float] = {}
    size: int | None = None
    licence: str
    place: ClassVar[str] = "architectures.NAME.weights (`--weights` of commands.photographs)"

    @property
    def value(self) -> str:
        """Its name in ``params.yaml``, as the value of ``weights``."""
        return "imagenet" if self.size in (None, SIZE) else f"imagenet-{self.size}"


class Published(Section):
    """The whole of imagenet.yaml."""

    homepage: str
    files: list[Weights] = Field(min_length=1)


def load_published() -> list[Weights]:
    """The weight files that keras.applications publishes."""
    return params.read_checked(LIST, Published).files


def find(name: str, architecture: "Application") -> Weights:
    """The published file that the architecture `name` starts from. Raises `UserError` if Keras
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
        available = ", ".join(fitting) or "none with these arguments"
        raise UserError(
            f"params.yaml: architectures.{name}.weights: Keras publishes no {architecture.weights} "
            f"for {architecture.network}; available: {available}"
        )
    return fitting[architecture.weights]


def find_origin(name: str, architecture: "Application") -> tuple[Weights | None, str, str | None]:
    """The published file that the architecture `name` starts from, None if it names a file of the
    user's; its source, an address or a path; and its licence, if known."""
    weights = architecture.weights
    if not is_published(weights):
        return None, weights, None
    file = find(name, architecture)
    return file, file.url, file.licence


def obtain(
    name: str, architecture: "Application", options: "Download"
) -> tuple[Path, dict[str, Any]]:
    """The file that the architecture `name` starts from, downloaded if it is a published one, and
    the content of source.json. `options` is the section ``download``.

    Raises `UserError` if it is missing, cannot be downloaded, or is not an HDF5 file.
    """
    file, source, licence = find_origin(name, architecture)
    if file:
        with guard.exclusive(DOWNLOADS / "download.lock", "the download of weights"):
            path = fetch(file, DOWNLOADS, options)
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError(
                f"params.yaml: architectures.{name}.weights: no file lies at {source!r}: give the "
                "path of an .h5 file, or imagenet, which downloads Keras's own"
            )
    try:
        check_hdf5(path)
    except UserError as error:
        if not file:
            raise
        # no digest is published: only this check detects a web page or a truncated file
        files.remove(path)
        raise UserError(f"{error}\n{advise_by_hand(file, path)}") from None
    return path, describe(path, architecture.weights, source, licence)


def describe(path: Path, weights: str, source: str, licence: str | None) -> dict[str, Any]:
    """The content of source.json for the file at `path`."""
    return {
        "weights": weights,
        "source": source,
        "licence": licence,
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
    }


def check_hdf5(path: Path) -> None:
    """Raise `UserError` if a file is not HDF5, or is truncated."""
    hdf5.check_signature(path)
    try:
        with h5py.File(path):
            pass
    except OSError as error:
        raise UserError(f"{path} is damaged: {printable(error)}") from None


def find_kept(
    kept: Path, name: str, architecture: "Application", options: "Download"
) -> dict[str, Any] | None:
    """The content of source.json for weights.h5 in the folder `kept` of an earlier run, if the
    architecture `name` can start from it: it is the published file, or came from a path at which
    there is no file now. Else None."""
    path = kept / "weights.h5"
    file, source, licence = find_origin(name, architecture)
    try:
        check_hdf5(path)
        before = files.read_json(kept / "source.json")
    except (OSError, UserError):  # obtained again
        return None
    description = describe(path, architecture.weights, source, licence)
    if any(before.get(key) != description[key] for key in ("source", "sha256")):
        return None
    outdated = official.find_fault(path, file, options.limits) if file else Path(source).exists()
    return None if outdated else description


def write(
    folder: Path,
    name: str,
    architecture: "Architecture",
    options: "Download",
    kept: Path,
) -> None:
    """Write into `folder` the weights.h5 that the architecture `name` starts from, and source.json;
    for random weights only the latter, empty. The folder `kept`, of an earlier run, is reused if it
    is still valid."""
    folder.mkdir(parents=True)
    description = {}
    if architecture.pretrained:
        if description := find_kept(kept, name, architecture, options):
            path = kept / "weights.h5"
        else:
            path, description = obtain(name, architecture, options)
        shutil.copy(path, folder / "weights.h5")
        print("{0}: {weights}, {bytes:,} bytes".format(name, **description))
    files.write_json(folder / "source.json", description)
