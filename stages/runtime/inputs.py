"""Check that the data and models that a stage reads are those that ``params.yaml`` describes.

Under DVC they always are. They may not be if somebody starts a stage by hand after ``git
checkout``, which restores the parameters but not the data.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import UserError
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.families import Architecture
    from stages.params.schema import Params

SPLIT = Path("data/split")
SPLIT_PARAMETERS = SPLIT / "parameters.json"
PREPARED = Path("data/prepared")
PREPARED_DESCRIPTION = PREPARED / "data.json"
WEIGHTS = Path("data/weights")


def select_split_parameters(options: "Params") -> dict[str, Any]:
    """The parameters that determine the split."""
    return {
        "dataset": options.dataset,
        "seed": options.seed,
        "split": options.split.model_dump(),
    }


def check_split(options: "Params") -> None:
    """Raise `UserError` if the split was made with other parameters than `options`. A missing split
    is reported by its reader."""
    if SPLIT_PARAMETERS.exists():
        made_with = files.read_json(SPLIT_PARAMETERS)
        refuse_mismatch(SPLIT_PARAMETERS, made_with, select_split_parameters(options))


def check_prepared(options: "Params") -> None:
    """Raise `UserError` if the prepared data, or the present split, were made with other parameters
    than `options`. Whether the data were made from that split is not known."""
    expected = {"dataset": options.dataset, "preprocess": options.preprocess.model_dump()}
    refuse_mismatch(PREPARED_DESCRIPTION, files.read_json(PREPARED_DESCRIPTION), expected)
    check_split(options)


def check_trained(model: str, options: "Params") -> None:
    """Raise `UserError` if `model` was trained, and its predictions made, with another data set or
    seed than those of `options`. The rest of the split is not known."""
    path = Path("models") / model / "training.json"
    expected = {"dataset": options.dataset, "seed": options.seed}
    refuse_mismatch(path, files.read_json(path), expected)


def check_weights(model: str, architecture: "Architecture") -> None:
    """Raise `UserError` if the weights that `model` starts from are not those that its
    `architecture` names. Missing weights are reported by their reader."""
    wanted, source = architecture.pretrained, WEIGHTS / model / "source.json"
    if wanted and source.exists():
        key = f"architectures.{model}.weights"
        refuse_mismatch(source, {key: files.read_json(source).get("weights")}, {key: wanted})


def refuse_mismatch(path: Path, actual: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if actual.get(key) != value:
            raise UserError(
                f"{path.parent} was made with another value of {key} than that in params.yaml: "
                f"{actual.get(key)}, not {value}.\n       Run `dvc repro`, which makes what is "
                "needed again; to start a stage by hand, first start those before it"
            )
