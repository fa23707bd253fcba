"""Memory that calls need beside the graph's tensors: temporaries, and state between invokes."""

from __future__ import annotations

from tinydeploy.graph import Graph, Tensor


class Memory:
    """Hands out tensor indices behind the graph's own, and notes what persists.

    `sizes` holds the bytes of each index handed out, `persistent` the byte that fills a tensor
    before the first invoke, for every tensor that keeps its value between invokes.
    """

    def __init__(self, graph: Graph) -> None:
        self.sizes: dict[int, int] = {}
        self.persistent: dict[int, int] = {}
        self._next = len(graph.tensors)
        self._variables: dict[str, int] = {}

    def temporary(self, size_bytes: int) -> int:
        """The index of memory that lives from the call that writes it to the last that reads it."""
        index = self._next
        self._next += 1
        self.sizes[index] = size_bytes
        return index

    def state(self, tensor: Tensor) -> int:
        """The index of a variable tensor; it begins with its zero point, as in the reference."""
        self.persistent[tensor.index] = _fill(tensor)
        return tensor.index

    def variable(self, name: str, like: Tensor, size_bytes: int) -> int:
        """The index of a named variable that holds values like `like`.

        Raises ValueError where the name is known with another size.
        """
        if name not in self._variables:
            self._variables[name] = self.temporary(size_bytes)
            self.persistent[self._variables[name]] = _fill(like)
        index = self._variables[name]
        if self.sizes[index] != size_bytes:
            raise ValueError(f"variable {name!r} has {self.sizes[index]} bytes, not {size_bytes}")
        return index


def _fill(tensor: Tensor) -> int:
    """The low byte of the zero point: the reference fills bytes with it, whatever the type."""
    return (tensor.zero_points[0] if tensor.zero_points else 0) & 0xFF
