"""What tests ask of a hub past the official client."""

from pathlib import Path

import requests
from qai_hub import public_api_pb2 as pb

from reference.aihub.local import LocalHub


def ask(hub: LocalHub, method: str, path: str, user: str = "", **more) -> requests.Response:
    """A request of the API by one of the users, the first where none is named."""
    token = hub.tokens[user] if user else hub.token
    headers = {"Authorization": f"token {token}", **more.pop("headers", {})}
    return requests.request(method, f"{hub.url}/api/v1/{path}", headers=headers, timeout=60, **more)


def new_model(hub: LocalHub, user: str = "", **fields) -> str:
    """The id of a model without a file."""
    message = pb.Model(**{"name": "model", "model_type": 6, **fields})
    answer = ask(hub, "POST", "models/", user, data=message.SerializeToString())
    return pb.CreateUpdateResponse.FromString(answer.content).id


def upload_url(hub: LocalHub, model: str, user: str = "", size: int = 10) -> str:
    """Where the file of a model goes to."""
    answer = ask(hub, "GET", f"models/{model}/multipart_upload/?file_size={size}", user)
    return pb.FileMultipartUploadURL.FromString(answer.content).urls[0]


def complete(hub: LocalHub, model: str, *etags: str, user: str = "") -> requests.Response:
    """Says that the file of a model is there."""
    message = pb.FileMultipartUploadComplete(upload_id=model, etags=etags)
    path = f"models/{model}/multipart_upload/"
    return ask(hub, "POST", path, user, data=message.SerializeToString())


def download_url(hub: LocalHub, thing: str, user: str = "") -> str:
    """Where the file of a model or data set comes from."""
    path = f"models/{thing}/download/" if thing[0] == "m" else f"datasets/{thing}/download_data/"
    return pb.FileDownloadURL.FromString(ask(hub, "GET", path, user).content).url


def page_session(hub: LocalHub, user: str = "") -> requests.Session:
    """A browser in which a user is signed in."""
    session = requests.Session()
    form = {"token": hub.tokens[user] if user else hub.token}
    assert session.post(f"{hub.url}/login", form, timeout=60).ok
    return session


def csrf(text: str) -> str:
    """The mark of the forms on a page."""
    return text.split('name="csrf" value="')[1].split('"')[0]


def blob_files(state: Path) -> dict[str, Path]:
    """The files of a hub, by the hash that is their name."""
    return {path.name: path for path in (state / "blobs").glob("??/*")}
