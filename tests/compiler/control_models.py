"""Models with control flow: branches, loops, and variables that are set once."""

from __future__ import annotations

import numpy as np
from build_model import ModelBuilder

SHAPE = (1, 6)


def constant(builder: ModelBuilder, value: object, dtype: str = "float32") -> int:
    data = np.array(value, dtype)
    return builder.tensor(data.shape, dtype, data=data)


def binary_body(main: ModelBuilder, name: str, value: float) -> int:
    """A subgraph that computes x NAME value."""
    body = main.body()
    x, y = body.tensor(SHAPE, "float32"), body.tensor(SHAPE, "float32")
    body.op(name, [x, constant(body, [value])], [y])
    return main.add_body(body, [x], [y])


def condition_on_sum(main: ModelBuilder, x: int) -> int:
    """sum(x) > 0 as a bool."""
    total, positive = main.tensor((1,), "float32"), main.tensor((1,), "bool")
    main.op("SUM", [x, constant(main, [1], "int32")], [total])
    main.op("GREATER", [total, constant(main, [0.0])], [positive])
    return positive


def branching() -> bytes:
    """Both branches use x, one passes it on unchanged, and x is used again behind the IF."""
    main = ModelBuilder()
    x = main.tensor(SHAPE, "float32")
    same = main.body()
    t = same.tensor(SHAPE, "float32")
    keep = main.add_body(same, [t], [t])
    double = binary_body(main, "MUL", 2.0)
    y, out = main.tensor(SHAPE, "float32"), main.tensor(SHAPE, "float32")
    condition = condition_on_sum(main, x)
    main.op("IF", [condition, x], [y], then_subgraph_index=double, else_subgraph_index=keep)
    main.op("SUB", [y, x], [out])
    return main.build([x], [out, y])


def looping(swap: bool) -> bytes:
    """(n, a, b) until n is not below the given count: n + 1, b, a + b; or only a doubled."""
    main = ModelBuilder()
    n, limit = main.tensor((1,), "int32"), main.tensor((1,), "int32")
    a, b = (main.tensor(SHAPE, "float32") for _ in range(2))
    types = [((1,), "int32"), ((1,), "int32"), (SHAPE, "float32"), (SHAPE, "float32")]
    condition = main.body()
    state = [condition.tensor(*t) for t in types]
    less = condition.tensor((1,), "bool")
    condition.op("LESS", state[:2], [less])
    decide = main.add_body(condition, state, [less])
    body = main.body()
    state = [body.tensor(*t) for t in types]
    more, total = body.tensor((1,), "int32"), body.tensor(SHAPE, "float32")
    body.op("ADD", [state[0], constant(body, [1], "int32")], [more])
    body.op("ADD", [state[2], state[3]], [total])
    after = [more, state[1], state[3], total] if swap else [more, *state[1:3], total]
    turn = main.add_body(body, state, after)
    outputs = [main.tensor(*t) for t in types]
    options = {"cond_subgraph_index": decide, "body_subgraph_index": turn}
    main.op("WHILE", [n, limit, a, b], outputs, **options)
    last = main.tensor(SHAPE, "float32")
    main.op("ADD", [outputs[2], a], [last])
    return main.build([n, limit, a, b], [*outputs, last])


def nested() -> bytes:
    """A loop whose body branches, and calls one body from two places."""
    main = ModelBuilder()
    n, x = main.tensor((1,), "int32"), main.tensor(SHAPE, "float32")
    double, more = binary_body(main, "MUL", -1.5), binary_body(main, "ADD", 1.0)
    condition = main.body()
    i, _ = state = [condition.tensor((1,), "int32"), condition.tensor(SHAPE, "float32")]
    less = condition.tensor((1,), "bool")
    condition.op("LESS", [i, constant(condition, [4], "int32")], [less])
    decide = main.add_body(condition, state, [less])
    body = main.body()
    i, v = state = [body.tensor((1,), "int32"), body.tensor(SHAPE, "float32")]
    up, once, twice = body.tensor((1,), "int32"), *(body.tensor(SHAPE, "float32") for _ in "ab")
    body.op("ADD", [i, constant(body, [1], "int32")], [up])
    branches = {"then_subgraph_index": double, "else_subgraph_index": more}
    body.op("IF", [condition_on_sum(body, v), v], [once], **branches)
    body.op("IF", [condition_on_sum(body, once), once], [twice], **branches)
    turn = main.add_body(body, state, [up, twice])
    outputs = [main.tensor((1,), "int32"), main.tensor(SHAPE, "float32")]
    options = {"cond_subgraph_index": decide, "body_subgraph_index": turn}
    main.op("WHILE", [n, x], outputs, **options)
    return main.build([n, x], outputs)


def initialized() -> bytes:
    """A variable that CALL_ONCE sets, to which every inference adds its input."""
    main = ModelBuilder()
    once = main.body()
    handle = once.tensor((), "resource")
    once.op("VAR_HANDLE", [], [handle], container="", shared_name="total")
    once.op("ASSIGN_VARIABLE", [handle, constant(once, [[1, 2, 3, 4, 5, 6]])], [])
    setting = main.add_body(once, [], [])
    x, before, after = (main.tensor(SHAPE, "float32") for _ in range(3))
    handle = main.tensor((), "resource")
    main.op("CALL_ONCE", [], [], init_subgraph_index=setting)
    main.op("VAR_HANDLE", [], [handle], container="", shared_name="total")
    main.op("READ_VARIABLE", [handle], [before])
    main.op("ADD", [before, x], [after])
    main.op("ASSIGN_VARIABLE", [handle, after], [])
    return main.build([x], [after])


MODELS = {
    "branching": branching(),
    "looping": looping(swap=False),
    "swapping": looping(swap=True),
    "nested": nested(),
    "initialized": initialized(),
}
