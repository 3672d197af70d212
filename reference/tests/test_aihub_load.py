"""Many clients at once, and a hub that is killed under them. Half a minute."""

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

from qai_hub.client import Error  # noqa: E402

from reference.aihub.local import local_hub  # noqa: E402

RUNNER = "reference.tests.hub_runner:run"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
CLIENTS, ROUNDS = 50, 2  # each round is a compile job and a profile or inference job of its target


class Customer(threading.Thread):
    """One client with a user of its own: what it was told that is there is kept in `told`."""

    def __init__(self, client, folder: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.told: list[str] = []
        self.trouble: list[str] = []
        self.client, self._number = client, number
        self._path = folder / f"{number}.onnx"
        self._random = random.Random(number)

    def run(self) -> None:
        try:
            for turn in range(ROUNDS):
                self._round(turn)
        except Exception as error:
            self.trouble.append(repr(error))

    def _round(self, turn: int) -> None:
        text = f"compile sleep {self._random.random() / 5}\n# {self._number} {turn}"
        self._path.write_text(text)
        job = self._sure(lambda: self.client.submit_compile_job(str(self._path), S24, options=DLC))
        self.told.append(job.job_id)
        image = np.full((1, 3), self._number, np.float32)
        data = self._sure(lambda: self.client.upload_dataset({"image": [image]}))
        run = self._sure(
            lambda: self.client.submit_inference_job(
                job.get_target_model(), S24, data, profile=bool(turn % 2)
            )
        )
        self.told.append(run.job_id)
        assert self._sure(run.wait).success
        np.testing.assert_array_equal(self._sure(run.download_output_data)["image"][0], image)
        got = Path(self._sure(lambda: job.download_target_model(str(self._path) + f"-{turn}")))
        assert got.read_text() == text

    def _sure(self, call):
        """As a patient person: what the hub did not take because it was away is done again."""
        for _ in range(20):
            try:
                return call()
            except (Error, OSError) as error:
                last = error
                time.sleep(1)
        raise last


@pytest.mark.slow
def test_nothing_is_lost(tmp_path: Path) -> None:
    """50 clients and 200 jobs; when half of them are submitted the hub is killed."""
    users = [f"user{number}@team.org" for number in range(CLIENTS)]
    state = tmp_path / "state"
    start = time.monotonic()
    with local_hub(state, users=users, runner=RUNNER, workers=4) as first:
        customers = [
            Customer(first.client_of(email), tmp_path, number) for number, email in enumerate(users)
        ]
        for customer in customers:
            customer.start()
        while sum(len(customer.told) for customer in customers) < ROUNDS * CLIENTS:
            time.sleep(0.01)
        first.process.kill()
        first.process.wait()
    port = int(first.url.rpartition(":")[2])
    with local_hub(state, runner=RUNNER, workers=4, tokens=first.tokens, port=port):
        for customer in customers:
            customer.join()
        seconds = time.monotonic() - start
        assert [customer.trouble for customer in customers if customer.trouble] == []
        for customer in customers:
            assert len(customer.told) == 2 * ROUNDS
            for id in customer.told:
                assert customer.client.get_job(id).get_status().success
    print(f"{2 * ROUNDS * CLIENTS} jobs of {CLIENTS} clients in {seconds:.0f} s")
