"""Each mistake in params.yaml is found without Keras, before anything runs, and named by file,
line, key and value."""

import functools
import operator
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.example import load_example, read_example
from support.project import ROOT, Project

from stages import params, train
from stages.params.reading import read_yaml
from stages.params.recipe import Train
from stages.params.schema import Params
from stages.runtime.errors import UserError
from stages.sources import official

TEXT = read_example()
REPLICATIONS = (ROOT / "replications/params.yaml").read_text(encoding="utf-8")
RATES = TEXT[TEXT.index("  learning_rate:") : TEXT.index("  loss: ")]  # up to schedule_arguments
DROPOUT = "- Dropout:\n        rate: 0.2\n"


def scheduled(arguments: str, rate: str = "") -> str:
    """In place of `RATES`: a schedule with its arguments, and a learning rate beside it."""
    return (
        f"  learning_rate: {rate}\n  optimizer_arguments: {{}}\n"
        f"  schedule: CosineDecay\n  schedule_arguments: {arguments}\n"
    )


def refuse(folder: Path, text: str) -> str:
    """The message that refuses `text` as params.yaml."""
    file = folder / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        params.load(file)
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("optimizer: adam ", "optimizer: adamm ", ["train.optimizer", "'adamm'", "adam"]),
        ("optimizer: adam ", "optimiser: adam ", ["train.optimiser", "optimizer"]),
        ("\n  epochs: 8 ", "\n  epochs: 0 ", ["train.epochs", "0"]),
        ("\n  epochs: 8 ", "\n  epochs: eight ", ["train.epochs", "'eight'"]),
        ("\n  epochs: 8 ", "\n  epochs: '' ", ["train.epochs", "-S KEY=null"]),
        ("\n  mnist-dense:", "\n  mnist.dense:", ["architectures.mnist.dense", "would take a dot"]),
        ("\n  epochs: 8 ", "\n  epochs: 8.5 ", ["train.epochs", "8.5"]),
        ("\n  learning_rate:", "\n  learning_rate: -0.1", ["train.learning_rate", "-0.1"]),
        ("\n  learning_rate:", "\n  learning_rate: fast", ["train.learning_rate", "'fast'"]),
        ("\n  learning_rate:", "\n  learning_rate: .inf", ["train.learning_rate", "inf"]),
        (
            "optimizer_arguments: {}",
            "optimizer_arguments: {learning_rate: 0.1}",
            ["train", "learning_rate"],
        ),
        (
            "optimizer_arguments: {}",
            "optimizer_arguments: {use_ema: true}",
            ["train", "restore_best", "never"],
        ),
        ("head_epochs: 30", "head_epoch: 30", ["fine_tuning.head_epoch", "head_epochs"]),
        (
            "optimizer_arguments: {}",
            "optimizer_arguments: {beta_1: high}",
            ["train.optimizer_arguments.beta_1", "'high'"],
        ),
        (
            "optimizer_arguments: {}",
            "optimizer_arguments: {gradient_accumulation_steps: 2.0}",
            ["train.optimizer_arguments", "gradient_accumulation_steps", "2.0"],
        ),
        (
            "loss: sparse_categorical_crossentropy",
            "loss: crossentropy",
            ["train.loss", "'crossentropy'"],
        ),
        (
            "monitor: val_accuracy",
            "monitor: val_acuracy",
            ["train.early_stopping.monitor", "val_accuracy"],
        ),
        (
            "restore_best: always",
            "restore_best: true",
            ["train.early_stopping.restore_best", "True"],
        ),
        (
            "dataset: fashion_mnist_sample",
            "dataset: imagenet",
            ["dataset", "'imagenet'", "fashion_mnist_sample"],
        ),
        ("models:\n", "models: []\nothers:\n", ["models: [] is not valid"]),
        ("- mnist-dense\n", "- mnist-danse\n", ["models[0]", "'mnist-danse'", "mnist-dense"]),
        (
            "- mnist-dense\n",
            "- mnist-dense\n- mnist-dense\n",
            ["models", "'mnist-dense'", "2 times"],
        ),
        (
            "family: dense",
            "family: denze",
            ["architectures.mnist-dense.family", "'denze'", "dense"],
        ),
        ("    family: dense\n", "", ["architectures.mnist-dense.family", "missing"]),
        (
            "kernel_size: 3 ",
            "kernel_size: three ",
            ["architectures.mnist-convnet.kernel_size", "'three'"],
        ),
        (
            "convolutions: 1 ",
            "convolutions: [1, 2] ",
            ["architectures.mnist-convnet", "convolutions", "filters"],
        ),
        (
            "kernel_size: 3 ",
            "kernel_size: 3\n    kernel: 3 ",
            ["architectures.mnist-convnet.kernel", "kernel_size"],
        ),
        (
            "    negative_slope: 0.3 # of leaky_relu\n",
            "",
            ["architectures.fashion-3blocks", "negative_slope", "leaky_relu"],
        ),
        ("  mnist-dense:", "  MNIST dense:", ["architectures.MNIST dense"]),
        (DROPOUT, f"{DROPOUT}        name: image\n", [".layers", "'image'"]),
        (
            "    - Dropout:",
            "    - Dense: {units: 8, name: dropout_1}\n    - Dropout:",
            [".layers", "'dropout_1'"],
        ),
        (DROPOUT, f"{DROPOUT}        name: my layer\n", [".layers", "'my layer'"]),
        (
            DROPOUT,
            f"{DROPOUT}        dtype: float64\n",
            [".layers", "'float64'", "train.precision"],
        ),
        (DROPOUT, "- RandomShear:\n        x_factor: 0.1\n", [".layers", "x_factor", "[0, 0.1]"]),
        (DROPOUT, "- Rescaling: {scale: 1/255}\n", [".layers", "Rescaling", "'1/255'"]),
        (DROPOUT, "- Dense: {units: 8, lora_rank: 4}\n", [".layers", "lora_rank"]),
        (DROPOUT, "- Normalization: {}\n", [".layers", "Normalization", "mean"]),
        (DROPOUT, "- Normalization: {mean: 0, variance: }\n", [".layers", "without mean and"]),
        (DROPOUT, f"{DROPOUT}        noise_shape: [5, 1]\n", [".layers", "noise_shape"]),
        (
            "  schedule_arguments: {}",
            '  schedule_arguments: {initial_learning_rate: "0.1"}',
            ["train.schedule_arguments.initial_learning_rate", "'0.1'"],
        ),
        (
            "  loss_arguments: {}",
            '  loss_arguments: {label_smoothing: "0.1"}',
            ["train.loss_arguments", "'0.1'"],
        ),
        (
            "  loss_arguments: {}",
            "  loss_arguments: {from_logits: true}",
            ["train.loss_arguments", "from_logits"],
        ),
        (
            "  loss_arguments: {}",
            "  loss_arguments: {label_smoothing: 10}",
            ["train.loss_arguments", "label_smoothing", "10"],
        ),
        (
            "  optimizer_arguments: {}",
            f"  optimizer_arguments: {{beta_1: 1{'0' * 400}}}",  # too large for a float
            ["train.optimizer_arguments"],
        ),
        ("validation: 0.2 ", "validation: 1.2 ", ["split.validation", "1.2"]),
        ("seed: 1337", "seed: -1", ["seed", "-1"]),
        ("seed: 1337", "seed: 1337\nseed: 7", ["seed", "duplicate"]),
        ("seed: 1337", "seed: [1337", ["params.yaml"]),
        (
            "seed: 1337",
            "<<<<<<< HEAD\nseed: 1337\n=======\nseed: 7\n>>>>>>> other\n",
            [f"line {TEXT.count(chr(10), 0, TEXT.index('seed: 1337')) + 1}: git"],
        ),
        ("seed: 1337 ", "sed: 1337 ", ["sed", "seed", "missing"]),
        ("seed: 1337 ", '"[": 1\nseed: 1337 ', ["[: unknown key"]),
        ("\ndatasets:\n", "\ndatasets:\n  null: {sauce: a}\n", ["datasets.None", "sauce"]),
        ("\ndatasets:\n", "\ndatasets:\n  mine: {source: ~/a}\n", ["mine.source", "'~/a'"]),
        ("  mirror: #", "  mirror: ftp://a #", ["download.mirror", "http://"]),
        ("seed: 1337 ", '"[one]": 1\nseed: 1337 ', ["[one]: unknown key"]),
        (TEXT, "", ["params.yaml"]),
        (TEXT, "just text", ["params.yaml"]),
        # what would have no effect, unnoticed
        (RATES, scheduled("{}", rate="0.1"), ["train: ", "learning_rate", "schedule"]),
        (
            "  schedule_arguments: {}",
            "  schedule_arguments: {decay_steps: 5}",
            ["train: ", "schedule_arguments"],
        ),
        (
            RATES,
            scheduled("{decay_epochs: 1, decay_steps: 5}"),
            ["schedule_arguments", "decay_epochs", "decay_steps"],
        ),
        (
            "\n  image_size:",
            "\n  image_size: 7072",
            ["preprocess.image_size", "7072", "download.limits.pixels"],
        ),
        ("  timeout: 30.0 ", "  timeout: 0 ", ["download.timeout", "0"]),
        ("  retries: 5 ", "  retries: 101 ", ["download.retries", "101"]),
        ("  backoff: 1.0 ", "  backoff: -1 ", ["download.backoff", "-1"]),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: list[str]):
    assert old in TEXT, "the test's example must be in params.yaml"
    message = refuse(tmp_path, TEXT.replace(old, new, 1))
    for part in (str(tmp_path / "params.yaml"), *named):
        assert part in message


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
ALIAS_CHAIN = "a0: &a0 [ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 99))


