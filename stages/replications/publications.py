"""What the documents published: the schema of ``published.yaml``, and functions that read it and
``published_curves.csv``."""

from collections.abc import Iterable
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, RootModel

from stages import params
from stages.params.fields import Count, Name, Section
from stages.replications.options import FOLDER
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

CURVES = ("experiment", "epoch", "loss", "accuracy", "val_loss", "val_accuracy")


class Published(Section):
    """The result that a document reports: `accuracy` on the part `of`, in the `epoch`, on `images`
    images; empty if it reports none. `text_accuracy` is what its running text says, if that
    differs."""

    parameters: Count
    accuracy: Annotated[float, Field(ge=0, le=1)] | None
    of: Literal["test", "validation"]
    epoch: Literal["final", "best"]
    images: Count
    same_images: bool = True  # whether ours are the same, if we have as many
    text_accuracy: Annotated[float, Field(ge=0, le=1)] | None


class Trained(Section):
    """The training images of a document's run, and the epochs that ran; empty if there is no such
    run. For a recipe of our own: what it is meant to have."""

    images: Count
    epochs: Count | None


class Facts(Section):
    """The entry of an experiment in ``published.yaml``."""

    document: str
    section: str
    published: Published
    trained: Trained
    deviations: list[str]
    notes: list[str]


class Documents(RootModel[dict[Name, Facts]]):
    """The whole of ``published.yaml``."""


def read_documents(experiments: Iterable[str]) -> dict[str, Facts]:
    """Read and check what the documents say about each of `experiments`."""
    path = FOLDER / "published.yaml"
    found = params.read_checked(path, Documents).root
    if missing := [name for name in experiments if name not in found]:
        raise UserError(f"{path} says nothing of {', '.join(missing)}: add what was published")
    return found


def read_published_curves() -> pd.DataFrame:
    """The values that we have of the documents' logs: experiment, epoch, loss, accuracy, val_loss,
    val_accuracy, with NaN for those that we lack. Of few logs we have every epoch."""
    path = FOLDER / "published_curves.csv"
    try:
        curves = pd.read_csv(path)
    except ValueError as error:  # of pandas
        raise UserError(f"{path} is no CSV: {first_line(error)}") from None
    if missing := [name for name in CURVES if name not in curves]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}")
    return curves
