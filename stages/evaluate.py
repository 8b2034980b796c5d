"""Stage evaluate: compute the metrics of one model from its predictions of the validation and test
parts.

Reads ``models/NAME/`` and the labels in ``data/prepared/``; writes into ``reports/models/NAME/``:

    metrics.json      all metrics, parameter count, epochs and learning rate (with a schedule, the
                      highest); also the accuracies of auxiliary heads, if the network has any
    curves.csv        loss, accuracy and learning rate per epoch, on both parts; the squared error
                      if it was recorded
    training.json     as train wrote it: parameters, recipe, layers
  for the test part:
    predictions.csv   true class, predicted class and its probability, one row per image; also
                      pairs the predictions of two models
    classes.csv       precision, recall, F1, area under the ROC curve and count of each class
    confusion.csv     the cells of the confusion matrix
    roc.csv           one-vs-rest ROC curves: micro, macro, and of the three hardest classes
    calibration.csv   confidence and accuracy, one row per bin of the reliability diagram

Works without TensorFlow, in 2 seconds.
"""

from pathlib import Path

from stages import params
from stages.metrics.measures import measure_model
from stages.runtime import cli, escape
from stages.storage import files
from stages.storage.prepared import Prepared


def main(model: str) -> None:
    source, target = Path("models") / model, Path("reports/models") / model
    result, tables, _ = measure_model(model, source, Prepared(), params.load().evaluate)
    files.write_json(target / "metrics.json", result)
    files.write_json(target / "training.json", files.read_json(source / "training.json"))
    confusion = tables["confusion"]  # DVC writes it into a page
    confusion[["actual", "predicted"]] = confusion[["actual", "predicted"]].map(escape.script)
    for name, table in tables.items():
        files.write_csv(table, target / f"{name}.csv", index=name == "classes")
    print("{}: test accuracy {accuracy:.4f} ± {standard_error:.4f}".format(model, **result["test"]))


if __name__ == "__main__":
    cli.run(main, __doc__, model="the model's key in `models`")