@pytest.mark.parametrize(
    "text",
    {
        "ten thousand million values": LAUGHS + TEXT.replace("seed: 1337", "seed: *a9"),
        "5,000 levels": "[" * 5000 + "]" * 5000,
        "99 levels by aliases": ALIAS_CHAIN,
        "an alias of itself": "a: &a [*a]",
        "2 MB": "a: " + "x" * 2_000_000,
        "a number of 5,000 digits": "seed: " + "9" * 5000,
        "a day that is none": "seed: 2024-99-99",
        "a truth that is none": "seed: !!bool maybe",
    }.items(),
    ids=lambda case: case[0],
)
def test_a_bomb_is_refused_in_a_short_sentence(tmp_path: Path, text: tuple[str, str]):
    file = tmp_path / "params.yaml"
    file.write_text(text[1], encoding="utf-8")
    for schema in (Params, official.Publisher):
        with pytest.raises(UserError, match=r"params\.yaml") as error:
            params.read_checked(file, schema)
        assert len(str(error.value)) < 300


def test_a_mistake_in_a_list_of_sections_is_named(tmp_path: Path):
    file = tmp_path / "fashion.yaml"
    text = (ROOT / "data/official/fashion_mnist.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("  md5:", "  md6:", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"fashion.yaml:\d+: files\[0\].md6: .* Did you mean md5"):
        params.read_checked(file, official.Publisher)


def test_aliases_and_merge_keys_are_read(tmp_path: Path):
    file = tmp_path / "x.yaml"
    file.write_text("a: &a {b: 1, c: [2]}\nd:\n  <<: *a\n  b: 3\n", encoding="utf-8")
    assert read_yaml(file)[1] == {"a": {"b": 1, "c": [2]}, "d": {"b": 3, "c": [2]}}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("licence: MIT, Zalando SE", 'licence: "MIT\\n# forged"', ["licence", "U+000A"]),
        ("licence: MIT, Zalando SE", f"licence: {'x' * 2000}", ["licence", "1,000 bytes"]),
        (
            "licence: MIT, Zalando SE",
            'class_names: [cat, "dog\\u202Egod"]',
            ["class_names[1]", "U+202E"],
        ),
        ("source: data/embedded/", 'source: "\\e]0;title\\a" #', ["source", "U+001B"]),
        ("  mnist: #", f"  {'m' * 150}: #", ["datasets", "at most 100"]),
        ("\nseed: 1337", '\n"\\e[2J": 1\nseed: 1337', ["\\x1b[2J", "unknown key"]),
    ],
)
def test_text_that_acts_on_a_terminal_or_a_table_is_refused(
    tmp_path: Path, old: str, new: str, named: list[str]
):
    assert old in TEXT
    message = refuse(tmp_path, TEXT.replace(old, new, 1))
    assert all(part in message for part in named), message
    assert "\x1b" not in message and "\u202e" not in message


