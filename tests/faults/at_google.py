"""`python -m tests.faults.at_google CAPABILITY`: a worker whose person has the account in `TEST_CONNECTION`."""

import functools
import json
import os
import sys

import activities
from retinue.accounts.connection import Connection
from tests.accounts.fake_accounts import FakeAccounts
from workers import runner

if __name__ == "__main__":
    account = Connection.model_validate(json.loads(os.environ["TEST_CONNECTION"]))
    module = activities.load(sys.argv[1])
    vars(module)["plugin"] = functools.partial(module.plugin, accounts=FakeAccounts([account]))
    runner.main(sys.argv[1])
