"""Which channels of a Keras model belong together.

Every output channel of a convolution or dense layer gets a number, and the last axis of every
tensor is followed as an array of such numbers: an element-wise layer hands it on, Concatenate joins
arrays, Flatten repeats one. Channels that meet in an Add, say, can only be removed together and
become one *class*. The channels of the model's inputs and outputs, and all that a layer outside of
`_FOLLOWING` and the tables below touches, are in class 0, which always stays; so no layer has to be
known for a cut to be right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train.calls import Call, Shape, calls_of, kind_of, outputs_of

DENSE = frozenset({"Dense"})
CONVS = frozenset({"Conv1D", "Conv2D"})
TRANSPOSED = frozenset({"Conv1DTranspose", "Conv2DTranspose"})
DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
PRODUCERS = DENSE | CONVS | TRANSPOSED | SEPARABLE
RESHAPES = frozenset({"Flatten", "Reshape", "Permute"})

# Each output channel depends on the input channel of the same index alone.
_STATELESS = frozenset(
    {
        *("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Activation", "Rescaling", "Identity"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "ActivityRegularization"),
        *("GaussianNoise", "GaussianDropout", "AlphaDropout", "RepeatVector"),
        *("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D"),
        *("UpSampling1D", "UpSampling2D", "MaxPooling1D", "MaxPooling2D"),
        *("AveragePooling1D", "AveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D"),
    }
)
_MERGES = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})
_ELEMENTWISE = frozenset(
    {
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "sigmoid"),
        *("tanh", "hard_sigmoid", "hard_tanh", "swish", "silu", "hard_silu", "hard_swish", "mish"),
        *("softplus", "softsign", "exponential", "log_sigmoid", "squareplus"),
    }
)


@dataclass(frozen=True)
class Part:
    """A layer whose weights or settings depend on channels: the classes along its last axes.

    `middle` are those between the two steps of a separable convolution.
    """

    layer: Any
    kind: str
    ins: np.ndarray
    outs: np.ndarray
    middle: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates: `each` x input channels x output channels (None: counted in `each`)."""

    each: int
    ins: np.ndarray | None = None
    outs: np.ndarray | None = None


@dataclass(frozen=True)
class Component:
    """A group of channels that can only be removed together from the layers `producers`.

    `classes` are those of its channels, in the order of the first layer's outputs.
    """

    producers: tuple[str, ...]
    classes: np.ndarray

    @property
    def name(self) -> str:
        """What the group is called: the first of the layers."""
        return self.producers[0]

    @property
    def size(self) -> int:
        """How many channels it has."""
        return len(self.classes)


@dataclass(frozen=True)
class Layout:
    """What `layout` finds; parts by the name of their layer, in the order of the net."""

    parts: Mapping[str, Part]
    work: tuple[Work, ...]
    components: tuple[Component, ...]


class _Classes:
    """Disjoint sets of channels; the lowest number stands for its set, and 0 stays for ever."""

    def __init__(self) -> None:
        self._parent = [0]

    def new(self, count: int) -> np.ndarray:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def tie(self, a: Sequence[int] | np.ndarray, b: Sequence[int] | np.ndarray) -> None:
        for x, y in {(int(x), int(y)) for x, y in zip(a, b, strict=True)}:
            low, high = sorted((self.find(x), self.find(y)))
            self._parent[high] = low

    def close(self, channels: np.ndarray) -> None:
        self.tie(channels, np.zeros_like(channels))

    def of(self, channels: np.ndarray) -> np.ndarray:
        table = {int(n): self.find(int(n)) for n in np.unique(channels)}
        return np.array([table[int(n)] for n in channels], np.int64)


