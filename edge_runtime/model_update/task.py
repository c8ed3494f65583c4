"""Whether a new model file is for the task of the running one."""

from __future__ import annotations

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.results import words_of


def read_spec(file: ModelFile) -> ModelSpec:
    """Returns the metadata of a new model.

    Raises:
        MetadataError: There is none, or it has no golden vectors.
    """
    spec = ModelSpec.from_document(file.document) if file.document else None
    if spec is None or spec.golden is None:
        raise MetadataError(
            f"expected a model with labels and golden vectors inside, got {file.name},"
            " which has none: export it with  python -m export"
        )
    return spec


def check_same_task(new: ModelSpec, old: ModelSpec, name: str) -> None:
    """Raises ``ModelError`` unless labels, words and crop margin are the running one's.

    Tracked faces keep probabilities and crops from before the update, and programs read
    documents whose keys follow the words.
    """
    if new.labels != old.labels:
        added = sorted(set(new.labels) - set(old.labels))
        missing = sorted(set(old.labels) - set(new.labels))
        differences = [f"it adds {', '.join(added)}"] if added else []
        differences += [f"it lacks {', '.join(missing)}"] if missing else []
        raise ModelError(
            f"expected the running model's labels, got others in {name}:"
            f" {' and '.join(differences) or 'the same in another order'};"
            " stop the service and start it with that model"
        )
    if words_of(new) != words_of(old):
        raise ModelError(
            f"expected a model of {' and '.join(words_of(old))}, as the running one is,"
            f" got one of {' and '.join(words_of(new))} in {name}: stop the service and"
            " start it with that model"
        )
    if abs(new.crop_margin_frac - old.crop_margin_frac) > 1e-6:
        raise ModelError(
            f"expected the running model's crop margin {old.crop_margin_frac:g}, got"
            f" {new.crop_margin_frac:g} in {name}: stop the service and start it with"
            " that model"
        )
