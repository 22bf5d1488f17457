"""Progress bars: one on the screen at a time, items as they are."""

import io

from rich.console import Console

from dataaudit import progress


def test_a_bar_inside_another_one_stays_silent(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=True))
    found = [
        (outer, inner)
        for outer in progress.track(range(3), "outside")
        for inner in progress.track(range(2), "inside")
    ]
    assert found == [(outer, inner) for outer in range(3) for inner in range(2)]
    assert "outside" in screen.getvalue()
    assert "inside" not in screen.getvalue()
    assert list(progress.track([7], "inside")) == [7]
    assert "inside" in screen.getvalue()
