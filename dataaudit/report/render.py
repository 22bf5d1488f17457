"""From the report to one HTML file that opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dataaudit.report.data import AuditReport
from dataaudit.report.page import build_page
from dataaudit.resources import resource_folder

SCRIPTS = (
    "page_core.js",
    "page_store.js",
    "page_csv.js",
    "page_serve.js",
    "page_row.js",
    "page_leak.js",
    "page_decide.js",
    "page_read.js",
    "page_record.js",
    "page_main.js",
)
"""The parts of the report's script, each of one mode or idea, in the order of their needs."""


def render(report: AuditReport, *, served: bool = False) -> str:
    """Return the report as one HTML page.

    Style and script are inlined, and the page's content security policy allows exactly these
    two, by their hashes: nothing that a data set smuggles into the page could run.

    Parameters
    ----------
    report : AuditReport
    served : bool
        Whether `dataaudit review --serve` hands the page out: then its script saves decisions
        where the page comes from, and may ask nobody else.
    """
    page = build_page(report)
    margins = _margins(f"{page.name} · data audit of {page.date}", page.record.hash)
    return render_template("report.html.j2", page, scripts=SCRIPTS, margins=margins, served=served)


def render_template(
    name: str,
    page: object,
    *,
    scripts: Sequence[str] = (),
    margins: str = "",
    served: bool = False,
) -> str:
    """Return a page with the common style, and a policy that allows only what belongs to it.

    Parameters
    ----------
    name : str
        The template.
    page : object
        What it prints, as `page`.
    scripts : sequence of str
        The parts of the page's one script, in order; without them, no script runs at all.
    margins : str
        Style of the margins of printed pages.
    served : bool
        Whether the page may speak to where it comes from.
    """
    environment = _environment()
    style = _asset(environment, "report.css") + margins
    parts = "\n".join(_asset(environment, part) for part in scripts)
    script = f'(() => {{\n"use strict";\n{parts}}})();' if parts else ""
    allowed = f"script-src '{_hash(script)}'; " if script else ""
    if served:
        allowed += "connect-src 'self'; "
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; {allowed}"
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(name).render(
        page=page, policy=policy, style=Markup(style), script=Markup(script), served=served
    )


def _margins(header: str, sha256: str) -> str:
    """Return the style of printed margins: what the paper belongs to, and page numbers."""
    return (
        "@media print { @page { "
        f'@top-left {{ content: "{_css_text(header[:120])}" }} '
        f'@bottom-left {{ content: "SHA-256 {_css_text(sha256[:32])}…" }} '
        '@bottom-right { content: "page " counter(page) " of " counter(pages) } } }\n'
    )


def _css_text(text: str) -> str:
    """Return text for a CSS string: whatever is no plain letter, digit or blank is escaped."""
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character == " ")
        else f"\\{ord(character):x} "
        for character in text
    )


@cache
def _environment() -> Environment:
    """Made once: a template is compiled when it is first asked for."""
    return Environment(
        loader=FileSystemLoader(resource_folder("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(environment: Environment, name: str) -> str:
    """Return a style sheet or script as it stands: no template syntax is looked for in it."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    return source.replace("\r\n", "\n")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
