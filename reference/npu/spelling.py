"""What exporters spell differently around a product or a Softmax, and the compiler takes as such.

The TorchScript exporter adds a bias from the left, which the compiler does not always take into the
product. torch's dynamo exporter writes attention with a mask of zeros, and a guard against NaN.
"""

import numpy as np
import onnx

from reference.npu.graph import Links, constants

_LARGEST = 1 << 22  # elements of a mask


def order_biases(model: onnx.ModelProto) -> int:
    """Adds each constant to its product from the right; how many came from the left."""
    graph = model.graph
    weights, links = {tensor.name for tensor in graph.initializer}, Links(graph)
    count = 0
    for node in graph.node:
        if node.op_type == "Add" and node.input[0] in weights:
            product = links.made_by.get(node.input[1])
            if product is not None and product.op_type == "MatMul":
                node.input[:] = [node.input[1], node.input[0]]
                count += 1
    return count


def drop_guards(model: onnx.ModelProto) -> int:
    """Removes zeros that are added before a Softmax, and 0 in place of NaN behind it.

    NaN comes from rows of the mask without a finite value; how many Softmax were changed.
    """
    graph = model.graph
    links, known = Links(graph), constants(graph, _LARGEST)
    count = 0
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        added = links.made_by.get(softmax.input[0])
        masked = added is not None and added.op_type == "Add"
        mask = next((known[n] for n in added.input if n in known), None) if added else None
        if masked and (mask is None or not np.isfinite(mask).any(axis=-1).all()):
            continue
        changed = _unguard(graph, softmax, links)
        if added is not None and masked and mask is not None and not mask.any() and mask.ndim == 4:
            softmax.input[0] = next(name for name in added.input if name not in known)
            changed = True
        count += changed
    return count


def _unguard(graph: onnx.GraphProto, softmax: onnx.NodeProto, links: Links) -> bool:
    """Lets what takes the guarded Softmax take it itself; whether it was guarded."""
    name = softmax.output[0]
    takers = {node.op_type: node for node in links.taken_by.get(name, [])}
    if {*takers} != {"IsNaN", "Where"} or name in links.ends:
        return False
    asked, chosen = takers["IsNaN"], takers["Where"]
    if chosen.input[0] != asked.output[0] or chosen.input[2] != name:
        return False
    softmax.output[0] = chosen.output[0]
    graph.node.remove(chosen)
    graph.node.remove(asked)
    return True
