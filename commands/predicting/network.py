"""A trained model, ready to predict: by ONNX Runtime where the folder is an exported one, which
takes a fraction of a second to start, else by Keras, which takes some."""

from commands.predicting.trained import Trained, advice
from stages.conversion import checking, running
from stages.conversion.checking import Predict
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores
from stages.training import backend


def start(trained: Trained, threads: int | None = None) -> Predict:
    """What the model predicts: images uint8 (images, height, width, channels) → probabilities
    float (images, classes). `threads` are ONNX Runtime's; None: one a core. Raises `UserError`
    where the file cannot be loaded, or is a network of another shape than training.json says."""
    load = load_onnx
    if trained.file.suffix != ".onnx":
        load, train = load_keras, trained.training.train
        backend.start(train.threads, train.instruction_set)  # as in training
    try:
        predict, given, classes = load(trained, threads or count_cores())
    except UserError as error:
        raise UserError(f"{error}: {advice(trained.folder)}") from None
    wanted, names = trained.training.shape, trained.training.class_names
    if given != wanted or classes != len(names):
        raise UserError(
            f"{trained.file} takes images of the shape {given} and tells {classes} classes apart, "
            f"and training.json speaks of {wanted} and {len(names)}: {advice(trained.folder)}"
        )
    return predict


def load_onnx(trained: Trained, threads: int) -> tuple[Predict, tuple, int]:
    """What the model predicts, the shape of an image, and the number of classes."""
    session = running.open_session(trained.file, threads)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    kinds = [(one.name, one.type, len(one.shape)) for one in (*inputs, *outputs)]
    if kinds != [("image", "tensor(uint8)", 4), ("probability", "tensor(float)", 2)]:
        raise UserError(f"{trained.file} is no network that the stage export wrote")
    return running.make_predict(session), tuple(inputs[0].shape[1:]), outputs[0].shape[1]


def load_keras(trained: Trained, _: int) -> tuple[Predict, tuple, int]:
    """The same of a Keras file."""
    network = checking.load(trained.file)

    def predict(images):
        return network.predict(images, verbose=0)

    return predict, tuple(network.input_shape[1:]), network.output_shape[-1]
