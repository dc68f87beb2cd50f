"""Where the web capability becomes a worker: its contract, and a plugin that holds the guarded client open."""

from temporalio.plugin import SimplePlugin

from activities.web.contract import Web
from activities.web.pages import Pages
from activities.web.settings import WebSettings
from activities.web.tools import WebTools
from retinue.activity_adapter import build_activities, keep_open
from retinue.network.egress import Egress, guarded_client
from retinue.tenancy import ANY_TENANT
from retinue.times import present

CONTRACT = Web
_HINT = "who runs Retinue can open single places by WEB_ALLOW_HOSTS"


def plugin(settings: WebSettings | None = None) -> SimplePlugin:
    """Return the worker's part of this capability: its tools, and a client that is closed when the worker stops."""
    settings = settings or WebSettings()
    egress = Egress(allow=settings.allow_hosts, ports=settings.ports, hint=_HINT)
    client = guarded_client(egress, timeout=settings.timeout / 2, user_agent=settings.user_agent(Web.version))

    tools = WebTools(Pages(client, deadline=settings.timeout, clock=present))
    return SimplePlugin(Web.name, activities=build_activities(tools, tenant=ANY_TENANT), run_context=keep_open(client))
