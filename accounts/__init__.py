"""The accounts service: the only place that keeps people's secrets for services elsewhere. It imports `retinue` alone."""
