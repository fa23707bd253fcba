"""`select --explain`: every limit of every variant, what the samples say, and who beats it."""

from __future__ import annotations

from tinydeploy.cli.render import table
from tinydeploy.pipeline import evidence
from tinydeploy.pipeline.reasons import checks
from tinydeploy.pipeline.select import Pool
from tinydeploy.types import Candidate, Constraints, Evidence, Selection


def explain(pool: Pool, constraints: Constraints, selection: Selection) -> str:
    """A paragraph a candidate, in the order of the table."""
    reference = pool.reference_value(constraints)
    return "\n\n".join(
        _one(index, c, pool, constraints, reference, selection)
        for index, c in enumerate(selection.candidates)
    )


def _one(
    index: int,
    c: Candidate,
    pool: Pool,
    constraints: Constraints,
    reference: float | None,
    selection: Selection,
) -> str:
    chosen = selection.chosen is not None and selection.chosen.name == c.name
    sufficient = c.name in selection.sufficient
    verdict = "SELECTED" if chosen else "sufficient" if sufficient else "rejected"
    lines = [f"{c.name} on {selection.board}: {verdict}"]
    judged = constraints.max_loss is not None and not c.blocked
    found = pool.evidence(index, constraints) if judged else None
    told = evidence.words(found, c.metric) if isinstance(found, Evidence) else found
    rows = [
        [check.name, check.value, check.limit, "no" if check.reason else "yes"]
        for check in checks(c, constraints, reference, pool.origins)
        if not c.blocked
    ]
    if judged and constraints.confidence is not None:
        # The first row is the metric's. What was observed does not decide, but what was shown.
        rows[0][2] += f", shown with {constraints.confidence * 100:g} % confidence"
        if not isinstance(found, Evidence) or found.proof != "sufficient":
            rows[0][3] = "no"
    if rows:
        lines.append(table(("limit on", "figure", "allowed", "holds"), rows, indent="  "))
    if judged:
        lines.append(f"  evidence: {told}")
        if isinstance(found, Evidence) and found.p_value is not None:
            lines.append(
                f"  of {found.samples:,} samples {found.lost:,} were lost and {found.gained:,} "
                f"gained (McNemar's exact test: p = {found.p_value:.2g})"
            )
    if not chosen and selection.reasons[c.name] != told:
        lines.append(f"  {selection.reasons[c.name]}")
    if sufficient:
        front = "on" if c.name in selection.pareto else "behind"
        lines.append(f"  {front} the Pareto front of metric, flash, RAM and instructions")
    return "\n".join(lines)
