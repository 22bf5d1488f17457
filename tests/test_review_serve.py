"""`dataaudit review --serve`: on this computer alone, straight into the run directory."""

import csv
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import CommandLine, go_to
from playwright.sync_api import expect
from review_examples import audit_to_decide, audited, write_decisions

from dataaudit.errors import DataAuditError
from dataaudit.review import serve as serving
from dataaudit.review.serve import PageServer
from dataaudit.run_directory.store import amending


@pytest.fixture
def running():
    """Return a function that serves an audit; the server ends with the test."""
    servers = []

    def start(directory: Path) -> PageServer:
        server = PageServer(directory)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def put(server, body, version="", **headers):
    headers = {"Origin": f"http://{server.host}", "If_Match": f'"{version}"'} | headers
    return ask(server, "PUT", f"/{server.token}/decisions.csv", body, **headers)


def version(server):
    return ask(server, "GET", f"/{server.token}/decisions.csv")[2]["ETag"].strip('"')


def test_the_page_is_served_with_its_token_and_to_nobody_without(tmp_path, running):
    server = running(audited(tmp_path).directory)
    status, page, headers = ask(server, "GET", f"/{server.token}/")
    assert status == 200
    assert "connect-src &#39;self&#39;" in page
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert "Python" not in headers["Server"]
    for path in ("/", "/decisions.csv", f"/{server.token[:-1]}/", f"/{server.token}x/", "//"):
        assert ask(server, "GET", path)[0] == 403, path
    assert ask(server, "PUT", "/decisions.csv", "", Origin=f"http://{server.host}")[0] == 403
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 43


@pytest.mark.parametrize(
    "name", ["audit.json", "../train.csv", "%2e%2e/train.csv", "..", "decisions.csv/", "x/../"]
)
def test_nothing_else_can_be_read(tmp_path, running, name):
    server = running(audited(tmp_path).directory)
    assert ask(server, "GET", f"/{server.token}/{name}")[0] == 404


def test_other_names_and_other_sites_are_refused(tmp_path, running):
    audit = audited(tmp_path)
    server = running(audit.directory)
    for host in ("evil.example", f"localhost:{server.server_port}", "127.0.0.1"):
        assert ask(server, "GET", f"/{server.token}/", Host=host)[0] == 403
    body = "row_id,decision\n=b,keep\n"
    for origin in ("https://evil.example", "null", "http://127.0.0.1"):
        assert put(server, body, version(server), Origin=origin)[0] == 403
    status, _, _ = ask(server, "PUT", f"/{server.token}/decisions.csv", body)
    assert status == 403
    assert put(server, body, version(server), Host="evil.example")[0] == 403
    assert not (audit.directory / "decisions.csv").exists()


def test_bodies_are_bounded_and_their_length_is_said(tmp_path, running, monkeypatch):
    server = running(audited(tmp_path).directory)
    monkeypatch.setattr(serving, "LARGEST_BODY", 100)
    status, words, _ = put(server, "row_id,decision\n" + "a,keep\n" * 50)
    assert (status, words) == (413, "found 366 bytes of decisions, at most 100 are taken")
    assert put(server, "", "", Content_Length="1e3")[0] == 411
    assert put(server, "", "", Content_Length="9" * 13)[0] == 413
    assert ask(server, "POST", f"/{server.token}/decisions.csv", "")[0] == 501
    origin = f"http://{server.host}"
    assert ask(server, "PUT", f"/{server.token}/", "", Origin=origin)[0] == 405


def test_decisions_are_checked_and_replace_what_they_were_made_from(tmp_path, running):
    audit = audited(tmp_path)
    server = running(audit.directory)
    first = version(server)
    status, _, headers = put(server, "row_id,decision\n=b,keep\n", first)
    assert status == 200
    written = audit.directory / "decisions.csv"
    assert written.read_text() == "row_id,decision\n=b,keep\n"
    assert put(server, "row_id,decision\n=b,drop\n", first)[0] == 412
    now = headers["ETag"].strip('"')
    assert now == version(server)
    for body, words in (
        ("row_id,decision\nnobody,keep\n", "decisions.csv: line 2: there is no row 'nobody'"),
        ("row_id,decision\na,copy\n", "unknown decision 'copy'"),
        ("row_id,decision,train_sha256\na,keep,beef\n", "beef"),
        ("row_id\na\n", "no column 'decision'"),
        ('row_id,decision\n"a', "decisions.csv"),
    ):
        status, said, _ = put(server, body, now)
        assert status == 409
        assert words in said
        assert "Traceback" not in said
    assert written.read_text() == "row_id,decision\n=b,keep\n"
    with amending(audit.directory):
        status, said, _ = put(server, "row_id,decision\n=b,drop\n", now)
    assert status == 409
    assert "another audit is running" in said
    assert [path.name for path in audit.directory.glob(".dataaudit*")] == []


def test_a_file_that_does_not_fit_is_refused_before_anything_is_served(tmp_path):
    audit = audited(tmp_path)
    write_decisions(audit.directory / "decisions.csv", "nobody,keep,")
    with pytest.raises(DataAuditError, match=r"decisions\.csv: line 2: there is no row 'nobody'"):
        PageServer(audit.directory)


def test_what_was_decided_is_relabelled_without_naming_a_file(
    tmp_path, command_line: CommandLine, running
):
    audit = audited(tmp_path)
    out = tmp_path / "train-2.csv"
    outcome = command_line("relabel", audit.directory, "--out", out)
    assert outcome.code == 2
    assert "review" in outcome.err
    assert "--serve" in outcome.err
    server = running(audit.directory)
    assert put(server, "row_id,decision\n'=b,relabel\n", version(server))[0] == 200
    assert command_line("relabel", audit.directory, "--out", out).code == 0
    assert list(csv.DictReader(out.open(encoding="utf-8", newline="")))[1]["label"] == "dog"
    # What the log says by now is not taken back.
    status, said, _ = put(server, "row_id,decision\n'=b,keep\n", version(server))
    assert status == 409
    assert "=b" in said


