"""What a TensorFlow model may hold: nothing that runs code of its own, or reaches beyond its files.

Only the child process imports it, ahead of anything that loads the model.
"""

import inspect
import json
import os
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from reference.archive import unpack
from reference.errors import SubmissionError

EXPORT = "model.export(FOLDER) where its code is, and give FOLDER"
_COPY = "save or copy it again, whole"
_ALONE = "save the model again, so that its folder has all that it needs"
# Layers whose work is in no file of Keras, or is code.
_FOREIGN = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}
_TABLES = {"IntegerLookup", "StringLookup", "TextVectorization"}
# What Keras' files call values that JSON does not have.
_VALUES = {"keras_tensor", "tensor", "numpy", "slice", "tuple", "ellipsis", "bytes", "complex"}
# Operators that run Python, or read and write files and other processes.
_REACHES_OUT = {
    *("CollectiveReduceV2", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "EagerPyFunc"),
    *("ImmutableConst", "MatchingFiles", "PrintV2", "PyFunc", "PyFuncStateless", "ReadFile"),
    *(
        "RemoteCall",
        "Save",
        "SaveSlices",
        "WriteFile",
        "WholeFileReaderV2",
        "FixedLengthRecordReaderV2",
    ),
}
# What only the part that loads and saves the variables may do.
_SAVES = {"MergeV2Checkpoints", "SaveV2"}


def check_keras(path: Path, scratch: Path) -> None:
    """Raises SubmissionError for a `.keras` file that is not data alone."""
    folder = unpack(path, scratch / "keras", path.name)
    config, weights = folder / "config.json", folder / "model.weights.h5"
    if not config.is_file() or not weights.is_file():
        missing = weights if config.is_file() else config
        raise SubmissionError(f"{path.name} holds no {missing.name}", "save it with model.save")
    check_config(path.name, config.read_text("utf-8"))
    check_h5(weights, f"{weights.name} of {path.name}")


def check_keras_h5(path: Path) -> None:
    """Raises SubmissionError for an `.h5` file that is not a model, or not data alone."""
    config = check_h5(path, path.name)
    if config is None:
        raise SubmissionError(
            f"{path.name} holds weights and no model",
            f"load them into your model, then {EXPORT}",
        )
    check_config(path.name, config)


