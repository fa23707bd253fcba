"""Refuse SavedModels that would touch files or run Python while they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError

# Loading a SavedModel runs its initializers. TensorFlow has some two hundred operators that read or
# write files, connect to others or call Python; these are the words in their names.
_UNSAFE = re.compile(
    r"(?<!Sharded)File(?!spec)|Dataset|Reader|Record|Summary|Print|PyFunc|^Debug|^Dump|Rpc|LMDB|Sql"
    r"|ImmutableConst|ImportEvent|CalibrationStatistics|LoadAndRemap|VocabRemapping|DistributedSave"
)
# In every SavedModel, called by TensorFlow with its own paths: but not while it is loaded.
_SAVING = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"})
_RUN_AT_START = ("saved_model_main_op", "legacy_init_op")
_HINT = "export the model without it; or, if you trust the folder, --trust-source"


def require_no_code(path: Path) -> None:
    """Refuse a graph with operators that touch files or Python, before anything of it runs.

    Raises UnsupportedModelError naming operator and node.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise UnsupportedModelError(
            f"{path.name} is not a readable SavedModel: {error}",
            hint="give a folder that holds saved_model.pb",
        ) from error
    for meta in proto.meta_graphs:
        library = meta.graph_def.library.function
        for node in (*meta.graph_def.node, *(n for f in library for n in f.node_def)):
            if _UNSAFE.search(node.op):
                raise _refusal(path, node, "reaches outside the model")
        _require_saving_apart(path, meta)


def _require_saving_apart(path: Path, meta: Any) -> None:
    """Nothing that is run while the model is loaded may save."""
    library = meta.graph_def.library.function
    savers = {f.signature.name for f in library if any(n.op in _SAVING for n in f.node_def)}
    of_objects = meta.object_graph_def.concrete_functions
    for function in library:
        for node in function.node_def:
            called = savers.intersection(_called(node))
            if called or (node.op in _SAVING and function.signature.name in of_objects):
                raise _refusal(path, node, "writes files when the model is loaded")
    nodes = {node.name: node for node in meta.graph_def.node}
    reached = set()
    pending = [name for name in _run_at_start(meta) if name in nodes]
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        node = nodes[name]
        if node.op in _SAVING or savers.intersection(_called(node)):
            raise _refusal(path, node, "writes files when the model is loaded")
        pending += [origin for x in node.input if (origin := _node_of(x)) in nodes]


def _run_at_start(meta: Any) -> Iterator[str]:
    """Nodes that loading runs: what initializes, and what restores the variables."""
    yield _node_of(meta.saver_def.restore_op_name)
    for key in _RUN_AT_START:
        yield from map(_node_of, meta.collection_def[key].node_list.value)
    for name, signature in meta.signature_def.items():
        if name.startswith("__saved_model"):
            yield from (_node_of(output.name) for output in signature.outputs.values())


def _called(node: Any) -> Iterable[str]:
    """Names of the functions that a node calls."""
    for attribute in node.attr.values():
        yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _refusal(path: Path, node: Any, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path.name} uses {node.op} (node {node.name!r}), which {why}: it is not loaded",
        hint=_HINT,
    )
