"""A built wheel carries the templates and the sample data; so does a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dataaudit.resources import resource_folder

TOP = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=TOP, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_a_checkout_finds_its_folders_at_the_top_level() -> None:
    assert resource_folder("templates") == TOP / "templates"
    assert (resource_folder("sample_data") / "audit.yaml").is_file()


def test_the_wheel_carries_every_template_and_sample(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "sample_data"):
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=TOP, check=True, capture_output=True, text=True
        ).stdout.split()
        assert tracked
        assert {f"dataaudit/{name}" for name in tracked} <= names


def test_an_installed_wheel_finds_its_own_folders(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = (
        "import dataaudit.resources as r; print(r.resource_folder('templates'));"
        "print(r.resource_folder('sample_data'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    expected = [tmp_path / "dataaudit" / name for name in ("templates", "sample_data")]
    assert [Path(line) for line in found] == expected
