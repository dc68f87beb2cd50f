"""`workers.lambda_function.handler`: what Lambda calls. `RETINUE_CAPABILITY` names the capability that it serves."""

import os

from workers.lambda_worker import function

handler = function(os.environ["RETINUE_CAPABILITY"])
