"""A child that never answers."""

import os
import time
from typing import Any

from reference.child import Child, main


class SleepingChild(Child):
    def pid(self) -> dict[str, Any]:
        return {"pid": os.getpid()}

    def sleep(self) -> dict[str, Any]:
        time.sleep(600)
        return {}


if __name__ == "__main__":
    main(SleepingChild())
