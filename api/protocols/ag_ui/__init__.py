"""The AG-UI protocol: a run as a stream of events, with approvals and questions as interrupts."""
