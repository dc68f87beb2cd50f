"""What a browser's form has sent, and where the browser goes then."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from console.forms import Unreadable
from retinue.client import InvalidArguments

_MOST_FIELDS = 500


async def filled(request: Request) -> dict[str, str]:
    """Return the fields of a form."""
    return dict(await form_fields(request))


async def form_fields(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form in their order, each as often as it was sent."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Unreadable({"": f"a form has at most {_MOST_FIELDS} fields"}) from None


def redirect(path: str, said: str = "") -> Response:
    """Redirect to one of our pages, by GET."""
    own = own_path(path)
    return RedirectResponse(f"{own}?{urlencode({'said': said})}" if said and "?" not in own else own, 303)


def own_path(path: str) -> str:
    """Return a local path; `/` for anything else."""
    found = urlsplit(path)
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and not found.scheme and not found.netloc
    return path if is_own and path.isprintable() else "/"


def errors_by_field(error: Unreadable | InvalidArguments, root: str = "") -> dict[str, str]:
    """Return the errors by field; general errors have an empty name."""
    if isinstance(error, Unreadable):
        return error.errors
    found = {one.pointer.removeprefix(root): one.detail for one in error.errors if one.pointer.startswith(f"{root}/")}
    return found or {"": str(error)}


Form = Annotated[dict[str, str], Depends(filled)]
