"""How a data set gets into the project from what ``datasets.NAME.source`` of ``params.yaml`` points
to: the stage download lists the kinds of sources, `stages.sources.raw` describes the result."""

import os
from pathlib import Path
from typing import Any

from stages import params
from stages.params.schema import Download, Source
from stages.runtime import guard
from stages.runtime.errors import UserError
from stages.sources import archives, cifar, classes, official, writing
from stages.sources.arrays import read_npz
from stages.sources.digests import describe_source, digest_files
from stages.sources.fetch import fetch_all
from stages.sources.idx import read_idx

# outside the stage's outs, which DVC deletes before the stage runs
DOWNLOADS = Path("data/downloads")


def import_dataset(
    dataset: str, source: Source, options: Download, raw: Path = Path("data/raw")
) -> dict[str, Any]:
    """Write a folder with the name of the data set into `raw`, from its source; returns what
    dataset.json says of it."""
    path = Path(source.source)
    if not path.exists():
        raise UserError(f"datasets.{dataset}.source: {path} is missing")
    listing, publisher, found = find_published(path, options) or (None, None, {})
    [only] = found.values() if len(found) == 1 else [path]
    kind = choose_kind(dataset, path, publisher)
    description = {
        "name": dataset,
        "source": source.source,
        "kind": archives.kind_of(only) if kind == "images" else kind,
        "official": str(listing) if listing else None,
        "source_digest": digest_source(found or {path.name: path}),
        "licence": publisher.licence if publisher else source.licence,
    }
    folder = raw / dataset
    if kind in ("npz", "idx", "cifar"):
        if kind == "npz":
            arrays = read_npz(only, options.limits)
        elif kind == "idx":
            arrays = read_idx(found, publisher.class_names, options.limits)
        else:
            arrays = cifar.read_cifar(only, options.limits)
        published_names = publisher and publisher.class_names
        arrays.class_names = source.class_names or published_names or arrays.class_names
        return writing.write_arrays(folder, description, arrays)
    if source.class_names:
        raise UserError(
            f"datasets.{dataset}.class_names: {path} names its classes by its folders; leave the "
            "key out"
        )
    found_files, folders = archives.survey(only, options.limits)
    cifar.refuse_pickles(found_files, only)
    images = classes.find(found_files, folders, only)
    wanted = {images.prefix + name: size for name, size in zip(images.names, images.sizes)}
    expected = publisher.images if publisher else None
    return writing.write_encoded(
        folder, description, images, archives.read_contents(only, wanted), options, expected
    )


def choose_kind(dataset: str, path: Path, publisher: official.Publisher | None) -> str:
    """How the source at `path` is read: ``npz``, ``idx``, ``cifar``, ``images``, ``folder``,
    ``zip`` or ``tar``. Raises `UserError` where it is none of these."""
    if publisher:
        return publisher.format
    kind = "npz" if path.suffix == ".npz" and path.is_file() else archives.kind_of(path)
    if kind is None:
        raise UserError(
            f"datasets.{dataset}.source: {path} is none of: a .yaml file as in {official.FOLDER}, "
            "an .npz file, a folder, "
            "a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file"
        )
    return kind


def find_published(
    path: Path, options: Download
) -> tuple[Path, official.Publisher, dict[str, Path]] | None:
    """The publisher's file that `path` is, or that knows the files at `path`; and where these lie,
    fetched and checked."""
    if path.suffix in (".yaml", ".yml") and path.is_file():
        publisher = params.checked(path, official.Publisher)
        folder = DOWNLOADS / path.stem
        with guard.exclusive(folder / "download.lock", f"the download of {path.stem}"):
            return path, publisher, fetch_all(publisher, folder, options)
    if (known := official.recognise(path)) is None:
        return None
    listing, publisher, found = known
    for file in publisher.files:
        if fault := official.fault(found[file.name], file, options.limits):
            raise UserError(
                f"{found[file.name]} has the name of a file of {listing.stem} and is not the "
                f"published one: {fault}. "
                f"Fetch it anew from {file.url}, or give it another name to use it as data of your "
                "own"
            )
    return listing, publisher, found


def digest_source(found: dict[str, Path]) -> str:
    """SHA-256 of the source's file; of several, or of a folder, of the list that ``sha256sum``
    prints."""
    if len(found) == 1:
        return describe_source(*found.values())["sha256"]
    return digest_files({os.fsencode(name): path for name, path in found.items()}, "digest")


def import_and_report(dataset: str, raw: Path) -> dict[str, Any]:
    """Import the data set that ``params.yaml`` describes, and print what it has; returns what
    dataset.json says of it."""
    options = params.load()
    source = params.choose(dataset, options.datasets, "datasets")
    description = import_dataset(dataset, source, options.download, raw)
    print("{name}: {train:,} training and {test:,} test images".format(**description), end="")
    if "validation" in description:
        print(f", {description['validation']:,} validation images", end="")
    print(f", {len(description['skipped']):,} files skipped" if description["skipped"] else "")
    return description
