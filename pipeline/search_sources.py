"""Where the variants of a search come from: sources, trained or not, and nets of supernets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinydeploy.errors import UsageError
from tinydeploy.pipeline.search_training import UNTRAINED, short_name
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.supernet import SUFFIX, Net, nets_of
from tinydeploy.pipeline.supernet.space import CHOICES as OF_NETS
from tinydeploy.pipeline.train.uniform import uniform
from tinydeploy.store import sha256_json
from tinydeploy.types import ModelSource, Training, to_json

CHOICES = (*OF_NETS, "trained")
"""Settings that say, with `source`, which origin it is."""


@dataclass(frozen=True)
class Origin:
    """A source, what one training makes of it, or one net of a supernet; made when it is needed.

    `settings` tell it from all others: its `source`, of a net the choices as well, and of a source
    that can be trained how it is `trained`.
    """

    name: str
    path: Path
    sha256: str
    settings: Mapping[str, str]
    net: Net | None = None
    loaded: ModelSource | None = None
    training: Training | None = None

    @property
    def source_name(self) -> str:
        """The name of `source`, which is not made for it."""
        return self.loaded.name if self.loaded else self.name

    @cached_property
    def source(self) -> ModelSource:
        """What recipes convert."""
        if self.net is not None:
            return self.net.source()
        if self.loaded is None:
            raise UsageError(f"{self.name} has no source")
        return self.loaded

    @cached_property
    def stand_in(self) -> ModelSource:
        """What says how large its variants are, without any training.

        The source itself, or what `uniform` makes of it for a training that narrows it. Raises
        UnsupportedModelError if it cannot be narrowed so far.
        """
        if self.training is None or self.training.macs == 1:
            return self.source
        return uniform(self.source, self.training.macs)

    def no_larger(self, other: Origin) -> bool:
        """Whether it is a net that needs no more memory than another one of its supernet."""
        mine, theirs = self.net, other.net
        return (
            mine is not None
            and theirs is not None
            and mine.sha256 == theirs.sha256
            and mine.choice.within(theirs.choice)
        )


def origins_of(
    paths: Sequence[Path], trusted: bool, trainings: Mapping[str, Training] | None = None
) -> list[Origin]:
    """All origins; the nets of a supernet those with fewest multiply-accumulates first.

    Each Keras source is one as it is, and one more for each of the `trainings`.
    Raises UsageError for two of the same name.
    """
    found: list[Origin] = []
    for path in paths:
        if path.suffix == SUFFIX:
            found += [_of_net(net) for net in nets_of(path)]
        else:
            found += _of_source(load_source(path, trusted=trusted), trainings or {})
    names = [o.name for o in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two sources are called {name!r}", hint="variants are named after their files"
            )
    return found


def _of_source(source: ModelSource, trainings: Mapping[str, Training]) -> list[Origin]:
    settings = {"source": source.name}
    if source.format != "keras" or not trainings:
        return [Origin(source.name, source.path, source.sha256, settings, loaded=source)]
    return [
        Origin(
            source.name + (f"-{short_name(trained)}" if training else ""),
            source.path,
            source.sha256 + (f"-{sha256_json(to_json(training))}" if training else ""),
            {**settings, "trained": trained},
            loaded=source,
            training=training,
        )
        for trained, training in {UNTRAINED: None, **trainings}.items()
    ]


def _of_net(net: Net) -> Origin:
    values = {what: f"{getattr(net.choice, what):g}" for what in OF_NETS}
    settings = {"source": net.supernet.stem, **values}
    return Origin(net.name, net.supernet, f"{net.sha256}-{net.choice.name}", settings, net)


def parameters(origins: Sequence[Origin]) -> dict[str, dict[str, tuple[str, ...]]]:
    """For each source, the choices that there are with the values that origins have."""
    found: dict[str, dict[str, list[str]]] = {}
    for origin in origins:
        values = found.setdefault(origin.settings["source"], {})
        for key in CHOICES:
            if key in origin.settings:
                known = values.setdefault(key, [])
                if origin.settings[key] not in known:
                    known.append(origin.settings[key])
    return {
        source: {key: tuple(sorted(each)) for key, each in values.items()}
        for source, values in found.items()
    }
