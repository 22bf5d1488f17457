"""Importing dataaudit brings no optional package."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


def optional_packages() -> set[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        requirement.split(">")[0].split("[")[0].replace("-", "_")
        for extra in project["optional-dependencies"].values()
        for requirement in extra
    }
    return names - {"dataaudit"} | {"tokenizers", "torchvision", "accelerate"}


@pytest.mark.parametrize("statement", ["import dataaudit", "from dataaudit import audit"])
def test_no_optional_package_is_imported(statement: str) -> None:
    script = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=TOP
    )
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)}
    assert {"ray", "transformers"} <= optional_packages()
    assert not loaded & optional_packages()
