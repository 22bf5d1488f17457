"""The demonstration finds what was planted, and says so."""

from pathlib import Path

from conftest import CommandLine


def test_the_demonstration_finds_the_planted_faults(
    tmp_path: Path, command_line: CommandLine
) -> None:
    outcome = command_line("demo", "--out", tmp_path / "demo")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in lines
    labels = next(line for line in lines if line.startswith("planted wrong labels"))
    words = labels.replace("%", "").split()
    found, planted, precise = int(words[4]), int(words[6].rstrip(";")), int(words[-6])
    assert found / planted >= 0.9
    assert precise >= 80
    for kind in ("exact", "shifted", "noised"):
        assert f"planted leaks, {kind}: found 10 of 10 with their source" in lines
