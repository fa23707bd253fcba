"""`tinydeploy verify`: re-hash what is registered, and find a changed byte."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.errors import RegistryError


@click.command()
@click.argument("target", metavar="TARGET")
@options.REQUIRE_SIGNATURE
@options.REGISTRY
@options.JSON
def command(target: str, require_signature: bool, registry: Path | str, as_json: bool) -> None:
    """Re-hash every file of TARGET: NAME, NAME@ALIAS, NAME/VERSION, or a bundle (.zip).

    Models, evaluations, firmware, measurements, manifests and signatures are compared with what
    was registered. Exit code 7 names the changed file.
    """
    from tinydeploy.cli import release

    found = release.check(target, registry, release.required(require_signature))
    if as_json:
        print_json(found)
    else:
        rows = [
            (c.version, c.board or c.part, c.files, c.bytes, c.signature, _said(c)) for c in found
        ]
        click.echo(table(("version", "what", "files", "bytes", "signature", "result"), rows))
    if bad := [c for c in found if c.problems]:
        first = bad[0].problems[0]
        count = sum(len(c.problems) for c in bad)
        raise RegistryError(
            f"{target}: {first.file} {first.reason}"
            + (f" ({count - 1} more problems)" if count > 1 else ""),
            hint="get the bundle again from where it came"
            if target.endswith(release.BUNDLE)
            else f"remove {bad[0].folder}, then import or deploy it again",
        )


def _said(checked: object) -> str:
    problems = getattr(checked, "problems", ())
    return "; ".join(f"{p.file} {p.reason}" for p in problems) or "unchanged"