def test_the_message_gives_the_line(tmp_path: Path):
    before, _, behind = TEXT.partition("optimizer: adam ")
    message = refuse(tmp_path, f"{before}optimizer: adamm {behind}")
    assert f"params.yaml:{before.count(chr(10)) + 1}: " in message


@pytest.mark.parametrize(
    ("text", "key"), [(TEXT, "seed"), (REPLICATIONS, "common.seed")], ids=["root", "replications"]
)
def test_rewriting_by_dvc_leaves_the_file_unchanged(tmp_path: Path, text: str, key: str):
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    value = functools.reduce(operator.getitem, key.split("."), YAML(typ="safe").load(text))
    apply_overrides(file, [f"{key}={value}"])  # what `-S` does
    assert file.read_text(encoding="utf-8") == text


def lists(node, keys: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of keys to each list in the parameters."""
    if isinstance(node, list):
        return [keys]
    return (
        [path for key, value in node.items() for path in lists(value, (*keys, key))]
        if isinstance(node, dict)
        else []
    )


def test_dvc_can_empty_and_fill_each_list(tmp_path: Path):
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    file.write_text(TEXT, encoding="utf-8")
    all_keys = lists(YAML(typ="safe").load(TEXT))
    for value in ([], [1, 2, 3, 4]):
        apply_overrides(file, [f"{'.'.join(keys)}={value}" for keys in all_keys])
        # a comment behind a list's key would break the file
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        for keys in all_keys:
            node = content
            for key in keys:
                node = node[key]
            assert node == value, keys


def test_each_stage_refuses_a_bad_file(finished: Project, monkeypatch: pytest.MonkeyPatch):
    finished.edit_params(lambda content: content["train"].update(optimizer="adamm"))
    finished.commit()
    monkeypatch.chdir(finished.folder)
    stages = [path.stem for path in Path("stages").glob("*.py") if path.stem != "__init__"]
    assert "train" in stages
    for name in stages:
        main = import_module(f"stages.{name}").main
        arguments = ["mnist-dense" for _ in signature(main).parameters]  # a model, or a data set
        with pytest.raises(UserError, match=r"train\.optimizer"):
            main(*arguments)
    assert finished.changes() == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"optimizer": "adam", "optimizer_arguments": {"momentum": 0.9}},  # Adam has none
            "train.optimizer_arguments",
        ),
        ({"loss_arguments": {"smoothing": 0.1}}, "train.loss_arguments"),
        (
            {"learning_rate": None, "schedule": "CosineDecay"},  # which needs some
            "train.schedule_arguments",
        ),
    ],
)
def test_arguments_that_only_keras_can_check_are_refused_before_training(
    finished: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    change: dict,
    named: str,
):
    finished.edit_params(lambda content: content["train"].update(change))
    monkeypatch.chdir(finished.folder)
    with pytest.raises(UserError, match=named):
        train.main("mnist-dense")
    assert "Epoch" not in capsys.readouterr().out


def test_an_image_too_small_for_the_network_is_named(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    finished.edit_params(
        lambda content: content["architectures"]["fashion-2blocks"].update(
            kernel_size=31, padding="valid"
        )
    )
    monkeypatch.chdir(finished.folder)
    with pytest.raises(UserError, match="architectures.fashion-2blocks.*28×28"):
        train.main("fashion-2blocks")


def test_a_precision_without_kernels_is_refused():
    train = load_example().train.model_dump() | {"precision": "mixed_bfloat16"}
    Train.model_validate(train)
    with pytest.raises(ValueError, match="avx2"):
        Train.model_validate(train | {"instruction_set": "avx2"})
