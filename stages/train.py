"""Stage train: train one model, read it back from disk, and predict the validation and the test
part with it.

Reads ``data/prepared/`` and ``data/weights/NAME/``; writes into ``models/NAME/``:

    model.keras      the network with its normalisation, for images of 0..255, without optimizer
    predictions.npz  validation, test: class probabilities by that file, float32 (images, classes);
                     of a network with auxiliary heads also validation_auxiliary1 and so on
    history.csv      loss and accuracy of each epoch, mean_squared_error where the loss takes
                     one-hot labels, the learning rate of its last step; rewritten after each
    training.json    what the model is and what using it needs: class names, image shape,
                     preprocess; seed, recipe, also with every default of
                     Keras's (effective_recipe), layers, epochs done, the epoch whose weights were
                     kept; size and digest of model.keras
    features/        of a pre-trained network: what it makes of the images before it is fine-tuned;
                     computed again only where that changes; not tracked by DVC
    run.json         seconds, versions, hardware, revision: not tracked by DVC, read by no stage

Interrupted in any way and started again, it goes on behind the last complete epoch
(``checkpoint.npz``) and ends with the bits of a training that was never interrupted. Takes 8 s
beside the training itself, most of them for the import of TensorFlow.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli, guard
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training.run import Experiment, find_pretrained, run

WEIGHTS = Path("data/weights")


def main(model: str) -> None:
    options = params.load()
    if model not in options.architectures:
        raise UserError(f"{model!r} is not a key of architectures in params.yaml")
    folder = Path("models") / model
    with guard.exclusive(folder / "train.lock", f"the training of {model}"):
        backend.start(options.train.threads)
        architecture = options.architectures[model]
        pretrained = getattr(architecture, "weights", None) and find_pretrained(WEIGHTS / model)
        experiment = Experiment(
            model, options.seed, architecture, options.augment, options.train, pretrained
        )
        record = run(experiment, Prepared(), folder, folder / "checkpoint.npz")
        files.write_json(folder / "run.json", record)


if __name__ == "__main__":
    cli.run(main, __doc__, model="the model's key in `architectures`")