def check_h5(path: Path, name: str) -> str | None:
    """The model's configuration in an HDF5 file, None where it has none.

    Raises SubmissionError for links to other files, and for what is neither numbers nor names.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_group(file, name)
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError) as error:
        raise SubmissionError(f"{name} is damaged ({error})", _COPY) from None
    return config.decode() if isinstance(config, bytes) else config


def _check_group(group: Any, name: str) -> None:
    import h5py

    _check_attributes(group, name)
    for key in group:
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            to = getattr(link, "filename", "") or link.path
            raise SubmissionError(f"{name} holds a link, {key!r} to {to}", _ALONE)
        item = group[key]
        if isinstance(item, h5py.Group):
            _check_group(item, name)
            continue
        _check_attributes(item, name)
        if item.external or item.is_virtual:
            raise SubmissionError(f"{name} has the numbers of {item.name} in other files", _ALONE)
        if item.dtype.kind not in "fiub":
            raise _no_numbers(name, item.name)


def _check_attributes(item: Any, name: str) -> None:
    for key in item.attrs:
        if item.attrs.get_id(key).dtype.kind not in "fiubSO":
            raise _no_numbers(name, f"{item.name}, attribute {key!r}")


def _no_numbers(name: str, where: str) -> SubmissionError:
    return SubmissionError(
        f"{name} holds objects and not numbers in {where}: a pickle, which could run any code",
        "save the model with model.save('my.keras')",
    )


def check_config(name: str, text: str) -> None:
    """Raises SubmissionError for a configuration with anything but layers of Keras itself."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise SubmissionError(
            f"{name} is damaged: its configuration is no JSON ({error})", _COPY
        ) from None
    known = _known()
    for each in _objects(config):
        kind, module = str(each["class_name"]), str(each.get("module") or "keras")
        own = each.get("config")
        label = own.get("name", "") if isinstance(own, dict) else ""
        layer = f"the {kind} layer {label!r}" if label else f"a {kind}"
        if kind in ("Lambda", "__lambda__"):
            code = layer if label else "code in its configuration"
            raise SubmissionError(
                f"{name} holds {code}, which runs when it is opened",
                f"write it with keras.ops or as a layer of your own, then {EXPORT}",
            )
        if kind in _FOREIGN:
            raise SubmissionError(
                f"{name} holds {layer}, whose work is in no file of Keras", f"call {EXPORT}"
            )
        if kind in _TABLES:
            raise SubmissionError(
                f"{name} holds {layer}, which no NPU runs",
                "leave the words to what feeds the model",
            )
        if kind.strip("_") in _VALUES and kind.startswith("__"):
            continue
        if kind == "function":
            kind, module = str(own), module.replace("builtins", "keras")
        if kind not in known or module.split(".")[0] != "keras":
            raise SubmissionError(
                f"{name} holds {layer}, which is not Keras' own: its code is not in the file",
                f"call {EXPORT}",
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever a configuration would have made, but for what only training needs."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for key, inner in value.items():
            if key != "compile_config":
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _known() -> set[str]:
    """The names of Keras' own layers, initialisers and the like, and operations."""
    import keras

    own = ("activations", "constraints", "dtype_policies", "initializers", "layers", "quantizers")
    rooms = [keras, keras.ops, *(getattr(keras, room) for room in (*own, "regularizers"))]
    found = {name for room in rooms for name, v in vars(room).items() if callable(v)}
    operations = import_module("keras.src.ops")
    for module in pkgutil.iter_modules(operations.__path__, "keras.src.ops."):
        if not module.name.endswith("_test"):
            classes = inspect.getmembers(import_module(module.name), inspect.isclass)
            found.update(name for name, kind in classes if kind.__module__ == module.name)
    return {*found, "Functional"}


def check_saved_model(folder: Path) -> None:
    """Raises SubmissionError for a SavedModel that needs what is not in its folder, or that does
    more than compute.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    name = folder.name
    _check_places(folder)
    try:
        model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise SubmissionError(f"{name}/saved_model.pb is damaged ({error})", _COPY) from None
    graphs = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise SubmissionError(
            f"{name} holds no graph to serve", "save it with model.export or tf.saved_model.save"
        )
    for graph in graphs:
        _check_graph(folder, graph)


def _check_places(folder: Path) -> None:
    inside = folder.resolve()
    for place, folders, files in os.walk(folder):
        for each in (*folders, *files):
            path = Path(place, each)
            if not path.resolve().is_relative_to(inside):
                short = path.relative_to(folder)
                raise SubmissionError(
                    f"{folder.name} holds {short}, a link that leads outside", _ALONE
                )


def _check_graph(folder: Path, graph: Any) -> None:
    name = folder.name
    for asset in graph.asset_file_def:
        place = PurePosixPath(asset.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts:
            raise SubmissionError(
                f"{name} has the asset {asset.filename}, which is outside", _ALONE
            )
    objects = graph.object_graph_def.nodes
    if not objects:
        raise SubmissionError(
            f"{name} is a SavedModel of TensorFlow 1, which runs operators when it is opened",
            "open it where you trust it, and write it with tf.saved_model.save of TensorFlow 2",
        )
    if any(each.WhichOneof("kind") in ("resource", "asset") for each in objects):
        raise SubmissionError(
            f"{name} holds lookup tables or other resources, which no NPU runs",
            "leave the words to what feeds the model",
        )
    _refuse(name, {node.op for node in _nodes(graph.graph_def)} & _REACHES_OUT)
    variables = any(each.WhichOneof("kind") == "variable" for each in objects)
    if variables and not (folder / "variables" / "variables.index").is_file():
        raise SubmissionError(
            f"{name} has no variables/variables.index, and the weights are in it", _COPY
        )


def check_function(name: str, graph: Any) -> None:
    """Raises SubmissionError where the GraphDef of what a model computes would write a file."""
    _refuse(name, {node.op for node in _nodes(graph)} & (_REACHES_OUT | _SAVES))


def _nodes(graph: Any) -> list[Any]:
    return [*graph.node, *(node for each in graph.library.function for node in each.node_def)]


def _refuse(name: str, reaching: set[str]) -> None:
    if reaching:
        raise SubmissionError(
            f"{name} runs {', '.join(sorted(reaching))}, which reaches beyond the model",
            "export it without",
        )
