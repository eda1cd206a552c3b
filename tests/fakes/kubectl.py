"""The real kubectl, pointed at a fake: no kubeconfig, a home of its own, one call one process.

It never reads the user's configuration, and never talks to anything but the address it is given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KUBECTL = shutil.which("kubectl")


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl against `server`; `home` keeps its discovery cache."""

    server: str
    home: Path

    def run(self, *args: str, deadline_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """The finished process; raises subprocess.TimeoutExpired after `deadline_s` seconds."""
        assert KUBECTL is not None, "kubectl is not installed"
        env = {"HOME": str(self.home), "KUBECONFIG": "", "PATH": os.environ["PATH"]}
        command = [KUBECTL, "--server", self.server, *args]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=deadline_s, check=False)

    def ok(self, *args: str) -> str:
        """Standard output of a call that must succeed."""
        done = self.run(*args)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout
