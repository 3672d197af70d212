"""Networks with published weights, wrapped to a track's contract. The weights are fetched, see
`fetch.py`, and not kept here.
"""

from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import onnx.version_converter
from onnx import ModelProto

from conformance.selftest.models import weights
from conformance.selftest.peers_onnx import parsed

SIDE = 320  # pixels that U2-Net sees
_OPSET, _IR = 17, 8
_END_OF_TEXT, _VOCABULARY, _WIDTH = 49407, 49408, 8

# The network was trained on pixels divided by the brightest one, then ImageNet's mean and std.
_BEFORE = """
<ir_version: 8, opset_import: ["": 17]>
prepare (float[1,3,1024,1024] image_input) => (float[1,3,320,320] net_input) {
    small = Resize <mode = "linear"> (image_input, , , small_size)
    brightest = ReduceMax <keepdims = 1> (small)
    lit = Max (brightest, one)
    unit = Div (small, lit)
    centred = Sub (unit, mean)
    net_input = Div (centred, std)
}
"""

# A salient-object network knows no words: the text says which side of the object's edge is asked
# for, and how sure the network has to be.
_AFTER = """
<ir_version: 8, opset_import: ["": 17]>
answer (float[1,1,320,320] salient, float[1,3,1024,1024] image_input, int32[2,1,77] text_input)
    => (float[1024,1024] pred_mask) {
    ids = Gather <axis = 0> (text_input, zero)
    is_end = Equal (ids, end)
    ended = Cast <to = 1> (is_end)
    before = CumSum <exclusive = 1> (ended, axis)
    read = Less (before, half)
    live = Cast <to = 1> (read)
    rows = Unsqueeze (live, leading)
    tokens = Gather <axis = 0> (table, ids)
    summed = MatMul (rows, tokens)
    length = ReduceL2 <axes = [2], keepdims = 1> (summed)
    text = Div (summed, length)
    heads = MatMul (text, to_choice)
    side, doubt = Split <axis = 2> (heads)
    complement = Greater (side, nothing)
    probability = Resize <mode = "linear"> (salient, , , large_size)
    other = Sub (one, probability)
    asked = Where (complement, other, probability)
    level = Sigmoid (doubt)
    chosen = Greater (asked, level)
    mask = Cast <to = 1> (chosen)
    peak = ReduceMax <axes = [1], keepdims = 1> (image_input)
    shown = Greater (peak, nothing)
    content = Cast <to = 1> (shown)
    inside = Mul (mask, content)
    pred_mask = Squeeze (inside, both)
}
"""


def u2netp_segmentation(file: Path) -> ModelProto:
    """U2-Net (small) answers with the salient object or with all else, as the text selects."""
    net = onnx.version_converter.convert_version(onnx.load(file), _OPSET)
    net.ir_version = _IR
    del net.graph.output[1:]
    _prune(net)
    before = parsed(
        _BEFORE,
        one=np.float32(1),
        mean=np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1),
        std=np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1),
        small_size=np.array([1, 3, SIDE, SIDE]),
    )
    after = parsed(
        _AFTER,
        zero=np.int64(0),
        one=np.float32(1),
        half=np.float32(0.5),
        nothing=np.float32(0),
        end=np.int32(_END_OF_TEXT),
        axis=np.int64(1),
        leading=np.array([1]),
        both=np.array([0, 1]),
        table=weights("table", _VOCABULARY, _WIDTH),
        to_choice=weights("to_choice", _WIDTH, 2),
        large_size=np.array([1, 1, 1024, 1024]),
    )
    net = onnx.compose.add_prefix(net, "net/")
    before = onnx.compose.add_prefix(before, "before/", rename_inputs=False)
    source, salient = net.graph.input[0].name, net.graph.output[0].name
    joined = onnx.compose.merge_models(before, net, [(before.graph.output[0].name, source)])
    after = onnx.compose.add_prefix(after, "after/", rename_outputs=False)
    model = onnx.compose.merge_models(joined, after, [(salient, "after/salient")])
    return _share_inputs(model)


def _prune(model: ModelProto) -> None:
    """Drops what only the removed outputs needed: the side maps of training."""
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    used = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    inputs = [value for value in model.graph.input if value.name in wanted]
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(used)
    model.graph.input.extend(inputs)


def _share_inputs(model: ModelProto) -> ModelProto:
    """Feeds the picture once and gives the inputs the contract's names."""
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {
                "after/image_input": "image_input",
                "after/text_input": "text_input",
            }.get(name, name)
    kept = [value for value in model.graph.input if value.name != "after/image_input"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for value in model.graph.input:
        value.name = value.name.removeprefix("after/")
    return model
