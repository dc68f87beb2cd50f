"""The web tools: they only read, so there is no store and no ledger."""

from activities.web.contract import FetchRequest, Page, Web
from activities.web.pages import Pages


class WebTools(Web):
    """The contract over `Pages`."""

    def __init__(self, pages: Pages) -> None:
        """Read from `pages`."""
        self._pages = pages

    async def fetch(self, wish: FetchRequest) -> Page:
        """Read the page, or what was read of it a few minutes ago."""
        return await self._pages.read(wish.url)
