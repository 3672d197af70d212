"""Writes models of TensorFlow into a folder, sound ones and others: a process of its own, as
TensorFlow takes seconds to import and stays.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

os.environ.update(CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")

import keras
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

SIZE = (8, 12, 3)


def network(picture: object) -> object:
    hidden = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(picture)
    hidden = layers.BatchNormalization()(hidden)
    return layers.Dense(2, name="depth")(
        layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(hidden))
    )


def sound() -> None:
    """`plain` in each form; `named` has a dict of outputs, and takes two inputs."""
    keras.utils.set_random_seed(1)
    picture = keras.Input(SIZE, name="image")
    plain = keras.Model(picture, network(picture))
    plain.save("plain.keras")
    plain.save("plain.h5")
    plain.export("plain", verbose=False)
    keras.Sequential([keras.Input((3,), name="row"), layers.Dense(2)]).save("row.keras")
    other = keras.Input((4,), name="ids", dtype="int32")
    total = layers.Add(name="total")([network(picture), layers.Embedding(9, 2)(other)[:, 0]])
    both = keras.Model({"ids": other, "image": picture}, {"z": total, "a": picture[..., 0]})
    both.save("named.keras")
    both.export("named", verbose=False)
    probe = np.random.default_rng(5).random((1, *SIZE), np.float32)
    np.savez("answers.npz", image=probe, plain=plain(probe, training=False))


def foreign() -> None:
    """Keras files that hold code, or other layers than Keras' own."""

    @keras.saving.register_keras_serializable("mine")
    class Twice(layers.Layer):
        def call(self, x: object) -> object:
            return 2 * x

    def one_layer(layer: object, name: str) -> None:
        picture = keras.Input(SIZE, name="image")
        keras.Model(picture, layer(picture)).save(name)

    def touch(x: object) -> object:
        Path("stabbed").touch()
        return x

    for suffix in ("keras", "h5"):
        one_layer(Twice(), f"custom.{suffix}")
        one_layer(layers.Lambda(touch, name="stab"), f"lambda.{suffix}")
    Path("stabbed").unlink()
    one_layer(layers.TFSMLayer("plain", call_endpoint="serve"), "elsewhere.keras")
    words = keras.Input((1,), dtype="string")
    keras.Model(words, layers.StringLookup(vocabulary=["a"])(words)).save("words.keras")
    open_sizes = keras.Input((None, None, 3), name="image")
    keras.Model(open_sizes, layers.ReLU()(open_sizes)).save("open.keras")


def damaged() -> None:
    """HDF5 with what no weights are, and files that are cut short."""
    Path("pickle.h5").write_bytes(pickle.dumps({"w": 1}))
    keras.Model(a := keras.Input(SIZE), layers.Conv2D(1, 1)(a)).save_weights("only.weights.h5")
    for name in ("link", "objects", "attribute", "outside"):
        shutil.copy("plain.h5", f"{name}.h5")
    with h5py.File("link.h5", "a") as file:
        file["more"] = h5py.ExternalLink("/etc/other.h5", "/w")
    with h5py.File("objects.h5", "a") as file:
        file["more"] = np.void(pickle.dumps([1]))
    with h5py.File("attribute.h5", "a") as file:
        file.attrs["more"] = np.void(pickle.dumps([1]))
    with h5py.File("outside.h5", "a") as file:
        file.create_dataset("more", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    for name in ("plain.h5", "plain.keras"):
        content = Path(name).read_bytes()
        Path(f"cut-{name}").write_bytes(content[: len(content) // 2])


def saved_models() -> None:
    """SavedModels that do more than compute, or that miss something."""
    spec = [tf.TensorSpec((1, 4), tf.float32, "x")]

    def save(name: str, function: Callable[..., object], **signatures: str) -> None:
        module = tf.Module()
        module.w = tf.Variable(tf.ones(4))
        traced = tf.function(lambda x: {"y": function(x) * module.w}, input_signature=spec)
        module.run = traced
        concrete = traced.get_concrete_function()
        tf.saved_model.save(module, name, signatures=dict.fromkeys(signatures, concrete))

    save("default", tf.nn.relu, serving_default="", other="")
    save("one", tf.nn.relu, only="")
    save("two", tf.nn.relu, train="", predict="")
    save("none", tf.nn.relu)
    save("no-variables", tf.nn.relu, serving_default="")
    shutil.rmtree("no-variables/variables")
    save("python", lambda x: tf.py_function(lambda v: v, [x], tf.float32), serving_default="")

    def writes(x: object) -> object:
        with tf.control_dependencies([tf.io.write_file("written", "x")]):
            return tf.identity(x)

    save("writes", writes, serving_default="")

    def keeps(x: object) -> object:
        with tf.control_dependencies(
            [
                tf.raw_ops.SaveV2(
                    prefix="kept", tensor_names=["x"], shape_and_slices=[""], tensors=[x]
                )
            ]
        ):
            return tf.identity(x)

    save("keeps", keeps, serving_default="")
    save("unknown", lambda x: tf.math.lgamma(x), serving_default="")
    table = tf.Module()
    words = tf.lookup.KeyValueTensorInitializer(["a"], [1])
    table.table = tf.lookup.StaticHashTable(words, 0)
    table.run = tf.function(table.table.lookup, [tf.TensorSpec((1,), tf.string)])
    tf.saved_model.save(table, "table", signatures=table.run)

    def changed(name: str, change: Callable[[object], object]) -> None:
        shutil.copytree("default", name)
        model = SavedModel.FromString(Path(name, "saved_model.pb").read_bytes())
        change(model.meta_graphs[0])
        Path(name, "saved_model.pb").write_bytes(model.SerializeToString())

    changed("asset", lambda graph: graph.asset_file_def.add(filename="../../etc/passwd"))
    changed("old", lambda graph: graph.ClearField("object_graph_def"))
    changed("untagged", lambda graph: graph.meta_info_def.ClearField("tags"))
    shutil.copytree("default", "leads-out")
    index = Path("leads-out/variables/variables.index")
    index.unlink()
    index.symlink_to("/etc/passwd")
    shutil.copytree("default", "cut")
    Path("cut/saved_model.pb").write_bytes(Path("cut/saved_model.pb").read_bytes()[:500])


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    for write in (sound, foreign, damaged, saved_models):
        write()
