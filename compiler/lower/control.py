"""Control flow: the bodies of CALL_ONCE, IF and WHILE, put where the operator stands.

The engine runs its calls in a row. `unfold` turns a graph with bodies into one without: each body's
operators follow, between markers, on tensors of their own; what a body takes is a view of what the
operator is given. A WHILE's outputs hold its state: they are written before the loop and at the end
of every turn, and the marker behind the loop reads them, so that the memory plan, which knows only
a row of calls, keeps them. A body that is called twice is there twice, but its variable tensors
and constants only once. CALL_ONCE's body comes before everything and runs in td_model_init().
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from tinydeploy.compiler.lower.context import Context, Refused
from tinydeploy.compiler.lower.state import copy
from tinydeploy.compiler.program import Call, Control
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Body, Graph, Op, Tensor
from tinydeploy.graph_stats import DTYPE_BITS

VIEW, NEXT = "(view)", "(next)"
MARKERS: dict[str, Control] = {
    "(if)": "if",
    "(else)": "else",
    "(while)": "while",
    "(do)": "do",
    "(end)": "end",
}
_DEEPEST = 16
_MOST_OPS = 20_000
_VARIABLE_OPS = ("READ_VARIABLE", "ASSIGN_VARIABLE", "IF", "WHILE")


def unfold(graph: Graph) -> tuple[Graph, int]:
    """The same graph in a row, and how many of its first operators run only once.

    Operators keep the index of the layer that they belong to. Raises UnsupportedModelError where an
    operator names no body, or one that contains itself.
    """
    if not graph.bodies and not any(op.name in ("CALL_ONCE", "IF", "WHILE") for op in graph.ops):
        return graph, 0
    unfolder = _Unfolder(graph)
    once: list[Op] = []
    ops: list[Op] = []
    for op in graph.ops:
        if op.name == "CALL_ONCE":
            if any(other.name in _VARIABLE_OPS for other in graph.ops[: op.index]):
                unfolder.fail(op, "it stands behind operators that use variables")
            once += unfolder.body(op, "init_subgraph_index", (), ())
        else:
            ops += unfolder.one(op, op)
    flat = dataclasses.replace(graph, tensors=tuple(unfolder.tensors), ops=(*once, *ops), bodies=())
    return flat, len(once)


class _Unfolder:
    """Makes tensors for the bodies, and knows how deep it is."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Tensor] = list(graph.tensors)
        self.depth = 0
        self.count = 0

    def fail(self, layer: Op, message: str) -> None:
        raise UnsupportedModelError(
            f"the aot engine cannot compile this model: layer {layer.index}, {layer.name}: "
            f"{message}",
            hint="export the model without this control flow",
        )

    def one(self, op: Op, layer: Op) -> list[Op]:
        """An operator of a body or the graph, in a row."""
        self.count += 1
        if self.count > _MOST_OPS:
            self.fail(layer, f"its bodies make more than {_MOST_OPS} layers")
        here = dataclasses.replace(op, index=layer.index)
        if op.name == "IF":
            return self._if(here, layer)
        if op.name == "WHILE":
            return self._while(here, layer)
        if op.name == "CALL_ONCE":
            self.fail(layer, "CALL_ONCE stands in a subgraph")
        return [here]

    def body(self, op: Op, key: str, given: Sequence[int], wanted: Sequence[int]) -> list[Op]:
        """The operators of the body that `op` names, its inputs being views of `given`, and then
        copies to `wanted`."""
        ops, outputs = self._instance(op, key, given)
        if len(outputs) != len(wanted):
            self.fail(op, f"its subgraph has {len(outputs)} outputs, not {len(wanted)}")
        return [*ops, *self._next(op, outputs, wanted)]

    def _instance(self, op: Op, key: str, given: Sequence[int]) -> tuple[list[Op], list[int]]:
        body = self._named(op, key)
        if len(body.inputs) != len(given):
            self.fail(op, f"its subgraph has {len(body.inputs)} inputs, not {len(given)}")
        if self.depth >= _DEEPEST:
            self.fail(op, f"its subgraphs lie more than {_DEEPEST} deep")
        own = self._own_tensors(body)

        def renamed(indices: Iterable[int]) -> tuple[int, ...]:
            return tuple(own.get(t, t) for t in indices)

        taken = renamed(body.inputs)
        ops = [_marker(op, VIEW, (a,), (b,)) for a, b in zip(given, taken, strict=True)]
        self.depth += 1
        for inner in body.ops:
            moved = dataclasses.replace(
                inner, inputs=renamed(inner.inputs), outputs=renamed(inner.outputs)
            )
            ops += self.one(moved, op)
        self.depth -= 1
        return ops, list(renamed(body.outputs))

    def _named(self, op: Op, key: str) -> Body:
        number = int(op.options.get(key, 0))
        if not 1 <= number <= len(self.graph.bodies):
            self.fail(op, f"it names subgraph {number} of {len(self.graph.bodies) + 1}")
        return self.graph.bodies[number - 1]

    def _own_tensors(self, body: Body) -> dict[int, int]:
        """New tensors in place of those that hold values of one call."""
        used = {t for op in body.ops for t in (*op.inputs, *op.outputs)}
        own: dict[int, int] = {}
        for t in sorted({*used, *body.inputs, *body.outputs} - {-1}):
            tensor = self.graph.tensors[t]
            if tensor.data is None and not tensor.is_variable:
                own[t] = len(self.tensors)
                self.tensors.append(dataclasses.replace(tensor, index=own[t]))
        return own

    def _if(self, op: Op, layer: Op) -> list[Op]:
        if not op.inputs:
            self.fail(layer, "it has no condition")
        condition, *given = op.inputs
        return [
            _marker(op, "(if)", (condition,)),
            *self.body(op, "then_subgraph_index", given, op.outputs),
            _marker(op, "(else)", (condition,)),
            *self.body(op, "else_subgraph_index", given, op.outputs),
            _marker(op, "(end)", (condition,)),
        ]

    def _while(self, op: Op, layer: Op) -> list[Op]:
        given, state = op.inputs, op.outputs
        if len(given) != len(state) or not state:
            self.fail(layer, f"it has {len(given)} inputs and {len(state)} outputs")
        condition, decided = self._instance(op, "cond_subgraph_index", state)
        if len(decided) != 1:
            self.fail(layer, f"its condition has {len(decided)} outputs")
        handles = [self.tensors[t].dtype == "resource" for t in given]
        values = [t for t, is_handle in zip(state, handles, strict=True) if not is_handle]
        if not values:
            self.fail(layer, "it has no state")
        pairs = list(zip(given, state, handles, strict=True))
        return [
            *(_marker(op, VIEW, (a,), (b,)) for a, b, is_handle in pairs if is_handle),
            *self._next(op, given, state),
            _marker(op, "(while)", values),
            *condition,
            _marker(op, "(do)", decided),
            *self.body(op, "body_subgraph_index", state, state),
            _marker(op, "(end)", values),
        ]

    def _next(self, op: Op, given: Sequence[int], wanted: Sequence[int]) -> list[Op]:
        """All values at once to where they are wanted; handles of variables stay."""
        pairs = [
            (a, b)
            for a, b in zip(given, wanted, strict=True)
            if a != b and self.tensors[b].dtype != "resource"
        ]
        if not pairs:
            return []
        return [_marker(op, NEXT, [a for a, _ in pairs], [b for _, b in pairs])]


