"""The drawer of `rolling` as a Lambda function: its steps last as long as they are asked to."""

import activities
from tests.deploy.rolling import Drawer, drawer
from workers.lambda_worker import function

activities.load = lambda name: drawer(Drawer.version)
handler = function("drawer")
