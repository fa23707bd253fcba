"""What `deploy` and `search` are to do: a configuration file, with options laid over it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import UsageError

if TYPE_CHECKING:
    from tinydeploy.config import Config

DEFAULT_CONFIG = Path("tinydeploy.toml")


def settings_of(path: Path | None, given: dict[str, Any]) -> Config:
    """The configuration file with the options laid over it, or the options alone."""
    from tinydeploy.config import Config, DataConfig, LimitsConfig, default_registry, load_config
    from tinydeploy.names import as_name, require_name

    given = {k: v for k, v in given.items() if v not in (None, (), "")}
    limits = {k: given.pop(k) for k in LimitsConfig.__dataclass_fields__ if k in given}
    data = {k: given.pop(k) for k in DataConfig.__dataclass_fields__ if k in given}
    if path is None and DEFAULT_CONFIG.exists() and not given.get("sources"):
        path = DEFAULT_CONFIG
    if "name" in given:
        require_name("--name", given["name"])
    if path:
        base = load_config(path)
        return dataclasses.replace(
            base,
            data=dataclasses.replace(base.data, **data),
            limits=dataclasses.replace(base.limits, **limits),
            device_limits={
                k: dataclasses.replace(v, **limits)
                for k, v in base.device_limits.items()
                if k in given.get("devices", base.devices)
            },
            **given,
        )
    for key, option in (("sources", "MODEL"), ("devices", "--device")):
        if key not in given:
            raise UsageError(
                f"{option} is missing", hint="or write a tinydeploy.toml: see the README"
            )
    if "validation" not in data:
        raise UsageError(
            "labelled data are missing",
            hint="--validation FILE (search: --data FILE), an .npz with x and y",
        )
    given.setdefault("name", as_name(given["sources"][0].stem))
    given.setdefault("registry", default_registry(Path()))
    return Config(data=DataConfig(**data), limits=LimitsConfig(**limits), **given)
