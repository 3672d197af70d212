"""Conforming models of many shapes and origins, which the suite may not reject.

Each is written to its track's contract, with random weights seeded by name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx
import torch
from torch import nn

from conformance.selftest import peers_clips as clips
from conformance.selftest import peers_onnx as by_hand
from conformance.selftest import peers_torch as plain
from conformance.selftest import peers_transformers as library
from conformance.selftest.peers_files import (
    Maker,
    changed,
    exported,
    function_opset,
    ir,
    network,
    quantised,
    weights_as_inputs,
    weights_as_nodes,
)
from reference.classification.model import Classifier
from reference.export import example_inputs
from reference.pidnet.model import CityscapesModel
from reference.registry import all_tracks
from reference.tracks import Part, Track

Save = Callable[[Part, Path], Path]


@dataclass(frozen=True)
class Peer:
    """One submission: what makes each part's file, and the advice that it rightly gets.

    A `slow` one takes as long as ten others.
    """

    name: str
    track: str
    parts: dict[str, Save]
    warns: frozenset[str] = field(default_factory=frozenset)
    slow: bool = False

    def specs(self, folder: Path) -> list[str]:
        """Writes the files; what `--submission` takes."""
        contract: Track = all_tracks()[self.track]
        return [
            f"{name}={save(contract.part(name), folder / name)}"
            for name, save in self.parts.items()
        ]


def one_file(make: Maker) -> Save:
    def save(part: Part, stem: Path) -> Path:
        path = stem.with_suffix(".onnx")
        onnx.save(make(part), path)
        return path

    return save


def weights_beside(make: Maker) -> Save:
    """A folder with the model and a file of its weights."""

    def save(part: Part, stem: Path) -> Path:
        stem.mkdir()
        onnx.save(
            make(part),
            stem / "model.onnx",
            save_as_external_data=True,
            location="model.data",
            convert_attribute=True,
        )
        return stem

    return save


def torchscript(build: Callable[[], nn.Module]) -> Save:
    def save(part: Part, stem: Path) -> Path:
        path = stem.with_suffix(".pt")
        torch.jit.trace(network(build), example_inputs(part)).save(path)
        return path

    return save


def program(build: Callable[[], nn.Module]) -> Save:
    def save(part: Part, stem: Path) -> Path:
        path = stem.with_suffix(".pt2")
        torch.export.save(torch.export.export(network(build), example_inputs(part)), path)
        return path

    return save


def _model(name: str, track: str, save: Save) -> Peer:
    return Peer(name, track, {"model": save})


def _segmentation(name: str, save: Save) -> Peer:
    return _model(name, "segmentation-2025", save)


def _depth(name: str, save: Save) -> Peer:
    return _model(name, "depth-2025", save)


def _classes(name: str, make: Maker) -> Peer:
    return _model(name, "classification-2025", one_file(make))


def _retrieval(
    name: str, image: Save, text: Save, track: str = "retrieval-2026", warns: str = ""
) -> Peer:
    return Peer(name, track, {"image": image, "text": text}, frozenset(warns.split()))


_UNET_8 = quantised(exported(plain.SegmentationUNet, 13), "segmentation-2025", ["Conv"])
_DEPTH_8 = quantised(
    exported(partial(plain.DepthUNet, "min-max"), 18),
    "depth-2025",
    ["Conv", "Add", "Sub", "Div", "Concat", "Resize", "Tanh", "ReduceMin", "ReduceMax", "Clip"],
)
_MOBILE_8 = quantised(
    exported(Classifier, 17), "classification-2025", ["Conv", "Add", "Clip", "Gemm", "ReduceMean"]
)
_PIDNET_8 = quantised(
    exported(CityscapesModel, 17),
    "pidnet",
    ["Conv", "Add", "Mul", "Relu", "Sigmoid", "AveragePool", "Resize"],
    at=(256, 512),
)


def _half_depth() -> nn.Module:
    return plain.Half(plain.DepthUNet("min-max"))


def _unit_vit() -> nn.Module:
    return plain.Unit(plain.VitImage(32))


def _unit_gru() -> nn.Module:
    return plain.Unit(plain.GruText(32))


PEERS = (
    _segmentation("U-Net, ArgMax, opset 13", one_file(exported(plain.SegmentationUNet, 13))),
    _segmentation("U-Net, w8a8", one_file(_UNET_8)),
    Peer(
        "U-Net, TorchScript",
        "segmentation-2025",
        {"model": torchscript(plain.SegmentationUNet)},
        slow=True,
    ),
    _segmentation(
        "GRU query, Sigmoid and Where, dynamo, opset 20",
        one_file(exported(plain.SegmentationQuery, 20, dynamo=True)),
    ),
    Peer(
        "CLIPSeg, dynamo, opset 18",
        "segmentation-2025",
        {"model": one_file(exported(library.ClipSeg, 18, dynamo=True))},
        slow=True,
    ),
    _segmentation("SegFormer, opset 16", one_file(exported(library.SegFormer, 16))),
    _segmentation(
        "by hand, channels last, IR 7, weights listed as inputs",
        one_file(changed(by_hand.segmentation, weights_as_inputs)),
    ),
    _segmentation(
        "by hand, channels last, weights as Constant nodes, an empty one among them",
        one_file(changed(by_hand.segmentation, weights_as_nodes)),
    ),
    _retrieval(
        "CLIP of another width, opset 17",
        one_file(exported(partial(library.ClipImage, 40), 17)),
        one_file(exported(partial(library.ClipText, 40), 17)),
    ),
    _retrieval(
        "ViT with MatMul patches, GRU of int64 ids, unit length, opset 15",
        one_file(exported(_unit_vit, 15)),
        one_file(exported(_unit_gru, 15, int64=True)),
    ),
    _retrieval(
        "ConvNet in w8a8, mean of zero-padded tokens, dynamo, opset 20",
        one_file(
            quantised(
                exported(partial(plain.ConvImage, 24, 1), 20, dynamo=True),
                "retrieval-2026",
                ["Conv", "Gemm", "MatMul", "AveragePool"],
            )
        ),
        one_file(exported(partial(plain.MeanText, 24), 20, dynamo=True)),
    ),
    _retrieval(
        "by hand, contrib 16-bit quantisation, IR 10, and domain ai.onnx, IR 9",
        one_file(by_hand.image),
        one_file(by_hand.text),
        warns="COM-5",
    ),
    Peer(
        "exported programs",
        "retrieval-2026",
        {
            "image": program(partial(plain.ConvImage, 24, 1)),
            "text": program(partial(plain.MeanText, 24)),
        },
        slow=True,
    ),
    _retrieval(
        "the draft: ConvNeXt and a GRU, dynamo, opset 18, weights beside",
        weights_beside(exported(partial(library.ConvNextImage, 64), 18, dynamo=True)),
        weights_beside(exported(partial(plain.GruText, 64, pair=True), 18, dynamo=True)),
        "retrieval-2026-draft",
    ),
    _depth("GLPN, sigmoid, opset 14", one_file(exported(library.Glpn, 14))),
    _depth("DPT, min-max, dynamo, opset 20", one_file(exported(library.Dpt, 20, dynamo=True))),
    _depth("U-Net, clamp, opset 18", one_file(exported(partial(plain.DepthUNet, "clamp"), 18))),
    _depth("U-Net, sigmoid, opset 19", one_file(exported(partial(plain.DepthUNet, "sigmoid"), 19))),
    _depth("U-Net, w8a8 to the last operator", one_file(_DEPTH_8)),
    _depth("U-Net in float16 between casts", one_file(exported(_half_depth, 17))),
    _depth("by hand, local functions, opset 18", one_file(by_hand.depth)),
    _depth(
        "by hand, local functions of an older opset",
        one_file(changed(by_hand.depth, function_opset(17))),
    ),
    _classes("MobileNetV2, batch norms apart, opset 13", exported(Classifier, 13, fold=False)),
    _classes("MobileNetV2 in w8a8", _MOBILE_8),
    _classes("ViT with MatMul patches, opset 15", exported(partial(plain.VitImage, 64), 15)),
    _classes(
        "small convolutions, dynamo, opset 20",
        exported(partial(plain.ConvImage, 64, 1), 20, dynamo=True),
    ),
    _model(
        "classes in TorchScript",
        "classification-2025",
        torchscript(partial(plain.ConvImage, 64, 1)),
    ),
    Peer(
        "PIDNet-S, batch norms apart, opset 13",
        "pidnet",
        {"model": one_file(exported(CityscapesModel, 13, fold=False))},
        slow=True,
    ),
    Peer(
        "PIDNet-S, dynamo, weights as Constant nodes in a file beside",
        "pidnet",
        {
            "model": weights_beside(
                changed(exported(CityscapesModel, 18, dynamo=True), weights_as_nodes, ir(10))
            )
        },
        slow=True,
    ),
    Peer("PIDNet-S, w8a8", "pidnet", {"model": one_file(_PIDNET_8)}, slow=True),
    _model("each frame for itself", "action-2026", one_file(exported(clips.Framewise, 17))),
    _model("tubelets and attention", "action-2026", one_file(exported(clips.Tubelets, 15))),
    _model("frames as channels", "action-2026-ncthw", torchscript(clips.Stacked)),
    _model("small 3-D convolutions", "action-2026-ncthw", program(clips.Small3d)),
)
