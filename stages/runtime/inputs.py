"""Whether the data that a stage reads are those that ``params.yaml`` describes.

Under DVC they always are. They may not be where somebody starts a stage by hand after ``git
checkout``, which brings back the parameters, and not the data.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import UserError
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.families import Architecture
    from stages.params.schema import Params

SPLIT = Path("data/split/parameters.json")
PREPARED = Path("data/prepared/data.json")
WEIGHTS = Path("data/weights")


def split_parameters(options: "Params") -> dict[str, Any]:
    """The parameters that the split follows."""
    return {
        "dataset": options.dataset,
        "seed": options.seed,
        "split": options.split.model_dump(),
    }


def check_split(options: "Params") -> None:
    """Raises `UserError` where the split was made with other parameters than `options`. One that is
    not there is left to whoever reads it."""
    if SPLIT.exists():
        refuse_others(SPLIT, files.read_json(SPLIT), split_parameters(options))


def check_prepared(options: "Params") -> None:
    """Raises `UserError` where the prepared data, or the split beside them, were made with other
    parameters than `options`. Whether the data were made from that split is not known."""
    expected = {"dataset": options.dataset, "preprocess": options.preprocess.model_dump()}
    refuse_others(PREPARED, files.read_json(PREPARED), expected)
    check_split(options)


def check_weights(model: str, architecture: "Architecture") -> None:
    """Raises `UserError` where the weights that `model` starts from are other ones than its
    `architecture` names. Some that are not there are left to whoever reads them."""
    wanted, source = architecture.pretrained, WEIGHTS / model / "source.json"
    if wanted and source.exists():
        key = f"architectures.{model}.weights"
        refuse_others(source, {key: files.read_json(source).get("weights")}, {key: wanted})


def refuse_others(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise UserError(
                f"{path.parent} was made with another value of {key} than stands in params.yaml: "
                f"{found.get(key)}, not {value}.\n       `dvc repro` makes what is needed anew, in "
                "the right order; to start a stage by hand, first start those before it"
            )
