"""A network of keras.applications that is small enough for tests."""

TINY = {
    "family": "application",
    "network": "MobileNet",
    "top": "global_average_pooling",
    "arguments": {"alpha": 0.25},
    "weights": "imagenet",
    "fine_tuning": {
        "head_epochs": 1,
        "head_learning_rate": 0.01,
        "layers": "all",
        "batch_norm": "frozen",
    },
}
