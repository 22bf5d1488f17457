"""`dataaudit review` opens the page where rows are decided."""

import webbrowser

from conftest import CommandLine
from review_examples import audited


def test_the_page_opens_where_rows_are_decided(
    tmp_path, command_line: CommandLine, monkeypatch
) -> None:
    audit = audited(tmp_path)
    page = audit.directory / "report.html"
    page.write_text("a page", encoding="utf-8")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    outcome = command_line("review", audit.directory)
    assert outcome.code == 0
    assert opened == [page.as_uri() + "#decide"]
    assert opened[0] in outcome.out


def test_without_a_page_or_a_browser_it_says_so(
    tmp_path, command_line: CommandLine, monkeypatch
) -> None:
    audit = audited(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert "renders it again" in command_line("review", audit.directory).err
    page = audit.directory / "report.html"
    page.write_text("a page", encoding="utf-8")
    outcome = command_line("review", audit.directory)
    assert outcome.code == 2
    assert f"no browser was found; open {page.as_uri()}#decide in one" in outcome.err
    assert command_line("review", tmp_path).code == 2