def test_ctrl_c_ends_it_with_the_documented_code(tmp_path):
    audit = audited(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "dataaudit", "review", str(audit.directory), "--serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": "true %s"},
        # A shell that starts it in the background lets it pass over Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{43}/#decide", process.stdout.readline())
    assert address
    assert "decisions.csv; Ctrl-C ends this" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "dataaudit: interrupted\n"


def decided(directory):
    with (directory / "decisions.csv").open(encoding="utf-8", newline="") as file:
        return {line["row_id"]: line["decision"] for line in csv.DictReader(file)}


@pytest.mark.browser
def test_the_page_saves_each_decision_and_shows_conflicts_of_a_second_window(
    browser, tmp_path, running
):
    audit = audit_to_decide(tmp_path)
    server = running(audit.directory)
    said, requested = [], []

    def window():
        page = browser.new_context().new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{server.address}#decide")
        expect(page.locator("#kept")).to_contain_text("Saved in the audit's directory")
        return page

    first = window()
    rows = [row for row in json.loads(first.locator("#data").text_content())["rows"] if row[5]]
    ids = [str(row[0]) for row in rows]
    for key in "akzu":
        first.keyboard.press(key)
    expect(first.locator("#kept")).to_contain_text("Saved in the audit's directory")
    assert decided(audit.directory) == {ids[0]: "relabel", ids[1]: "unsure"}
    second = window()
    expect(second.locator("#progress")).to_contain_text("2 of 99 decided")
    # The second window settles what the first was unsure about, and goes on.
    go_to(second, f"#row={ids[1]}")
    for key in "kx":
        second.keyboard.press(key)
    expect(second.locator("#kept")).to_contain_text("Saved in the audit's directory")
    # Without having heard of it, the first one differs about the third row.
    first.keyboard.press("k")
    expect(first.locator("#said")).to_contain_text("1 row was decided otherwise in another window")
    expect(first.locator("#progress")).to_contain_text("3 of 99 decided")
    assert decided(audit.directory) == {ids[0]: "relabel", ids[1]: "keep", ids[2]: "drop"}
    go_to(first, f"#row={ids[2]}")
    expect(first.locator(".conflict")).to_contain_text("another window says dropped")
    first.get_by_role("button", name="Keep mine").click()
    expect(first.locator("#kept")).to_contain_text("Saved in the audit's directory")
    assert decided(audit.directory)[ids[2]] == "keep"
    second.reload()
    expect(second.locator("#progress")).to_contain_text("3 of 99 decided")
    # When the command has ended the page says so, and keeps what it has.
    server.shutdown()
    server.server_close()
    second.keyboard.press("a")
    expect(second.locator("#kept")).to_contain_text("Not saved: dataaudit review has ended")
    for page in (first, second):
        page.context.close()
    assert all(url.startswith(server.address) for url in requested)
    refused = [words for words in said if "412" not in words and "ERR_CONNECTION" not in words]
    assert refused == []


@pytest.mark.browser
def test_relabel_takes_the_downloaded_file_as_it_is(browser, tmp_path, command_line: CommandLine):
    audit = audit_to_decide(tmp_path)
    page = browser.new_context().new_page()
    page.goto((audit.directory / "report.html").as_uri() + "#decide")
    data = json.loads(page.locator("#data").text_content())
    flagged = [row for row in data["rows"] if row[5]]
    rows = "a" * 40 + "zk" + "u" + "x" * 2 + "1" * 56
    for key in rows[:40]:
        page.keyboard.press(key)
    page.reload()
    for key in rows[40:]:
        page.keyboard.press(key)
    expect(page.locator("#progress")).to_contain_text("99 of 99 decided")
    # With the one that reloads.
    assert len(rows) + 1 <= 104
    go_to(page, "#decide&what=leak")
    leaks = "c" * 20 + "zc" + "s" * 9 + "u"
    for key in leaks:
        page.keyboard.press(key)
    expect(page.locator("#progress")).to_contain_text("30 of 30 leaks")
    assert len(leaks) <= 32
    with page.expect_download() as download:
        page.get_by_role("button", name="Download decisions").click()
    file = tmp_path / "decisions.csv"
    download.value.save_as(file)
    page.context.close()
    out, test = tmp_path / "train-2.csv", tmp_path / "test-2.csv"
    outcome = command_line(
        "relabel", audit.directory, "--decisions", file, "--out", out, "--evaluation", test
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert "99 rows decided about, 95 relabeled, 2 dropped" in outcome.out
    assert "30 leaks decided about, 20 copies" in outcome.out
    with out.open(encoding="utf-8", newline="") as opened:
        labels = {line["row_id"]: line["label"] for line in csv.DictReader(opened)}
    assert len(labels) == 1100 - 2
    accepted = flagged[:39]
    assert all(labels[row[0]] == data["labels"][row[2]][1] for row in accepted)
    kept = flagged[39]
    assert labels[kept[0]] == data["labels"][kept[1]][1]
    with test.open(encoding="utf-8", newline="") as opened:
        left = [int(line["query_id"]) for line in csv.DictReader(opened)]
    assert left == list(range(20, 300))
    page = browser.new_page()
    page.goto((audit.directory / "report.html").as_uri())
    expect(page.locator('[data-step="rows"]')).to_contain_text("99 of 99 decided")
    expect(page.locator('[data-step="leaks"]')).to_contain_text("30 of 30 decided, 20 copies")
    page.close()
