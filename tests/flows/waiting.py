"""A flow that lasts as long as a test wants, with a process of its own."""

import subprocess
import time
from pathlib import Path

from prefect import flow


@flow(name="wait")
def wait(archive: str, limit: int | None = None) -> int:
    child = subprocess.Popen(["sleep", "3600"])
    while Path(archive).exists():
        time.sleep(0.1)
    child.kill()
    return child.wait()
