"""A bill of materials of a bundle: CycloneDX 1.6, JSON, the same bytes for the same bundle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from tinydeploy.errors import ToolMissingError

_NAMESPACE = uuid.UUID("6f6e6c79-7468-4520-9e61-6d6573706163")


def sbom(
    name: str, version: str, model: Mapping[str, Any], board: Mapping[str, Any], licence: str
) -> str:
    """What is in the bundle of a version on a board, from the lineage of its two manifests.

    The firmware is the main component; the model, its data sets, the kernels, the compiler and
    the packages that made it are the others, each with sha256 or version. `licence` is the SPDX
    id of the kernels. There is no time in it: a bundle has none.
    """
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.model.license import DisjunctiveLicense
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
    except ImportError as e:
        raise ToolMissingError(
            "a bill of materials needs the package cyclonedx-python-lib",
            hint="pip install 'tinydeploy[release]'",
        ) from e

    def hashes(sha256: str) -> list[Any]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []

    def component(kind: Any, ref: str, label: str, sha256: str = "", **more: Any) -> Any:
        ref = f"{ref}:{label}"  # what it is for is part of it: a model may be called as its source
        return Component(name=label, type=kind, bom_ref=ref, hashes=hashes(sha256), **more)

    engine = board["engine"]
    firmware = component(
        ComponentType.FIRMWARE,
        "firmware",
        f"{name}-{board['board']}",
        board["firmware_sha256"],
        version=version,
        properties=[
            Property(name="tinydeploy:build_id", value=board["build_id"]),
            Property(name="tinydeploy:engine", value=f"{engine['name']}, {engine['optimize']}"),
        ],
    )
    weights = component(
        ComponentType.MACHINE_LEARNING_MODEL, "model", name, model["model_sha256"], version=version
    )
    kernels = component(
        ComponentType.LIBRARY,
        "kernels",
        f"tinydeploy-{engine['name']}",
        engine["sha256"],
        version=board["tools"].get("tinydeploy"),
        licenses=[DisjunctiveLicense(id=licence)],
    )
    compiler_name, _, compiler_version = board["compiler"].partition(" ")
    compiler = component(
        ComponentType.APPLICATION,
        "compiler",
        compiler_name,
        version=compiler_version or None,
    )
    source = model["source"]
    trained = component(
        ComponentType.MACHINE_LEARNING_MODEL,
        "source",
        f"{source['name']} (source)",
        source["sha256"],
    )
    data = [
        component(ComponentType.DATA, "data", key, entry["sha256"])
        for key, entry in sorted(model.get("data", {}).items())
    ]
    tools = [
        component(ComponentType.APPLICATION, f"tool@{value}", key, version=value)
        for key, value in sorted({*model["tools"].items(), *board["tools"].items()})
    ]
    bom = Bom(
        components=[weights, trained, kernels, compiler, *data, *tools],
        serial_number=uuid.uuid5(_NAMESPACE, board["firmware_sha256"] + model["model_sha256"]),
    )
    bom.metadata.component = firmware
    bom.register_dependency(firmware, [weights, kernels, compiler])
    bom.register_dependency(weights, [trained, *data])
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    made = json.loads(outputter.output_as_string())
    made["metadata"].pop("timestamp")  # optional in the format, and it would differ each time
    return json.dumps(made, indent=2, sort_keys=True) + "\n"