class _Walk:
    """One pass over the calls of a model."""

    def __init__(self, model: Any) -> None:
        self.classes = _Classes()
        self.parts: dict[str, Part] = {}
        self.work: list[Work] = []
        calls = calls_of(model)
        self._times = Counter(id(c.layer) for c in calls if not c.is_input)
        self._tensors: dict[int, np.ndarray] = {}
        for call in calls:
            self._follow(call)
        for key in outputs_of(model):
            self.classes.close(self._tensors[key])

    def _follow(self, call: Call) -> None:
        ins = [self._tensors[key] for key in call.inputs]
        out = None if call.is_input else self._known(call, ins)
        if out is not None and len(out) == _channels(call.output_shapes[0]):
            self._tensors[call.outputs[0]] = out
            return
        for channels in ins:
            self.classes.close(channels)
        for key, shape in zip(call.outputs, call.output_shapes, strict=True):
            self._tensors[key] = np.zeros(_channels(shape), np.int64)
        self._count_closed(call)

    def _known(self, call: Call, ins: list[np.ndarray]) -> np.ndarray | None:
        """The channels of the output, or None where they cannot be followed."""
        layer, kind = call.layer, kind_of(call.layer)
        if (
            getattr(layer, "data_format", None) == "channels_first"
            or len(call.outputs) != 1
            or len(call.output_shapes[0]) < 2
        ):
            return None
        if kind in _MERGES or kind == "Concatenate":
            return self._merged(call, kind, ins)
        if len(ins) != 1:
            return None
        if kind in _STATELESS:
            return ins[0] if _is_elementwise(layer, kind) else None
        if self._times[id(layer)] > 1:  # one set of weights for several inputs
            return None
        if kind in RESHAPES:
            return self._part(layer, kind, ins[0], _reshaped(call, kind, ins[0]))
        if kind == "PReLU":
            return self._part(layer, kind, ins[0], ins[0])
        if kind == "BatchNormalization":
            rank = len(call.input_shapes[0])
            axis = layer.axis if isinstance(layer.axis, int) else next(iter(layer.axis))
            if axis not in (-1, rank - 1) or getattr(layer, "renorm", False):
                return None
            return self._part(layer, kind, ins[0], ins[0])
        if kind in DEPTHWISE:
            outs = np.repeat(ins[0], layer.depth_multiplier)
            self._count(call, math.prod(layer.kernel_size), outs=outs)
            return self._part(layer, kind, ins[0], outs)
        if kind in PRODUCERS and getattr(layer, "groups", 1) == 1:
            return self._produced(call, kind, ins[0])
        return None

    def _produced(self, call: Call, kind: str, ins: np.ndarray) -> np.ndarray:
        layer = call.layer
        count = _channels(call.output_shapes[0])
        name = _activation_name(layer)
        outs = self.classes.new(count) if name in _ELEMENTWISE else np.zeros(count, np.int64)
        kernel = 1 if kind in DENSE else math.prod(layer.kernel_size)
        middle = np.zeros(0, np.int64)
        if kind in SEPARABLE:
            middle = np.repeat(ins, layer.depth_multiplier)
            self._count(call, kernel, outs=middle)
            self._count(call, 1, ins=middle, outs=outs)
        else:
            self._count(call, kernel, ins=ins, outs=outs, at_input=kind in TRANSPOSED)
        self._part(layer, kind, ins, outs, middle)
        return outs

    def _part(
        self,
        layer: Any,
        kind: str,
        ins: np.ndarray,
        outs: np.ndarray | None,
        middle: np.ndarray | None = None,
    ) -> np.ndarray | None:
        if outs is not None:
            more = {} if middle is None else {"middle": middle}
            self.parts[layer.name] = Part(layer, kind, ins, outs, **more)
        return outs

    def _merged(self, call: Call, kind: str, ins: list[np.ndarray]) -> np.ndarray | None:
        ranks = {len(shape) for shape in call.input_shapes}
        if len(ranks) != 1:
            return None
        if kind == "Concatenate" and call.layer.axis in (-1, ranks.pop() - 1):
            return np.concatenate(ins)
        widest = max(ins, key=len)
        for channels in ins:
            if len(channels) == len(widest):
                self.classes.tie(channels, widest)
            elif len(channels) == 1:  # broadcast over the others' channels
                self.classes.close(channels)
            else:
                return None
        return widest

    def _count(
        self,
        call: Call,
        each: int,
        *,
        ins: np.ndarray | None = None,
        outs: np.ndarray | None = None,
        at_input: bool = False,
    ) -> None:
        shape = call.input_shapes[0] if at_input else call.output_shapes[0]
        self.work.append(Work(each * _positions(call, shape), ins, outs))

    def _count_closed(self, call: Call) -> None:
        """The work of a layer whose channels all stay."""
        layer, kind = call.layer, kind_of(call.layer)
        if kind in CONVS | DENSE | DEPTHWISE:
            kernel = layer.kernel if hasattr(layer, "kernel") else layer.depthwise_kernel
            shape, weights = call.output_shapes[0], math.prod(kernel.shape)
            if getattr(layer, "data_format", None) == "channels_first":
                shape = (shape[0], *shape[2:], shape[1])
            self.work.append(Work(weights * _positions(call, shape)))
        elif kind in _RECURRENT:
            weights = sum(math.prod(w.shape) for w in layer.weights if len(w.shape) == 2)
            self.work.append(Work(weights * _positions(call, call.input_shapes[0])))
        elif hasattr(layer, "_nodes_by_depth") or hasattr(layer, "_functional"):
            self.work.extend(layout(layer).work)

    def resolved(self, components: Sequence[Component]) -> Layout:
        of = self.classes.of
        return Layout(
            {
                name: Part(p.layer, p.kind, of(p.ins), of(p.outs), of(p.middle))
                for name, p in self.parts.items()
            },
            tuple(
                Work(
                    w.each,
                    None if w.ins is None else of(w.ins),
                    None if w.outs is None else of(w.outs),
                )
                for w in self.work
            ),
            tuple(components),
        )


