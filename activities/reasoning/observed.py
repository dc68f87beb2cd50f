"""What traces and metrics show of a request to a language model: which model, how many tokens; never what was said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from activities.reasoning.endpoint import Failure
from retinue.conversation import ModelUse
from retinue.runtime import telemetry
from retinue.temporal import metrics

_MILLION = 1_000_000


@contextmanager
def observed(model: str) -> Iterator[Callable[[ModelUse], None]]:
    """Record the block as one request to a model; call what it yields with what the answer used."""
    attributes = {"gen_ai__operation__name": "chat", "gen_ai__request__model": model}
    with telemetry.span(f"chat {model}", outgoing=True, **attributes) as span:

        def seen(use: ModelUse) -> None:
            span.set(
                gen_ai__usage__input_tokens=use.input_tokens,
                gen_ai__usage__output_tokens=use.output_tokens,
            )
            metrics.count(metrics.MODEL_CALLS, model=model, outcome="ok")
            metrics.count(metrics.MODEL_TOKENS, use.input_tokens, model=model, direction="input")
            metrics.count(metrics.MODEL_TOKENS, use.output_tokens, model=model, direction="output")
            metrics.count(metrics.MODEL_COST, round(use.cost * _MILLION), model=model)

        try:
            yield seen
        except Failure as failure:
            outcome = type(failure.error).__name__
            span.fails(outcome)
            metrics.count(metrics.MODEL_CALLS, model=model, outcome=outcome)
            raise
