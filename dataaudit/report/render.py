"""From the report to one HTML file that opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dataaudit.report.data import AuditReport
from dataaudit.report.page import build_page

_PACKAGE = Path(__file__).resolve().parent.parent


def render(report: AuditReport) -> str:
    """Return the report as one HTML page.

    Style and script are inlined, and the page's content security policy allows exactly these
    two, by their hashes: nothing that a data set smuggles into the page could run.
    """
    return render_template("report.html.j2", build_page(report), script_name="report.js")


def render_template(name: str, page: object, *, script_name: str | None = None) -> str:
    """Return a page with the common style, and a policy that allows only what belongs to it.

    Parameters
    ----------
    name : str
        The template.
    page : object
        What it prints, as `page`.
    script_name : str or None
        The page's script; without one, no script runs at all.
    """
    environment = _environment()
    style = _asset(environment, "report.css")
    script = "" if script_name is None else _asset(environment, script_name)
    allowed = f"script-src '{_hash(script)}'; " if script else ""
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; {allowed}"
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(name).render(
        page=page, policy=policy, style=Markup(style), script=Markup(script)
    )


def templates_folder() -> Path:
    """Return the templates: in the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(templates_folder()),
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