def _marker(op: Op, name: str, inputs: Sequence[int], outputs: Sequence[int] = ()) -> Op:
    return Op(op.index, name, tuple(inputs), tuple(outputs))


def lower_marker(op: Op, ctx: Context) -> list[Call]:
    """Where a branch or a loop begins or ends: C's own statements around the calls between."""
    control = MARKERS[op.name]
    tensor = ctx.input(op, 0)
    if control in ("if", "do") and (tensor.dtype != "bool" or tensor.elements != 1):
        raise Refused("its condition is not one bool")
    if control == "do" and ctx.constant(tensor.index) is not None:
        raise Refused("its condition never changes")
    return [
        Call(
            kernel="",
            struct="",
            params={},
            operands=tuple(ctx.operand(t) for t in op.inputs),
            output=tensor.index,
            op_index=op.index,
            comment=control,
            control=control,
        )
    ]


def lower_body_view(op: Op, ctx: Context) -> list[Call]:
    """What a body takes: the bytes that its operator is given."""
    _same(ctx.input(op, 0), ctx.tensor(op.outputs[0]))
    return []


def lower_next(op: Op, ctx: Context) -> list[Call]:
    """Copies of several values at once: one that another would overwrite waits elsewhere."""
    outputs = set(op.outputs)
    early: list[Call] = []
    late: list[Call] = []
    for source, wanted in zip(op.inputs, op.outputs, strict=True):
        tensor = ctx.tensor(wanted)
        _same(ctx.tensor(source), tensor)
        size = tensor.elements * DTYPE_BITS[tensor.dtype] // 8
        root = source
        while root in ctx.aliases:
            root = ctx.aliases[root]
        if root == wanted:
            continue
        if root in outputs:
            waiting = ctx.memory.temporary(size)
            early.append(copy(op, source, waiting, size))
            late.append(copy(op, waiting, wanted, size))
        else:
            late.append(copy(op, ctx.operand(source), wanted, size))
    return early + late


def _same(given: Tensor, wanted: Tensor) -> None:
    if given.dtype != wanted.dtype or given.elements != wanted.elements:
        raise Refused(
            f"a subgraph takes {wanted.dtype} {list(wanted.shape)} "
            f"where {given.dtype} {list(given.shape)} is given"
        )
