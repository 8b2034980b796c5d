"""Stage evaluate of the replications: measure one experiment with each of its seeds, and draw the
documents' figures.

Reads ``replications/trained/NAME/``, and the labels and test images in
``replications/data/VARIANT/prepared/``; writes into ``replications/results/NAME/``:

    result.json      the metrics of each seed, and what reproduces them: parameters and their
                     digest, seeds, budget, digest and number of the images; backend and type of
                     device
    classes.csv      precision, recall, F1, AUC and count of each class, first seed
    curves.csv       loss and accuracy of each epoch, squared error where the loss takes one-hot
                     labels; the learning rate; first seed
    confusion.png, roc.png, predictions.png, architecture.png    first seed

Works without TensorFlow.
"""

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from stages import params
from stages.drawing import charts
from stages.metrics.measures import measure_model
from stages.metrics.tabulation import DIGITS
from stages.params.schema import Params
from stages.replications import figures, options, publications
from stages.runtime import cli
from stages.storage import files
from stages.storage.prepared import PARTS


def take_published_measure(
    published: publications.Published, metrics: dict[str, Any], curves: pd.DataFrame
) -> float:
    """The accuracy to compare with the published one: on the same part, in the same epoch (final,
    or best on validation). `curves` is the table of curves.csv."""
    if published.of == "test":
        return metrics["test"]["accuracy"]
    column = curves.loc[curves["part"] == "validation", "accuracy"]
    return round(float(column.iloc[-1] if published.epoch == "final" else column.max()), DIGITS)


def collect_parameters(
    root: Params, replications: options.Replications, entry: options.Entry
) -> dict[str, Any]:
    """All parameters that determine the result."""
    variant = replications.variants[entry.variant]
    seed = replications.common.seed if variant.seed is None else variant.seed
    return {
        "data": variant.model_dump() | {"seed": seed},
        "architecture": root.architectures[entry.architecture].model_dump(exclude_unset=True),
        "train": options.complete_train(replications.common, entry).model_dump(),
        "augment": options.complete_augment(replications.common, entry).model_dump(),
        "starts_from": entry.starts_from,
        "evaluate_in_training_mode": entry.evaluate_in_training_mode,
        "seeds": entry.seeds,
        "budget": entry.budget.model_dump(),
    }


def main(experiment: str) -> None:
    root, replications = options.load()
    entry = params.choose(experiment, replications.experiments, "experiments", options.FILE)
    published = publications.read_documents([experiment])[experiment].published
    prepared = options.open_prepared(entry)
    target, seeds = options.FOLDER / "results" / experiment, {}
    for number, seed in enumerate(entry.seeds):
        source = options.TRAINED / experiment / f"seed-{seed}"
        metrics, tables, probabilities = measure_model(experiment, source, prepared, root.evaluate)
        obtained = take_published_measure(published, metrics, tables["curves"])
        seeds[seed] = {"obtained": obtained, **metrics}
        if number == 0:
            files.write_csv(tables["classes"], target / "classes.csv")
            files.write_csv(tables["curves"], target / "curves.csv")
            training = files.read_json(source / "training.json")
            drawings = figures.draw_experiment(
                experiment, tables, probabilities["test"], prepared, training
            )
            for name, figure in drawings.items():
                charts.save(figure, target / f"{name}.png")
    parameters = collect_parameters(root, replications, entry)
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    result = {
        "experiment": experiment,
        "seeds": seeds,
        "parameters_sha256": digest,
        "data_sha256": prepared.description["sha256"],
        "computed_by": training.get("computed_by"),  # None if older than this record
        "images": {part: len(prepared.labels(part)) for part in PARTS},
        "parameters": parameters,
    }
    files.write_json(target / "result.json", result)
    values = [seed["obtained"] for seed in seeds.values()]
    print(
        f"{experiment}: {published.of} accuracy {np.mean(values):.4f}, published "
        f"{published.accuracy}"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, experiment="the experiment's key in `experiments`")
