"""transformers' models import in silence, whatever else is installed."""

import subprocess
import sys

SCRIPT = """
import sys
from reference.registry import find_track
find_track("depth").room("model")
find_track("retrieval").room("model")
print("torchao" in sys.modules)
"""


def test_torchao_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
