"""The schema of the section ``architectures`` of ``params.yaml``, one class per family."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stages.params.fields import FULL_PATH, Count, Line, Rate, Section, exactly, one_of, one_or_list
from stages.params.layers import check_layer, check_layer_names
from stages.params.names import ACTIVATIONS, APPLICATIONS


class Network(Section):
    """The keys that all families share."""

    # whether the saved network averages its predictions for an image and its mirror image
    average_mirrored: bool = False

    @property
    def pretrained(self) -> str | None:
        """The source of the pre-trained weights that training starts from, if any."""
        return getattr(self, "weights", None)  # only one family has the key


class Hidden(Network):
    """The keys that families with freely chosen hidden layers share."""

    activation: one_of(*ACTIVATIONS)
    negative_slope: Annotated[float, Field(ge=0)] | None = None
    batch_norm: one_of("none", "before", "after")

    @model_validator(mode="after")
    def check_negative_slope(self) -> "Hidden":
        if (self.activation == "leaky_relu") != (self.negative_slope is not None):
            raise ValueError(
                "negative_slope belongs to the activation leaky_relu: give both, or neither"
            )
        return self


def one_value_per_block(*keys: str) -> Any:
    """A validator: each of `keys` that is a list has as many values as `filters`."""

    def check(section: Any) -> Any:
        for key in keys:
            value = getattr(section, key)
            if isinstance(value, list) and len(value) != len(section.filters):
                raise ValueError(
                    f"{key} has {len(value)} values, filters has {len(section.filters)}: give "
                    "one per block"
                )
        return section

    return model_validator(mode="after")(check)


class Dense(Hidden):
    family: Literal["dense"]
    units: list[Count]
    dropout: Rate


class Cnn(Hidden):
    family: Literal["cnn"]
    filters: Annotated[list[Count], Field(min_length=1)]
    convolutions: one_or_list(Count)
    kernel_size: one_or_list(Count)
    padding: one_of("valid", "same")
    pool_size: one_or_list(Count)
    pool_strides: one_or_list(Count) | None
    pool_padding: one_of("valid", "same")
    dropout: one_or_list(Rate)
    head: one_of("flatten", "global_average_pooling")
    dense_units: list[Count]
    dense_dropout: Rate

    check_values_per_block = one_value_per_block(
        "convolutions", "kernel_size", "pool_size", "pool_strides", "dropout"
    )


class Whitened(Network):
    family: Literal["whitened"]
    whitening_size: Count
    whitening_images: Count
    whitening_epsilon: Annotated[float, Field(gt=0)]
    filters: Annotated[list[Count], Field(min_length=1)]
    convolutions: one_or_list(Count)
    kernel_size: one_or_list(Count)
    pool_size: one_or_list(Count)
    activation: one_of(*ACTIVATIONS)
    batch_norm_momentum: Rate
    head_scale: Annotated[float, Field(gt=0)]

    check_values_per_block = one_value_per_block("convolutions", "kernel_size", "pool_size")


class Alexnet(Network):
    family: Literal["alexnet"]
    filters: exactly(5, Count)
    kernel_size: exactly(5, Count)
    strides: exactly(5, Count)
    batch_norm: one_of("none", "before", "after")
    pool_size: Count
    pool_strides: Count
    pool_padding: one_of("valid", "same")
    dense_units: list[Count]
    dense_dropout: Rate


class Vgg16(Network):
    family: Literal["vgg16"]
    filters: exactly(5, Count)
    convolutions: exactly(5, Count)
    kernel_size: Count
    batch_norm: one_of("none", "before", "after")
    pool_size: Count
    dense_units: list[Count]
    dense_dropout: Rate


class Googlenet(Network):
    family: Literal["googlenet"]
    stem_filters: exactly(3, Count)
    stem_kernel_size: exactly(3, Count)
    stem_strides: Count
    stem_padding: one_of("valid", "same")
    pool_size: Count
    pool_strides: Count
    pool_padding: one_of("valid", "same")
    inception_3a: exactly(6, Count)
    inception_3b: exactly(6, Count)
    inception_4a: exactly(6, Count)
    inception_4b: exactly(6, Count)
    inception_4c: exactly(6, Count)
    inception_4d: exactly(6, Count)
    inception_4e: exactly(6, Count)
    inception_5a: exactly(6, Count)
    inception_5b: exactly(6, Count)
    dropout: Rate
    auxiliary_pool_size: Count
    auxiliary_pool_strides: Count
    auxiliary_filters: Count
    auxiliary_units: Count
    auxiliary_dropout: Rate
    loss_weights: exactly(3, Annotated[float, Field(ge=0)])  # of the training, not the network


class FineTuning(Section):
    """How a network with pre-trained weights is trained: first its new classifier alone, then also
    the layers that `layers` names."""

    head_epochs: Annotated[int, Field(ge=0)]
    head_learning_rate: Annotated[float, Field(gt=0)]
    layers: Line
    batch_norm: one_of("frozen", "trained")

    @model_validator(mode="after")
    def check_something_trains(self) -> "FineTuning":
        if self.layers == "none" and not self.head_epochs:
            raise ValueError("nothing is trained: head_epochs is 0, and layers is none")
        return self


class Application(Network):
    family: Literal["application"]
    network: one_of(*APPLICATIONS)
    top: one_of("own", "global_average_pooling", "global_max_pooling", "flatten")
    arguments: dict[str, Any]
    # optional, so that older networks of random weights stay valid; weights require fine_tuning
    weights: Annotated[Line, FULL_PATH] | None = None
    fine_tuning: FineTuning | None = None

    @model_validator(mode="after")
    def check_pretrained(self) -> "Application":
        if self.weights and not self.fine_tuning:
            raise ValueError("weights are given: fine_tuning must say how to train them further")
        if self.weights and "include_preprocessing" in self.arguments:
            raise ValueError(
                "include_preprocessing must not be given with pre-trained weights: their network "
                "gets its pixels as it was trained with them"
            )
        return self


class Sequential(Network):
    family: Literal["sequential"]
    layers: Annotated[
        list[Annotated[Any, BeforeValidator(check_layer)]],
        Field(min_length=1),
        AfterValidator(check_layer_names),
    ]


FAMILIES = {
    "dense": Dense,
    "cnn": Cnn,
    "whitened": Whitened,
    "alexnet": Alexnet,
    "vgg16": Vgg16,
    "googlenet": Googlenet,
    "application": Application,
    "sequential": Sequential,
}
Architecture = Annotated[reduce(or_, FAMILIES.values()), Field(discriminator="family")]
