"""The PyTorch side of `throughput.py`: the same network as PyTorch's users would write it, an epoch
per turn; needs requirements.txt here.

usage: torch_worker.py WAY JOB      WAY is eager, compile, compile-bfloat16 or ceiling; JOB as
`throughput.py` writes it

Images stay uint8 in memory and are normalised in the network; tensors are in channels_last,
PyTorch's faster layout on CPUs for these networks. The loss takes logits, so that PyTorch need not
compute the softmax. The scheduling policy is that of the stage.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import turns
from torch import nn


class Pixels(nn.Module):
    def forward(self, x):
        return x.to(torch.float32) / 255


def network(arguments, image_shape, classes: int) -> nn.Module:
    """The family `cnn` of this project, layer by layer."""
    blocks = len(arguments["filters"])

    def a_block(key):
        return arguments[key] if isinstance(arguments[key], list) else [arguments[key]] * blocks

    def activated(layer, norm):
        slope = arguments.get("negative_slope")
        layers = [layer, nn.ReLU() if slope is None else nn.LeakyReLU(slope)]
        if arguments["batch_norm"] != "none":  # with Keras's epsilon and momentum
            layers.insert(
                {"before": 1, "after": 2}[arguments["batch_norm"]], norm(eps=1e-3, momentum=0.01)
            )
        return layers

    layers = [Pixels()]
    keys = ("filters", "convolutions", "kernel_size", "pool_size", "pool_strides", "dropout")
    for width, count, kernel, pool, strides, rate in zip(*(a_block(key) for key in keys)):
        for _ in range(count):
            layers += activated(
                nn.LazyConv2d(width, kernel, padding=arguments["padding"]), nn.LazyBatchNorm2d
            )
        if pool > 1:
            layers.append(
                nn.MaxPool2d(pool, strides, ceil_mode=arguments["pool_padding"] == "same")
            )
        if rate:
            layers.append(nn.Dropout(rate))
    layers += (
        [nn.Flatten()]
        if arguments["head"] == "flatten"
        else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    )
    for width in arguments["dense_units"]:
        layers += activated(nn.LazyLinear(width), nn.LazyBatchNorm1d)
        if arguments["dense_dropout"]:
            layers.append(nn.Dropout(arguments["dense_dropout"]))
    layers.append(nn.LazyLinear(classes))
    model = nn.Sequential(*layers)
    height, width, channels = image_shape
    with torch.no_grad():
        model(torch.zeros(2, channels, height, width))  # the lazy layers learn their sizes
    return model.to(memory_format=torch.channels_last)


def run(way: str, job) -> None:
    folder, recipe = Path(job["folder"]), job["train"]
    description = json.loads((folder / "data.json").read_text())
    data = {}
    for part in ("train", "validation"):
        images = torch.from_numpy(np.load(folder / f"{part}.npy")).permute(
            0, 3, 1, 2
        )  # a channels_last tensor, as it is stored
        data[part] = images, torch.from_numpy(np.load(folder / f"{part}_labels.npy"))
    torch.manual_seed(1)
    model = network(
        job["architecture"], description["image_shape"], len(description["class_names"])
    )
    turns.answer(
        {
            "parameters": sum(weights.numel() for weights in model.parameters()),
            "torch": torch.__version__,
        }
    )
    optimizer = {
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7),
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=recipe["learning_rate"] or 1e-2),
    }[recipe["optimizer"]]()
    loss_of = nn.CrossEntropyLoss()
    compiled = torch.compile(model) if way.startswith("compile") else model
    precision = torch.autocast("cpu", dtype=torch.bfloat16, enabled=way.endswith("bfloat16"))

    def epoch(part: str, batch_size: int, order) -> None:
        images, labels = data[part]
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for start in range(0, len(labels), batch_size):
            chosen = (
                slice(start, start + batch_size)
                if order is None
                else order[start : start + batch_size]
            )
            x, y = images[chosen].contiguous(memory_format=torch.channels_last), labels[chosen]
            with precision:
                outputs = compiled(x)
                loss = loss_of(outputs.float(), y)
            if order is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.detach() * len(y)
            correct += (outputs.argmax(1) == y).sum()
        total.item(), correct.item()

    while True:
        turns.wait()
        times = [turns.clocks()]
        compiled.train()
        epoch("train", recipe["batch_size"], torch.randperm(len(data["train"][1])))
        times.append(turns.clocks())
        compiled.eval()
        with torch.no_grad():
            epoch("validation", recipe["prediction_batch_size"], None)
        times += [turns.clocks()] * 2
        turns.answer(turns.spent(times))


def ceiling(job) -> None:
    turns.answer({"torch": torch.__version__})
    matrices = {
        name: torch.randn(job["side"], job["side"]).to(getattr(torch, name))
        for name in ("float32", "bfloat16")
    }
    while True:
        turns.wait()
        product = {
            name: lambda matrix=matrix: (matrix @ matrix)[0, 0].item()
            for name, matrix in matrices.items()
        }
        turns.answer(
            {name: turns.product_rate(multiply, job["side"]) for name, multiply in product.items()}
        )


def main(way: str, job_file: str) -> None:
    job = json.loads(Path(job_file).read_text())
    turns.as_batch_job()
    torch.set_num_threads(job["train"]["threads"])
    ceiling(job) if way == "ceiling" else run(way, job)


if __name__ == "__main__":
    main(*sys.argv[1:])
