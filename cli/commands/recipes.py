"""`tinydeploy recipes`: the ways to compress."""

from __future__ import annotations

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
    for key, value in to_json(recipe).items():
        click.echo(f"{key} = {_toml(value)}")


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
