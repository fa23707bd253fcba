"""The cases of bench/coverage.py: random layers, each made from a seed of its own, and graphs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/compiler"))

from control_models import MODELS
from limit_layers import LimitMaker
from more_layers import MORE_LAYERS
from random_graphs import GraphMaker
from random_layers import LAYERS, Layer, LayerMaker

GRAPHS = "(graphs)"
CONTROL = "(control flow)"
ALONE = (GRAPHS, CONTROL)
"""Cases that are a model of their own."""
COMMON_TYPES = ("int8", "int16", "float32")


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer by its name in the tables, or one graph; `limits`: parameters at their limits."""

    name: str
    dtype: str
    seed: int
    limits: bool

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} seed {self.seed}{' limits' if self.limits else ''}"


@dataclasses.dataclass(frozen=True)
class Made:
    """A case in a model: the operators in it, and which of the model's outputs are its own."""

    case: Case
    operators: tuple[str, ...]
    outputs: range


def names_and_types() -> dict[str, tuple[str, ...]]:
    """Every layer's name and the types it is tried in."""
    result: dict[str, tuple[str, ...]] = {GRAPHS: COMMON_TYPES, CONTROL: ("float32",)}
    result |= dict.fromkeys(LAYERS, COMMON_TYPES)
    for name, (_, types) in MORE_LAYERS.items():
        more = () if types == ("bool",) else COMMON_TYPES
        result[name] = tuple(dict.fromkeys((*more, *types)))
    return result


def cases_of(name: str, dtype: str, count: int) -> list[Case]:
    """`count` cases, every other one at the limits."""
    if name == CONTROL:
        return [Case(name, dtype, i, False) for i in range(len(MODELS))]
    first = sum(map(ord, name + dtype)) * 1000
    return [Case(name, dtype, first + i, bool(i % 2)) for i in range(count)]


def make_model(path: Path, cases: Sequence[Case]) -> list[Made]:
    """Write a model with the layers of the cases side by side, all of one type; or one graph.

    Raises KeyError for a type in which a layer has no meaning.
    """
    if cases[0].name == CONTROL:
        (case,) = cases
        path.write_bytes(list(MODELS.values())[case.seed])
        return [Made(case, (CONTROL,), range(1 << 16))]
    if cases[0].name == GRAPHS:
        (case,) = cases
        layers = 8 + case.seed % 33
        path.write_bytes(GraphMaker(case.seed, case.dtype).build(layers))
        return [Made(case, (GRAPHS,), range(1 << 16))]
    makers = {False: LayerMaker(0, cases[0].dtype), True: LimitMaker(0, cases[0].dtype)}
    model = makers[True].model = makers[False].model
    inputs: list[int] = []
    outputs: list[int] = []
    made = []
    for case in cases:
        maker = makers[case.limits]
        maker.rng = np.random.default_rng(case.seed)
        before = len(model.ops)
        a, b = _add(maker, case.name)
        ops = {model.codes[op.opcodeIndex] for op in model.ops[before:]}
        made.append(Made(case, tuple(sorted(ops)), range(len(outputs), len(outputs) + len(b))))
        inputs += a
        outputs += b
    path.write_bytes(model.build(inputs, outputs))
    return made


def _add(maker: LayerMaker, name: str) -> Layer:
    if name in MORE_LAYERS:
        return MORE_LAYERS[name][0](maker, name)
    return LAYERS[name](maker)
