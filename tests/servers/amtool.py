"""The real amtool, Alertmanager's command, told to speak to any address. Never reads the user's own configuration."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.servers.process import locate


class Amtool:
    """`folder` is its home; with `token` it shows that as a bearer token."""

    def __init__(self, url: str, folder: Path, token: str = "") -> None:
        self._folder = folder
        self._given = [f"--alertmanager.url={url}", "--timeout=20s"]
        if token:
            file = folder / "http.yml"
            file.write_text(yaml.safe_dump({"authorization": {"type": "Bearer", "credentials": token}}))
            self._given.append(f"--http.config.file={file}")

    def __call__(self, *words: str, fails: bool = False) -> str:
        """What it prints; with `fails`, what it complains of."""
        argv = [locate("amtool", "prometheus-alertmanager"), *words, *self._given]
        environment = {"HOME": str(self._folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--output=json"))
