"""The floor: the same job as a bare workflow, as a good engineer writes it by hand when nothing else is asked for."""
