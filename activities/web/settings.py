"""Settings of the web capability: `WEB_*`."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from retinue.network.egress import WEB_PORTS, HostPort


def _parts(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _place(value: object) -> object:
    return HostPort.parse(value) if isinstance(value, str) else value


Place = Annotated[HostPort, BeforeValidator(_place)]
Port = Annotated[int, Field(ge=1, le=65535)]


class WebSettings(BaseSettings):
    """What may be read, and as whom. Built at the entry point and passed down."""

    model_config = SettingsConfigDict(env_prefix="WEB_", env_ignore_empty=True)

    timeout: float = Field(20, gt=0, le=30, description="seconds that one page may take, redirects and all")
    contact: str = Field(
        "",
        max_length=200,
        pattern=r"^[!-'*-~]*$",
        description="a mail address or a page where sites can complain, for the User-Agent",
    )
    ports: Annotated[frozenset[Port], NoDecode, BeforeValidator(_parts)] = Field(
        WEB_PORTS, description="ports that pages are read from"
    )
    allow_hosts: Annotated[frozenset[Place], NoDecode, BeforeValidator(_parts)] = Field(
        frozenset(), description="exact host:port pairs that are read although they are private, as an intranet's"
    )

    def user_agent(self, version: str) -> str:
        """Who asks, in the form that sites look for."""
        return f"retinue/{version} (+{self.contact})" if self.contact else f"retinue/{version}"
