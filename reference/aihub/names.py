"""What files are called: those that a client downloads, and those that a job reads."""

from reference.aihub.records import DatasetRecord, ModelRecord
from reference.aihub.tasks import ModelKind

EXTENSIONS = {
    ModelKind.TORCHSCRIPT: ".pt",
    ModelKind.TORCH_EXPORTED_PROGRAM: ".pt2",
    ModelKind.TFLITE: ".tflite",
    ModelKind.QNN_CONTEXT_BINARY: ".bin",
    ModelKind.QNN_DLC: ".dlc",
    ModelKind.ONNX: ".onnx",
    ModelKind.AIMET_ONNX: ".aimet",
}


def download_name(record: ModelRecord | DatasetRecord) -> str:
    """The file name of a download, which the client takes its extension from."""
    if isinstance(record, DatasetRecord):
        return f"dataset-{record.id}.h5"
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in record.name)
    return f"{stem}_{record.id}{EXTENSIONS[record.kind]}" + (".zip" if record.is_directory else "")
