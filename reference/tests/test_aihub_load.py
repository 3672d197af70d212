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

    def __init__(self, client, folder: Path, number: int, rounds: int) -> None:
        super().__init__(daemon=True)
        self.told: list[str] = []
        self.trouble: list[str] = []
        self.client, self._number, self._rounds = client, number, rounds
        self._path = folder / f"{number}.onnx"
        self._random = random.Random(number)

    def run(self) -> None:
        try:
            for turn in range(self._rounds):
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
    """50 clients and 200 jobs; the hub is killed, and stopped, under them."""
    load(tmp_path)


def load(folder: Path, rounds: int = ROUNDS, ends: str = "kill terminate") -> None:
    """Each of the `ends` comes when as many more of the jobs are submitted."""
    users = [f"user{number}@team.org" for number in range(CLIENTS)]
    state, start, port, tokens = folder / "state", time.monotonic(), 0, None
    customers: list[Customer] = []
    most, words = 2 * rounds * CLIENTS, [*ends.split(), ""]
    for number, end in enumerate(words, 1):
        with local_hub(
            state, users=users, runner=RUNNER, workers=4, tokens=tokens, port=port
        ) as hub:
            tokens, port = hub.tokens, int(hub.url.rpartition(":")[2])
            if not customers:
                customers = [
                    Customer(hub.client_of(email), folder, number, rounds)
                    for number, email in enumerate(users)
                ]
                for customer in customers:
                    customer.start()
            if end:
                enough = most * number // len(words)
                while sum(len(customer.told) for customer in customers) < enough:
                    assert any(customer.is_alive() for customer in customers), customers
                    time.sleep(0.01)
                getattr(hub.process, end)()
                hub.process.wait()
                continue
            for customer in customers:
                customer.join()
            seconds = time.monotonic() - start
            assert [customer.trouble for customer in customers if customer.trouble] == []
            lost = [
                id
                for customer in customers
                for id in customer.told
                if not customer.client.get_job(id).get_status().success
            ]
    assert lost == []
    told = sum(len(customer.told) for customer in customers)
    assert told == most
    print(f"{told} jobs of {CLIENTS} clients in {seconds:.0f} s, {len(lost)} lost, ends: {ends}")
