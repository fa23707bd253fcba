"""A Keras 3 model as one of tf_keras, which tensorflow-model-optimization asks for.

The configurations of both versions are close relatives: what a layer of Keras 3 says and tf_keras
does not know may be left out only where it is Keras's own default.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError

_MODELS = ("Functional", "Sequential", "Model")
_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
_BESIDE = ("dtype", "seed")
"""Settings that change nothing here: all is float32, and `Job` sets the seeds."""
_BESIDE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""Settings of a training from scratch; the weights are copied."""

_TOLERANCE = 1e-4
_HINT = "build the model of Keras's own layers, or with tf_keras; or use the recipe int8"


def to_tf_keras(model: Any, samples: np.ndarray) -> Any:
    """The same net in tf_keras, weights included; models within it become part of it.

    `samples` (N, *sample shape) float32: both models must compute the same of them, within 1e-4 of
    the largest output. Raises UnsupportedModelError naming a layer that tf_keras does not have or
    whose settings it does not know, and for outputs that differ.
    """
    import tf_keras

    made: dict[int, Any] = {}
    inputs = [
        tf_keras.Input(tuple(t.shape)[1:], dtype=t.dtype, name=t.name.split(":")[0])
        for t in model.inputs
    ]
    outputs = _replay(model, inputs, made, "")
    clone = tf_keras.Model(inputs, outputs, name=model.name)
    _require_same_outputs(model, clone, samples)
    return clone


def _replay(model: Any, inputs: list[Any], made: dict[int, Any], prefix: str) -> Any:
    """Call the model's layers, as tf_keras has them, on `inputs`; its output or outputs.

    `made` holds the layers that were made, by those of Keras 3: a model may call one twice.
    """
    config = model.get_config()
    if isinstance(config, dict) and "input_layers" not in config:
        x = inputs[0]
        for layer in model.layers:
            x = _call(layer, [x], {}, made, prefix)
        return x
    found = {tuple(k): x for k, x in zip(_histories(config["input_layers"]), inputs, strict=True)}
    layers = {layer.name: layer for layer in model.operations}
    pending = [
        (entry["name"], index, node)
        for entry in config["layers"]
        for index, node in enumerate(entry["inbound_nodes"])
    ]
    while pending:
        ready = [p for p in pending if all(h in found for h in _needed(p[2]))]
        if not ready:
            raise _refusal(layers[pending[0][0]], "what it is given cannot be found")
        for name, index, node in ready:
            args, kwargs = _filled(node["args"], found), _filled(node["kwargs"], found)
            result = _call(layers[name], args, kwargs, made, prefix)
            for i, tensor in enumerate(result if isinstance(result, list) else [result]):
                found[(name, index, i)] = tensor
        pending = [p for p in pending if p not in ready]
    outputs = [found[tuple(h)] for h in _histories(config["output_layers"])]
    return outputs[0] if len(outputs) == 1 else outputs


def _call(
    layer: Any, args: list[Any], kwargs: dict[str, Any], made: dict[int, Any], prefix: str
) -> Any:
    if type(layer).__name__ in _MODELS:
        given = args[0] if isinstance(args[0], list) else [args[0]]
        return _replay(layer, given, made, f"{prefix}{layer.name}_")
    if id(layer) not in made:
        made[id(layer)] = _translated(layer, prefix)
    # Whether it trains is not the layer's to say here, and nothing is masked.
    kwargs = {k: v for k, v in kwargs.items() if k not in ("training", "mask")}
    new = made[id(layer)]
    try:
        result = new(*args, **kwargs)
        new.set_weights(layer.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _refusal(layer, " ".join(str(error).split())[:300]) from error
    return result


def _translated(layer: Any, prefix: str) -> Any:
    """A layer of tf_keras with the settings of `layer`, not built yet."""
    import keras
    import tf_keras

    kind = type(layer).__name__
    if getattr(keras.layers, kind, None) is not type(layer):
        raise _refusal(layer, "only Keras's own layers can be translated")
    target = getattr(tf_keras.layers, kind, None)
    if target is None:
        raise _refusal(layer, "tf_keras has no such layer")
    known, defaults = _settings(target), _defaults(type(layer))
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        name = _RENAMED.get((kind, key), key)
        if key in _BESIDE or key.endswith(_BESIDE_SUFFIXES):
            continue
        if name in known:
            config[name] = value
        elif value != defaults.get(key):
            raise _refusal(layer, f"tf_keras does not know its setting {key} = {value!r}")
    config["name"] = f"{prefix}{layer.name}"
    try:
        return target.from_config(config)
    except (ValueError, TypeError) as error:
        raise _refusal(layer, " ".join(str(error).split())[:300]) from error


def _settings(layer: type) -> set[str]:
    """Names of what a layer's class and its bases take."""
    return {p.name for p in _parameters(layer)} | {"name", "trainable"}


def _defaults(layer: type) -> Mapping[str, Any]:
    return {p.name: p.default for p in _parameters(layer) if p.default is not p.empty}


def _parameters(layer: type) -> list[inspect.Parameter]:
    """Of the constructors of a class and its bases, the class's own last."""
    makers = [vars(c)["__init__"] for c in reversed(layer.__mro__) if "__init__" in vars(c)]
    found = [p for maker in makers for p in inspect.signature(maker).parameters.values()]
    return [p for p in found if p.name not in ("self", "args", "kwargs")]


def _histories(value: Any) -> list[list[Any]]:
    """The tensors that an entry `input_layers` or `output_layers` names, one or several."""
    return [value] if value and isinstance(value[0], str) else list(value)


def _needed(value: Any) -> list[tuple[Any, ...]]:
    """The tensors that a node's arguments hold, as (layer, node, tensor)."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return [tuple(value["config"]["keras_history"])]
        return [h for v in value.values() for h in _needed(v)]
    if isinstance(value, list | tuple):
        return [h for v in value for h in _needed(v)]
    return []


def _filled(value: Any, found: Mapping[tuple[Any, ...], Any]) -> Any:
    """A node's arguments with tensors in the places of their names."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return found[tuple(value["config"]["keras_history"])]
        return {k: _filled(v, found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(v, found) for v in value]
    return value


def _require_same_outputs(model: Any, clone: Any, samples: np.ndarray) -> None:
    expected, computed = (
        [np.asarray(y) for y in (out if isinstance(out, list | tuple) else [out])]
        for out in (model(samples, training=False), clone(samples, training=False))
    )
    for name, a, b in zip(clone.output_names, expected, computed, strict=True):
        worst = float(np.abs(a - b).max())
        if not worst <= _TOLERANCE * max(1.0, float(np.abs(a).max())):
            raise UnsupportedModelError(
                f"the output {name!r} of {model.name} in tf_keras is {worst:.3g} off Keras 3's",
                hint=_HINT,
            )


def _refusal(layer: Any, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the layer {layer.name!r} ({type(layer).__name__}) cannot be translated to tf_keras: "
        f"{reason}",
        hint=_HINT,
    )
