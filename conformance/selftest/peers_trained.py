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
from reference.tokenizer import tokenize

SIDE = 320  # pixels that U2-Net sees
_OPSET, _IR = 17, 8
_END_OF_TEXT, _VOCABULARY, _WIDTH = 49407, 49408, 8

# The direction of the sum of the tokens up to and including the first end-of-text token.
_READ_TEXT = """
    ids = Gather <axis = 0> (text_input, zero)
    is_end = Equal (ids, end)
    ended = Cast <to = 1> (is_end)
    so_far = CumSum (ended, axis)
    before = Sub (so_far, ended)
    read = Less (before, half)
    live = Cast <to = 1> (read)
    rows = Unsqueeze (live, leading)
    tokens = Gather <axis = 0> (table, ids)
    summed = MatMul (rows, tokens)
    length = ReduceL2 <axes = [2], keepdims = 1> (summed)
    text = Div (summed, length)
""".strip("\n")
_OUTSIDE_EMPTY = """
    peak = ReduceMax <axes = [1], keepdims = 1> (image_input)
    shown = Greater (peak, nothing)
    content = Cast <to = 1> (shown)
    inside = Mul (mask, content)
    pred_mask = Squeeze (inside, both)
""".strip("\n")

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

_BEFORE_SELFIE = """
<ir_version: 8, opset_import: ["": 17]>
prepare (float[1,3,1024,1024] image_input) => (float[1,3,256,256] net_input) {
    small = Resize <mode = "linear"> (image_input, , , small_size)
    net_input = Div (small, white)
}
"""

# A network of one class knows no words: the text says which side of the object's edge is asked
# for, and how sure the network has to be.
_AFTER = f"""
<ir_version: 8, opset_import: ["": 17]>
answer (float[1,1,h,w] object, float[1,3,1024,1024] image_input, int32[2,1,77] text_input)
    => (float[1024,1024] pred_mask) {{
{_READ_TEXT}
    heads = MatMul (text, to_choice)
    side, doubt = Split <axis = 2> (heads)
    complement = Greater (side, nothing)
    probability = Resize <mode = "linear"> (object, , , large_size)
    other = Sub (one, probability)
    asked = Where (complement, other, probability)
    level = Sigmoid (doubt)
    chosen = Greater (asked, level)
    mask = Cast <to = 1> (chosen)
{_OUTSIDE_EMPTY}
}}
"""

_BEFORE_DEEPLAB = """
<ir_version: 8, opset_import: ["": 17]>
prepare (float[1,3,1024,1024] image_input) => (float[1,3,513,513] net_input) {
    small = Resize <mode = "linear", coordinate_transformation_mode = "align_corners">
        (image_input, , , small_size)
    twice = Div (small, half_range)
    net_input = Sub (twice, one)
}
"""

# The text asks for some of the classes; a pixel is in the mask where these are the likelier.
_AFTER_DEEPLAB = f"""
<ir_version: 8, opset_import: ["": 17]>
answer (float[1,21,65,65] logits, float[1,3,1024,1024] image_input, int32[2,1,77] text_input)
    => (float[1024,1024] pred_mask) {{
{_READ_TEXT}
    votes = Mul (text, scale)
    asked = Sigmoid (votes)
    column = Reshape (asked, classes)
    likely = Softmax <axis = 1> (logits)
    share = Mul (likely, column)
    total = ReduceSum <keepdims = 1> (share, channels)
    large = Resize <mode = "linear", coordinate_transformation_mode = "align_corners">
        (total, , , large_size)
    chosen = Greater (large, half)
    mask = Cast <to = 1> (chosen)
{_OUTSIDE_EMPTY}
}}
"""

# The words for the 21 classes of Pascal VOC, in the network's order; each is one token.
_WORDS = """
background airplane bicycle bird boat bottle bus car cat/kitten chair cow table dog/puppy horse
motorbike person/man/woman/astronaut plant sheep sofa train monitor
"""
_CLASSES = [words.split("/") for words in _WORDS.split()]
# The votes of a word for its class and against the others, the spread of those of a word that names
# none, and the logit of a text with all its votes for one class.
_FOR, _AGAINST, _OTHER_WORDS, _CERTAINTY = 40, -4, 0.1, 16


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
    return _joined(before, net, _of_one_class())


def selfie_segmentation(file: Path) -> ModelProto:
    """MediaPipe's selfie segmentation answers with the person or with all else."""
    before = parsed(
        _BEFORE_SELFIE,
        white=np.float32(255),
        small_size=np.array([1, 3, 256, 256]),
    )
    return _joined(before, onnx.load(file), _of_one_class())


def deeplab_segmentation(file: Path) -> ModelProto:
    """DeepLabV3 answers with the pixels of the classes that the text names."""
    before = parsed(
        _BEFORE_DEEPLAB,
        one=np.float32(1),
        half_range=np.float32(127.5),
        small_size=np.array([1, 3, 513, 513]),
    )
    after = parsed(
        _AFTER_DEEPLAB,
        zero=np.int64(0),
        half=np.float32(0.5),
        nothing=np.float32(0),
        end=np.int32(_END_OF_TEXT),
        axis=np.int64(1),
        leading=np.array([1]),
        both=np.array([0, 1]),
        table=_votes(),
        scale=np.float32(_CERTAINTY),
        classes=np.array([1, 21, 1, 1]),
        channels=np.array([1]),
        large_size=np.array([1, 1, 1024, 1024]),
    )
    return _joined(before, onnx.load(file), after)


def _of_one_class() -> ModelProto:
    """From where a network sees its one class to the mask that the text asks for."""
    return parsed(
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


def _votes() -> np.ndarray:
    """What each token says for and against each class; a token that names none, next to nothing."""
    table = _OTHER_WORDS * weights("votes", _VOCABULARY, len(_CLASSES))
    for index, words in enumerate(_CLASSES):
        for word in words:
            token, end = tokenize(word).ids[1:3]
            assert end == _END_OF_TEXT, f"{word} is one token"
            table[token] = _AGAINST
            table[token, index] = _FOR
    return table


def _joined(before: ModelProto, net: ModelProto, after: ModelProto) -> ModelProto:
    """The three in a row; the first output of `net` is the first input of `after`."""
    net = onnx.compose.add_prefix(net, "net/")
    before = onnx.compose.add_prefix(before, "before/", rename_inputs=False)
    source, answer = net.graph.input[0].name, net.graph.output[0].name
    joined = onnx.compose.merge_models(before, net, [(before.graph.output[0].name, source)])
    after = onnx.compose.add_prefix(after, "after/", rename_outputs=False)
    model = onnx.compose.merge_models(joined, after, [(answer, after.graph.input[0].name)])
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
