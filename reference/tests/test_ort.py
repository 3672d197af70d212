"""onnxruntime's tools without PyTorch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "use",
    [
        "import reference.npu.quantize_worker",
        "from conformance.mending.child import Hands\n"
        "from onnx import helper\n"
        "x = helper.make_tensor_value_info('x', 1, ['n', 3])\n"
        "y = helper.make_tensor_value_info('y', 1, ['n', 3])\n"
        "graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g', [x], [y])\n"
        "model = helper.make_model(graph)\n"
        "Hands(model).fix_sizes({'x': [2, 3]}, {})\n"
        "for value in (*model.graph.input, *model.graph.output):\n"
        "    assert [d.dim_value for d in value.type.tensor_type.shape.dim] == [2, 3]\n",
    ],
    ids=["quantize", "fix"],
)
def test_pytorch_is_not_imported_for_it_and_there_afterwards(use: str) -> None:
    code = f"import sys\n{use}\nassert 'torch' not in sys.modules\nimport torch\ntorch.ones(2)"
    subprocess.run([sys.executable, "-c", code], check=True)
