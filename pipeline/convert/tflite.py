"""`.tflite` sources: quantized ones pass as they are, float ones can still be compressed."""

from __future__ import annotations

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Graph
from tinydeploy.pipeline.checks import require_deployable, require_recipe
from tinydeploy.pipeline.convert.converted import Converted
from tinydeploy.pipeline.convert.litert import compress
from tinydeploy.pipeline.data import Dataset
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription, ModelSource, Recipe


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> Converted:
    """The model's own bytes if they are what `recipe` asks for; a float model compressed.

    Raises UnsupportedModelError for a model that cannot be read, and for a quantized one that is
    not what the recipe says; UsageError for calibration data that does not fit.
    """
    model = source.path.read_bytes()
    try:
        graph = read_graph(model)
        require_deployable(graph)
        if any(t.scales for t in graph.tensors):
            if why := _lacking(graph, recipe):
                raise UnsupportedModelError(
                    f"the recipe {recipe.name!r} {why}, and this model is quantized already",
                    hint="convert the float original, or use 'as-is'",
                )
            require_recipe(graph, recipe)
            return Converted(model)
        return compress(model, recipe, calibration, description, name=source.path.name)
    except UnsupportedModelError as error:
        if source.path.name in error.message:
            raise
        raise UnsupportedModelError(f"{source.path.name}: {error}", hint=error.hint) from error


def _lacking(graph: Graph, recipe: Recipe) -> str:
    """What a recipe asks for that a quantized model does not show and cannot be given, or ""."""
    if recipe.weights == "mixed":
        return "measures layers against the float model"
    if recipe.weights == "int4" and not any(t.dtype == "int4" for t in graph.tensors):
        return "makes int4 weights"
    if recipe.granularity == "tensor" and any(len(t.scales) > 1 for t in graph.tensors):
        return "gives weights one scale a tensor"
    if recipe.ranges != "min-max":
        return f"finds ranges by {recipe.ranges}"
    return ""