def layout(model: Any) -> Layout:
    """Which channels of a built functional or sequential model belong together.

    Raises UnsupportedModelError for another model, and for a layer whose input is not of a fixed
    size.
    """
    walk = _Walk(model)
    return walk.resolved(_components(walk))


def _components(walk: _Walk) -> list[Component]:
    """Producers joined by the classes they share.

    Where one channel has to stay, all do; also where a producer makes what others make in parts (an
    Add to a Concatenate), since one of these could be left with nothing.
    """
    members: dict[str, list[int]] = {
        name: [int(n) for n in walk.classes.of(part.outs)]
        for name, part in walk.parts.items()
        if part.kind in PRODUCERS
    }
    found: list[tuple[list[str], set[int]]] = []
    for name, classes in members.items():
        names, together = [name], set(classes)
        apart = []
        for other in found:
            if (other[1] - {0}) & together:
                names, together = other[0] + names, other[1] | together
            else:
                apart.append(other)
        found = [*apart, (names, together)]
    order = list(members)
    components = []
    for names, together in found:
        if 0 in together or any(set(members[name]) != together for name in names):
            walk.classes.close(np.array(list(together)))
            continue
        names.sort(key=order.index)
        order_of_first = list(dict.fromkeys(members[names[0]]))
        components.append(Component(tuple(names), np.array(order_of_first)))
    return sorted(components, key=lambda c: order.index(c.name))


def _channels(shape: Shape) -> int:
    """Size of the last axis, 0 where there is none or its size is not fixed."""
    return shape[-1] or 0 if len(shape) > 1 else 0


def _positions(call: Call, shape: Shape) -> int:
    inner = shape[1:-1]
    if None in inner:
        raise UnsupportedModelError(
            f"layer {call.layer.name!r}: the size {tuple(shape)} of its output is not fixed",
            hint="build the model with a fixed size for every dimension but the batch",
        )
    return math.prod(n for n in inner if n is not None)


def _reshaped(call: Call, kind: str, channels: np.ndarray) -> np.ndarray | None:
    """The channels along the last axis afterwards, if each position there holds the same."""
    given, wanted = call.input_shapes[0][1:], call.output_shapes[0][1:]
    if None in given or None in wanted or len(channels) != given[-1]:
        return None
    sizes = [n for n in given if n is not None]
    numbers = np.broadcast_to(channels, sizes)
    if kind == "Permute":
        numbers = numbers.transpose([d - 1 for d in call.layer.dims])
    rows = numbers.reshape(-1, wanted[-1] or 0)
    return rows[0].copy() if (rows == rows[0]).all() else None


def _is_elementwise(layer: Any, kind: str) -> bool:
    if kind == "Activation":
        return _activation_name(layer) in _ELEMENTWISE
    if kind == "Rescaling":
        return bool(np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0)
    return True


def _activation_name(layer: Any) -> str:
    """The name of a built-in activation function, "" of any other."""
    function = layer.activation
    if function is None:
        return "linear"
    module = str(getattr(function, "__module__", ""))
    builtin = module.split(".")[0] in ("keras", "tf_keras")
    return str(getattr(function, "__name__", "")) if builtin else ""
