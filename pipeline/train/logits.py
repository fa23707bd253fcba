"""A classifier without its last softmax or sigmoid, and back."""

from __future__ import annotations

from typing import Any

from tinydeploy.pipeline.train.cut import finalize
from tinydeploy.pipeline.train.libraries import keras_of
from tinydeploy.pipeline.train.losses import gives_probabilities


def without_softmax(model: Any) -> Any:
    """The same net with the same weights that gives logits; `model` itself if it does already."""
    if not gives_probabilities(model):
        return model
    library, last = keras_of(model), model.layers[-1]

    def bare(layer: Any) -> Any:
        if layer is last and hasattr(layer, "layers"):
            return without_softmax(layer)
        if layer is last and type(layer).__name__ == "Softmax":
            return library.layers.Activation("linear", name=layer.name)
        config = layer.get_config()
        if layer is last:
            config["activation"] = "linear"
        return type(layer).from_config(config)

    made = library.models.clone_model(model, clone_function=bare)
    take_weights(made, model)
    return made


def take_weights(model: Any, other: Any) -> None:
    """Give `model` the weights of `other`, a net of the same layers."""
    model.set_weights(other.get_weights())
    finalize(model)
