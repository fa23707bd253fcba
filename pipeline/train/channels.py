"""Structured pruning: remove the channels that the loss needs least, and train on what is left."""

from __future__ import annotations

from pathlib import Path

from tinydeploy.pipeline.train.cut import cut
from tinydeploy.pipeline.train.importance import importance
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.layout import layout
from tinydeploy.pipeline.train.libraries import save
from tinydeploy.pipeline.train.removal import floors, least_important, require_removable
from tinydeploy.pipeline.train.tune import cosine, fit
from tinydeploy.pipeline.train.work import macs

ROUNDS = 4
"""Channels go in so many rounds of equal ratio, with an epoch of training after each."""


def run(job: Job) -> Path:
    """Cut to `macs` of the multiply-accumulates, by Taylor importance; `epochs` in all.

    Importance is judged anew in each round, since removing channels changes what the others are
    worth. Nothing random: an interrupted run cuts the same channels again and goes on training.
    """
    model, share = job.model, job.training.macs
    found, whole = layout(model), macs(model)
    least = floors(found)
    require_removable(found, share, least, whole)
    rounds = min(ROUNDS, job.training.epochs)
    for number in range(1, rounds + 1):
        found = layout(model)
        limit = whole * share ** (number / rounds)
        model = cut(model, least_important(found, importance(job, model, found), limit, least))
        job.report("remove channels", number, rounds, f"{macs(model) / whole:.2f} of the MACs left")
        if number < rounds:
            fit(job, model, f"after removal {number}", 1)
    epochs = job.training.epochs - rounds + 1
    fit(job, model, "fine-tune", epochs, learning_rate=cosine(job, model, epochs))
    path: Path = save(model, job.folder / "trained.keras")
    return path
