"""What runs where: the activities of memory on the queue of that name, with a store that lives as long as they."""

from temporalio.plugin import SimplePlugin

from activities.memory.contract import Memory
from activities.memory.models import MemoryBase
from activities.memory.settings import MemorySettings
from activities.memory.tools import MemoryTools
from retinue.activity_adapter import build_activities, keep_open
from retinue.store import Store
from retinue.tenancy import ANY_TENANT

CONTRACT = Memory


def plugin(settings: MemorySettings | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability."""
    settings = settings or MemorySettings()
    store = Store(settings.database_url, MemoryBase.metadata, owner=CONTRACT.name)

    calls = build_activities(MemoryTools(store), tenant=ANY_TENANT)
    return SimplePlugin(CONTRACT.name, activities=calls, run_context=keep_open(store))
