"""What happened on this machine, for a server: told now, or kept in the outbox until it answers.

That a board was flashed is true whatever happens to a server in the meantime, so it is delivered
later, with its own time. A decision is not: see `lifecycle`.
"""

from __future__ import annotations

from tinydeploy.registry import history
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.queueing import PENDING, QueueingRegistry


class QueueingLifecycle(Lifecycle):
    """The life of versions on a server."""

    def __init__(self, registry: QueueingRegistry) -> None:
        super().__init__(registry)
        self.queue = registry

    def flashed(
        self,
        name: str,
        board: str,
        model_sha256: str,
        build_id: str,
        note: str,
        at: str = "",
        by: str = "",
    ) -> str:
        """As `Lifecycle.flashed`; "pending" if it waits in the outbox."""
        values = {
            "board": board,
            "model_sha256": model_sha256,
            "build_id": build_id,
            "note": note,
            "at": at or history.now(),
            "by": by or history.who(),
        }
        said: str = self.queue.now_or_later(
            lambda: super(QueueingLifecycle, self).flashed(name, **values),
            PENDING,
            "flashed",
            name,
            values,
            {},
        )
        return said

    def deployed(self, name: str, version: str, deployment: str, board: str) -> None:
        """As `Lifecycle.deployed`, or later."""
        values = {"version": version, "deployment": deployment, "board": board}
        self.queue.now_or_later(
            lambda: super(QueueingLifecycle, self).deployed(name, **values),
            None,
            "deployed",
            name,
            values,
            {},
        )

    def undeployed(self, name: str, deployment: str) -> None:
        """As `Lifecycle.undeployed`, or later."""
        self.queue.now_or_later(
            lambda: super(QueueingLifecycle, self).undeployed(name, deployment),
            None,
            "undeployed",
            name,
            {"deployment": deployment},
            {},
        )
