"""What a participant does with AI Hub, in what every client from 0.30 to 0.56 has.

A script of its own, `hub_client.py FOLDER OTHER_EMAIL`: an old client needs an old environment, in
which there is neither this project nor pytest. The hub is that of QAIHUB_CLIENT_INI.
"""

import sys
from pathlib import Path

import numpy as np
import qai_hub

DLC = "--target_runtime qnn_dlc"


def main(folder: Path, other: str) -> None:
    device = qai_hub.get_devices(name="Samsung Galaxy S24")[0]
    assert "hexagon:v75" in device.attributes
    assert {framework.name for framework in qai_hub.get_frameworks()} == {"QAIRT"}

    source = folder / "model.onnx"
    source.write_text("compile sleep 0.2")
    model = qai_hub.upload_model(str(source))
    assert qai_hub.get_model(model.model_id).name == "model.onnx"
    compile_job = qai_hub.submit_compile_job(model, device, "mine", {"image": (1, 3, 8, 8)}, DLC)
    target = compile_job.get_target_model()
    profile_job = qai_hub.submit_profile_job(target, device)
    assert compile_job.wait().success
    compile_job.set_name("renamed")
    again = qai_hub.get_job(compile_job.job_id)
    assert (again.name, again.device.name) == ("renamed", device.name)
    assert again.get_target_model().model_id == target.model_id
    compile_job.modify_sharing(add_emails=[other])
    assert list(compile_job.get_sharing()) == [other]
    compile_job.disable_sharing()
    assert list(compile_job.get_sharing()) == []
    got = Path(compile_job.download_target_model(str(folder / "target")))
    assert (got.name, got.read_text()) == ("target.dlc", "compile sleep 0.2")

    assert profile_job.wait().success
    profile = profile_job.download_profile()
    assert profile["execution_summary"]["estimated_inference_time"] == 2100
    assert profile["execution_summary"]["all_inference_times"] == [2100]
    assert [layer["name"] for layer in profile["execution_detail"]] == ["conv", "resize"]
    profile_job.download_results(str(folder))
    assert type(qai_hub.get_job(profile_job.job_id)) is type(profile_job)

    image = np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8)
    data = qai_hub.upload_dataset({"image": [image, image + 1]})
    run = qai_hub.submit_inference_job(target, device, data)
    assert run.wait().success
    np.testing.assert_array_equal(run.download_output_data()["image"][1], image + 1)
    kept = qai_hub.get_dataset(data.dataset_id).download()
    np.testing.assert_array_equal(kept["image"][0], image)

    quantized = qai_hub.submit_quantize_job(str(source), data)
    assert quantized.wait().success

    wrong = folder / "wrong.onnx"
    wrong.write_text("compile fail no such operator: Foo")
    failed = qai_hub.submit_compile_job(str(wrong), device, options=DLC).wait()
    assert (failed.failure, failed.message) == (True, "no such operator: Foo")

    newest = [summary.job_id for summary in qai_hub.get_job_summaries(limit=5)]
    made = [quantized, run, profile_job, compile_job]
    assert newest[1:] == [job.job_id for job in made]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
