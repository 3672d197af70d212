"""A cluster of machines that share no disk, on this one, with Ray's test cluster; Linux, root."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

_NEW_NAMESPACE, _PRIVATE = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC and MS_PRIVATE
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextmanager
def cluster_of_nodes(hidden: Path, rooms: Sequence[Path]) -> Iterator[tuple[Any, list[Any]]]:
    """A `ray.cluster_utils.Cluster`, and a node for each of `rooms`, its folder for temporary
    files. To these `hidden` is empty; the head sees it. Each node has one CPU and 80 MiB of store.
    """
    from ray.cluster_utils import Cluster

    with ExitStack() as stack:
        # Which only the main thread may.
        handler = "ray._private.utils.set_sigterm_handler"
        stack.enter_context(mock.patch(handler))
        cluster = Cluster(initialize_head=True, head_node_args=_NODE)
        stack.callback(cluster.shutdown)
        nodes = []
        for room in rooms:
            room.mkdir()
            thread = stack.enter_context(ThreadPoolExecutor(1))
            with mock.patch.dict(os.environ, TMPDIR=str(room)):
                nodes.append(thread.submit(_node, cluster, hidden).result())
        yield cluster, nodes


def _node(cluster: Any, hidden: Path) -> Any:
    """What this thread starts sees an empty folder; it ends with the thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    calls = (
        (libc.unshare, _NEW_NAMESPACE),
        (libc.mount, b"none", b"/", None, _PRIVATE, None),
        (libc.mount, b"none", bytes(hidden), b"tmpfs", 0, None),
    )
    for call, *arguments in calls:
        if call(*arguments):
            raise OSError(ctypes.get_errno(), "no namespace")
    return cluster.add_node(**_NODE)
