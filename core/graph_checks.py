"""Whether a subgraph's operators fit its tensors: what every reader of a graph relies on."""

from __future__ import annotations

from collections.abc import Sequence

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Body, Tensor

_HINT = "the file is damaged or not a TensorFlow Lite model: convert or download it again"
_WITHOUT_OUTPUT = ("ASSIGN_VARIABLE", "CALL_ONCE")


def check_references(body: Body, tensors: Sequence[Tensor], where: str) -> None:
    """Indices in range, and every tensor known before an operator reads it.

    Indices are those of `tensors`; `where` names the subgraph in messages. Raises
    UnsupportedModelError.
    """
    n = len(tensors)

    def demand(condition: bool, message: str) -> None:
        if not condition:
            raise UnsupportedModelError(message, hint=_HINT)

    def known(index: int) -> bool:
        return ready[index] or tensors[index].data is not None or tensors[index].is_variable

    demand(
        all(0 <= t < n for t in (*body.inputs, *body.outputs)),
        f"an input or output of {where} names a tensor that does not exist",
    )
    ready = [False] * n
    for t in body.inputs:
        demand(tensors[t].data is None, f"input tensor {t} of {where} is a constant")
        ready[t] = True
    for op in body.ops:
        layer = f"layer {op.index} ({op.name})"
        if where != "the model":
            layer += f" of {where}"
        demand(op.name in _WITHOUT_OUTPUT or bool(op.outputs), f"{layer} has no output")
        demand(
            all(-1 <= t < n for t in op.inputs) and all(0 <= t < n for t in op.outputs),
            f"{layer} names a tensor that does not exist",
        )
        for t in op.inputs:
            demand(t < 0 or known(t), f"{layer} reads tensor {t} before it is written")
        for t in op.outputs:
            demand(
                tensors[t].data is None and not ready[t],
                f"{layer} writes tensor {t}, which has a value already",
            )
            ready[t] = True
    demand(all(known(t) for t in body.outputs), f"an output of {where} is never written")
