"""`tinydeploy recipes`: the ways to compress."""

from __future__ import annotations

import json
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.types import to_json


@click.group()
def command() -> None:
    """The ways to compress a model: one TOML file each, and you can write your own."""


@command.command("list")
@options.JSON
def list_recipes(as_json: bool) -> None:
    """All recipes of the package."""
    from tinydeploy.pipeline.recipe import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    if as_json:
        print_json(recipes)
        return
    head = ("name", "weights", "activations", "description")
    rows = [(r.name, r.weights, r.activations, r.description) for r in recipes]
    click.echo(table(head, rows))


@command.command("show")
@click.argument("name")
@options.JSON
def show(name: str, as_json: bool) -> None:
    """One recipe, by its name or as a file: every setting, defaults included."""
    from tinydeploy.pipeline.recipe import load_recipe

    recipe = load_recipe(name)
    if as_json:
        print_json(recipe)
        return
    click.echo(_toml(to_json(recipe)))


def _toml(settings: dict[str, Any]) -> str:
    """Settings as a recipe's file has them, tables last; what is None is left out."""
    known = {k: v for k, v in settings.items() if v is not None}
    lines = [f"{k} = {_value(v)}" for k, v in known.items() if not isinstance(v, dict)]
    for name, table_ in known.items():
        if isinstance(table_, dict):
            lines += ["", f"[{name}]", _toml(table_)]
    return "\n".join(lines)


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value).lower()
