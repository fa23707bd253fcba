"""The one plug mechanism: a literal table of `name -> "module:object"`, plus entry points.

Built-ins stand in the tables below; other packages add to them with entry points of the group
`tinydeploy.<kind>`. Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from tinydeploy.errors import UsageError

TABLES: dict[str, dict[str, str]] = {
    "converter": {
        "keras": "tinydeploy.pipeline.convert.keras:convert",
        "onnx": "tinydeploy.pipeline.convert.onnx:convert",
        "savedmodel": "tinydeploy.pipeline.convert.savedmodel:convert",
        "tflite": "tinydeploy.pipeline.convert.tflite:convert",
        "torch": "tinydeploy.pipeline.convert.torch:convert",
    },
    "runner": {
        "native": "tinydeploy.devices.loopback:LoopbackRunner",
        "qemu": "tinydeploy.devices.emulator:QemuRunner",
        "renode": "tinydeploy.devices.renode:RenodeRunner",
    },
    "mlflow": {
        name: f"tinydeploy.cli.plugin.flavor:{name}"
        for name in ("save_model", "log_model", "load_model", "load_pyfunc")
    },
    "meter": {
        "ina": "tinydeploy.devices.meter.ina:connect",
        "joulescope": "tinydeploy.devices.meter.joulescope:connect",
        "lpm01a": "tinydeploy.devices.meter.lpm01a:connect",
        "otii": "tinydeploy.devices.meter.otii:connect",
        "ppk2": "tinydeploy.devices.meter.ppk2:connect",
        "scripted": "tinydeploy.devices.meter.scripted:connect",
    },
    "deployments": {
        name: f"tinydeploy.cli.plugin.deployments:{name}"
        for name in (
            "create",
            "update",
            "delete",
            "list_all",
            "get",
            "predict",
            "run_local",
            "target_help",
        )
    },
    "trainer": {
        "channels": "tinydeploy.pipeline.train.channels:run",
        "distill": "tinydeploy.pipeline.train.distill:run",
        "qat": "tinydeploy.pipeline.train.qat:run",
        "slim": "tinydeploy.pipeline.train.slim:run",
        "tune": "tinydeploy.pipeline.train.tune:run",
    },
    "interpreter": {
        "litert": "tinydeploy.pipeline.interpreters:LiteRt",
        "tflm": "tinydeploy.pipeline.interpreters:TfliteMicro",
    },
}


def names(kind: str) -> list[str]:
    """All names known for a kind, built-in and installed."""
    return sorted({*TABLES[kind], *(e.name for e in entry_points(group=f"tinydeploy.{kind}"))})


def load(kind: str, name: str) -> Any:
    """The object behind a name. Raises UsageError with the known names."""
    if target := TABLES[kind].get(name):
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    for entry in entry_points(group=f"tinydeploy.{kind}", name=name):
        return entry.load()
    raise UsageError(f"no {kind} is called {name!r}", hint=f"known: {', '.join(names(kind))}")
