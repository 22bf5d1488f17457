"""Progress bars: one on the screen at a time, items as they are."""

import io
import re
import threading
from pathlib import Path

from conftest import SAID_BY_THE_CLOCK
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


def test_without_a_terminal_there_is_a_line_a_stage_and_one_every_so_often(monkeypatch) -> None:
    screen = io.StringIO()
    now = [0.0]
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=False))
    monkeypatch.setattr(progress, "SECONDS_APART", 30.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    whole = progress.Whole({"load": 1, "score": 4, "report": 5})
    with whole.stage("load"):
        now[0] = 20.0
    with whole.stage("score"):
        whole.expect({"score": 9}, rows=10)
        for _ in progress.track(range(10), "scoring train"):
            now[0] += 10
            progress.count_rows(9)
    now[0] = 150.0
    with whole.stage("report"):
        pass
    # After four batches 1 + 3.6 of 15 passes are done, in 60 seconds.
    assert screen.getvalue().splitlines() == [
        "30 s: score (2 of 3): scoring train, 1 of 10; audit: about 3 min left",
        "60 s: score (2 of 3): scoring train, 4 of 10; audit: about 2 min left",
        "2 min: score (2 of 3): scoring train, 7 of 10; audit: about 2 min left",
        "2 min: score (2 of 3): scoring train, 10 of 10; audit: about 60 s left",
        "2 min: report (3 of 3); audit: about 75 s left",
    ]


def test_a_stage_that_tells_nothing_of_itself_does_not_make_the_time_left_grow(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    whole = progress.Whole({"load": 1, "mirror": 10})
    with whole.stage("load"):
        now[0] = 2.0
    with whole.stage("mirror"):
        left = []
        for now[0] in (3.0, 12.0, 21.0, 30.0):
            left.append(whole.seconds_left())
        assert left == [19.0, 10.0, 1.0, None]
        whole.expect({"mirror": 9.0}, rows=10)
        progress.count_rows(10)
        # Two passes of ten took 30 seconds.
        assert whole.seconds_left() == 120.0
        progress.expect_more(20)
        # Two of four, once it is known that two are left.
        assert whole.seconds_left() == 30.0


def test_a_short_audit_writes_nothing(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=False))
    whole = progress.Whole({"load": 1})
    with whole.stage("load"):
        assert list(progress.track([1, 2], "reading")) == [1, 2]
    assert screen.getvalue() == ""
    assert whole.seconds_left() is not None


def test_nothing_is_said_of_the_time_left_where_nothing_is_known(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=False))
    monkeypatch.setattr(progress, "SECONDS_APART", 0.0)
    whole = progress.Whole()
    with whole.stage("trace"):
        assert whole.seconds_left() is None
    assert screen.getvalue() == "0 s: trace\n"


def test_a_terminal_shows_the_time_left_for_the_whole_audit(monkeypatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr(progress, "_console", console)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    whole = progress.Whole({"mirror": 1, "report": 2})
    with whole.stage("mirror"):
        for _ in progress.track(range(2), "learning"):
            now[0] += 20
    # A third of the work took 40 seconds.
    assert "audit: about 80 s left" in screen.getvalue()


def test_a_stage_without_steps_has_its_lines_too(monkeypatch) -> None:
    screen, written = io.StringIO(), threading.Event()
    now = [0.0]
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=False))
    monkeypatch.setattr(progress, "SECONDS_APART", 30.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    whole = progress.Whole({"load": 1})

    class Over:
        def wait(self, seconds: float) -> bool:
            now[0] += seconds
            if now[0] > 60:
                written.set()
            return written.is_set()

    whole._remind(Over())
    assert screen.getvalue().splitlines() == ["30 s: ", "60 s: "]


SAYS_NOTHING = {
    "SECONDS_ASKED",  # measured, not waited
    "SECONDS_BETWEEN_LOOKS",
    "SECONDS_OF_PATIENCE",  # of the server of the page; that of commands is on the other list
    "SECONDS_TO_CONNECT",
    "SECONDS_TO_NOTICE",
    "SECONDS_TO_START",
    "SECONDS_APART",  # between copies to a store; that of lines of progress is on the other list
}


def test_whatever_is_said_by_the_clock_is_silent_in_tests() -> None:
    package = Path(progress.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
    found = {name for text in texts for name in re.findall(r"^(SECONDS_\w+) = ", text, re.M)}
    assert found == SAYS_NOTHING | {name for _, name in SAID_BY_THE_CLOCK}
    for module, name in SAID_BY_THE_CLOCK:
        assert getattr(module, name) == SAID_BY_THE_CLOCK[module, name]
