"""`/docs`: the reference of the HTTP API as one page without scripts.

Swagger UI is loaded from another server and needs inline scripts, which our Content-Security-Policy forbids. This page
shows the same document; `/openapi.json` opens in any API client.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title><link rel="stylesheet" href="{base}/docs.css"></head>
<body><header><h1>{title} API</h1><p>{description}</p>
<p>For programs: <a href="{base}/openapi.json">openapi.json</a></p></header>
<nav aria-label="Operations">{contents}</nav><main>{operations}</main></body></html>
"""
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
article { border: 1px solid #8886; border-radius: .4rem; margin: .8rem 0; padding: .4rem 1rem; overflow-wrap: anywhere; }
h3 { font: 600 1rem/1.5 ui-monospace, monospace; margin: .3rem 0; }
h3 b { display: inline-block; min-width: 4.5rem; }
pre { overflow-x: auto; background: #8882; border-radius: .3rem; padding: .6rem; }
dt { font-family: ui-monospace, monospace; }
nav ul { columns: 2; list-style: none; padding: 0; }
"""
_METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Serve every operation with its parameters, bodies and answers."""
    return HTMLResponse(page(request.app.openapi(), base=request.scope.get("root_path", "")))


@router.get("/docs.css")
async def style() -> Response:
    """Serve the page's style sheet."""
    return Response(_STYLE, media_type="text/css")


def page(document: dict[str, Any], *, base: str = "") -> str:
    """Render an OpenAPI document. Descriptions are escaped and never become markup."""
    found = [
        (method, path, operations[method])
        for path, operations in document["paths"].items()
        for method in _METHODS
        if method in operations
    ]
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        description=escape(info.get("description", "")),
        base=escape(base),
        contents=_list("".join(_entry(*operation) for operation in found)),
        operations="".join(_operation(*operation, document) for operation in found),
    )


def hoist(document: dict[str, Any]) -> None:
    """Move the definitions of hand-written schemas into the components, where references point."""
    named: dict[str, Any] = document["components"]["schemas"]

    def moved(node: Any) -> Any:
        if isinstance(node, list):
            return [moved(item) for item in node]
        if not isinstance(node, dict):
            return node
        for name, schema in node.pop("$defs", {}).items():
            named.setdefault(name, moved(schema))
        copy = {name: moved(value) for name, value in node.items()}
        if isinstance(copy.get("$ref"), str):
            copy["$ref"] = copy["$ref"].replace("#/$defs/", "#/components/schemas/")
        return copy

    document["paths"] = moved(document["paths"])


def _list(items: str) -> str:
    return f"<ul>{items}</ul>"


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("{", "").replace("}", "").replace("/", "-"))


def _entry(method: str, path: str, operation: dict[str, Any]) -> str:
    return f'<li><a href="#{_anchor(method, path)}">{escape(operation.get("summary", path))}</a></li>'


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    return (
        f'<article id="{_anchor(method, path)}"><h3><b>{method.upper()}</b> {escape(path)}</h3>'
        f"<p><strong>{escape(operation.get('summary', ''))}</strong></p>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"{_parameters(operation.get('parameters', []))}"
        f"{_schemas('Body', body, document)}"
        f"{_answers(operation['responses'], document)}</article>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    items = "".join(
        f"<dt>{escape(one['name'])} ({escape(one['in'])}{', required' if one.get('required') else ''})</dt>"
        f"<dd>{escape(one.get('description') or one.get('schema', {}).get('description', ''))}</dd>"
        for one in parameters
    )
    return f"<dl>{items}</dl>"


def _answers(responses: dict[str, Any], document: dict[str, Any]) -> str:
    good = "".join(
        _schemas(f"Answer {status}", answer.get("content", {}), document)
        for status, answer in responses.items()
        if status < "3"
    )
    items = "".join(
        f"<dt>{escape(status)}</dt><dd>{escape(answer.get('description', ''))}</dd>"
        for status, answer in responses.items()
    )
    return f"{good}<details><summary>Statuses</summary><dl>{items}</dl></details>"


def _schemas(title: str, content: dict[str, Any], document: dict[str, Any]) -> str:
    return "".join(
        f"<details><summary>{escape(title)}: {escape(kind)}</summary>"
        f"<pre>{escape(json.dumps(_resolved(body.get('schema', {}), document), indent=1))}</pre></details>"
        for kind, body in content.items()
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """Return a schema with its own reference resolved; inner references stay."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema
