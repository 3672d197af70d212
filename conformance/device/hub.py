"""The AI Hub that jobs go to: the one that the client is configured for, or a local one."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reference.aihub.listed import EMULATED
from reference.errors import SubmissionError, one_line
from reference.install import install_command
from reference.process import Limits

_ANSWER_SECONDS = 5.0
HubKind = Literal["auto", "remote", "local"]


@dataclass(frozen=True)
class HubDevice:
    """A device as a hub lists it; `emulated` where no such device is behind it."""

    device: Any
    emulated: bool

    @property
    def name(self) -> str:
        """As the hub calls it."""
        return str(self.device.name)

    @property
    def system(self) -> str:
        """`ANDROID 14`."""
        return f"{self._attribute('os').upper()} {self.device.os}".strip()

    @property
    def chipset(self) -> str:
        """As the hub's list of devices calls it."""
        return self._attribute("chipset")

    def _attribute(self, key: str) -> str:
        named = (a.partition(":") for a in self.device.attributes)
        return next((value for name, _, value in named if name == key), "")


class Hub:
    """One hub, started or reached when it is first needed; to be closed.

    `kind` is where to look: "auto" takes the client's configuration where there is one and starts
    a local hub otherwise. A configured one can be a local one too: what it answers tells. `limits`
    are those of each step of a job on a hub that is started here.
    """

    def __init__(
        self,
        kind: HubKind,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._kind = kind
        self._limits = limits
        self._stack = ExitStack()
        self._client: Any = None
        self._devices: dict[str, HubDevice] = {}
        self._emulates = self.own

    @property
    def own(self) -> bool:
        """Whether a local hub is started for this run."""
        return self._kind == "local" or (self._kind == "auto" and configuration() is None)

    @property
    def local(self) -> bool:
        """Whether it is a local hub, with no device behind it; what it says of itself is asked for.

        Raises SubmissionError as `client` does.
        """
        return bool(self.client) and self._emulates

    @property
    def name(self) -> str:
        """What messages call it, as far as is known; nothing is asked for it."""
        return "local AI Hub" if self._emulates else "AI Hub"

    @property
    def client(self) -> Any:
        """The official client.

        Raises SubmissionError where it is missing or not configured, or nothing answers it.
        """
        if self._client is None:
            client = self._open_local() if self.own else self._open_remote()
            client.set_verbose(False)
            listed = self.ask(client.get_devices)
            self._emulates = any(EMULATED in device.attributes for device in listed)
            self._client = client
        return self._client

    def device(self, name: str) -> HubDevice:
        """The device called `name`; raises SubmissionError where the hub has none."""
        if name not in self._devices:
            found = self.ask(lambda: self.client.get_devices(name=name))
            if not found:
                raise SubmissionError(
                    f"the {self.name} has no device {name!r}", "`qai-hub list-devices` names them"
                )
            self._devices[name] = HubDevice(found[-1], EMULATED in found[-1].attributes)
        return self._devices[name]

    def ask(self, call: Callable[[], Any]) -> Any:
        """What `call` of the client returns; its errors become SubmissionErrors."""
        from qai_hub.client import Error

        try:
            return call()
        except Error as error:
            raise SubmissionError(
                f"the {self.name} refuses: {one_line(str(error))}",
                "see what `qai-hub configure` was given, and the account page of AI Hub",
            ) from None

    def close(self) -> None:
        """Ends a local hub."""
        self._stack.close()

    def _open_local(self) -> Any:
        import_client()
        from reference.aihub.local import local_hub

        return self._stack.enter_context(local_hub(limits=self._limits)).client

    def _open_remote(self) -> Any:
        qai_hub = import_client()
        if configuration() is None:
            raise SubmissionError(
                "the client of AI Hub is not configured",
                "run `qai-hub configure --api_token TOKEN`, or give --hub local",
            )
        client = qai_hub.Client()
        _reach(self.ask(lambda: client.config).api_url)
        return client


def _reach(url: str) -> None:
    """Raises SubmissionError where nothing answers at `url`; the client would try for a minute."""
    import requests

    try:
        requests.head(url, timeout=_ANSWER_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise SubmissionError(
            f"nothing answers at {url}, which the client is configured for ({reason})",
            "see that the hub runs and the network reaches it (`lpcvc hub serve` starts a local"
            " one), or configure the client for another",
        ) from None


def configuration() -> Path | None:
    """The file that configures the client, None where there is none."""
    default = Path.home() / ".qai_hub" / "client.ini"
    path = Path(os.environ.get("QAIHUB_CLIENT_INI") or default)
    return path if path.is_file() else None


def import_client() -> Any:
    """The official client, `qai_hub`; raises SubmissionError where it is not installed."""
    try:
        import qai_hub
    except ImportError:
        raise SubmissionError("qai-hub is not installed", install_command("hub")) from None
    return qai_hub
