"""The child process that holds AIMET. Nothing else imports it."""

from typing import Any

from reference.child import Child, main

_AXES_ARE_INPUTS = 18  # the opset


class AimetChild(Child):
    """Turns one export of AIMET into QDQ."""

    def convert(self, model: str, encodings: str, output: str) -> dict[str, str]:
        """Writes the model, quantised as the encodings say, to `output`."""
        import onnx
        from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim

        sim = QuantizationSimModel(_with_axes(onnx.load(model)), providers=["CPUExecutionProvider"])
        # Not strict: the encodings alone say how wide and how symmetric a tensor is.
        load_encodings_to_sim(sim, encodings, strict=False)
        onnx.save(sim.to_onnx_qdq(prequantize_constants=True), output)
        return {}


def _with_axes(model: Any) -> Any:
    """The model with a second input for every ReduceMin, which aimet-onnx 2.42 takes for granted.

    It is the axes from opset 18 on; its name is empty where all are meant.
    """
    import onnx.version_converter

    if all(len(node.input) > 1 for node in model.graph.node if node.op_type == "ReduceMin"):
        return model
    if any(not entry.domain and entry.version < _AXES_ARE_INPUTS for entry in model.opset_import):
        model = onnx.version_converter.convert_version(model, _AXES_ARE_INPUTS)
    for node in model.graph.node:
        if node.op_type == "ReduceMin" and len(node.input) == 1:
            node.input.append("")
    return model


if __name__ == "__main__":
    main(AimetChild())
