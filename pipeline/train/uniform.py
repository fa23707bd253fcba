"""The size of a net that is yet to be trained: the source narrowed by one factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.convert.quiet import quiet
from tinydeploy.store import cache_dir, sha256_file, sha256_json, sha256_tree
from tinydeploy.types import ModelSource


def uniform(source: ModelSource, share: float) -> ModelSource:
    """A Keras source with all layers narrowed to `share` of its multiply-accumulates, untrained.

    It has exactly the shape of the student that `distill` makes. `channels` and `slim` choose the
    width of each layer by what the loss says, which costs a training: of what they make this is an
    estimate, with as many multiply-accumulates. Which channels stay does not matter to the shape:
    all count alike. Kept in the cache folder.
    Raises UnsupportedModelError for a model that cannot be loaded, trained or narrowed so far.
    """
    from tinydeploy.pipeline.train.cut import cut
    from tinydeploy.pipeline.train.layout import layout
    from tinydeploy.pipeline.train.libraries import require_trainable, save
    from tinydeploy.pipeline.train.removal import narrowed, narrowest, require_removable
    from tinydeploy.pipeline.train.work import alive, macs

    code = sha256_tree(Path(__file__).parent, ("*.py",))
    key = sha256_json([source.sha256, share, code])[:32]
    name = f"{source.name}-uniform{100 * share:.0f}"
    folder = cache_dir() / "uniform" / key
    made = [p for p in folder.glob(f"{name}.*") if p.suffix in (".keras", ".h5")]
    if made:
        path = made[0]
    else:
        with quiet():
            model = load_model(source.path, trusted=source.trusted)
        require_trainable(model)
        found, whole = layout(model), macs(model)
        require_removable(found, share, narrowest(found), whole)
        alike = np.ones(len(alive(found, {})))
        narrow = cut(model, narrowed(found, alike, share * whole))
        folder.mkdir(parents=True, exist_ok=True)
        path = save(narrow, folder / f"{name}.keras")
    return ModelSource(path, "keras", sha256_file(path), name, trusted=source.trusted)
