"""What helps against nodes that the compiler leaves to the CPU."""

from conformance.submission.graph import Graph
from conformance.submission.operators import npu_hazards


def hazard_remedies(graph: Graph) -> dict[str, str]:
    """The remedy by node, for those that are known to leave the NPU.

    Nodes go by the names that the compiler sees: a node without one has that of its output.
    """
    found = npu_hazards(graph)
    return {each.node.name or each.node.outputs[0]: each.remedy for each in found}
