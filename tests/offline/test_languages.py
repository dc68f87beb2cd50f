"""The commonest requests in German, French and Spanish, dates included; what is no request of theirs stays refused."""

import json
from typing import Any

import pytest

from offline.answers import complete
from offline.planner.languages import in_english, language_of
from offline.protocol import ChatRequest

from .conftest import planning_messages

TOMORROW = {"start": "2026-11-23T00:00:00+01:00", "end": "2026-11-24T00:00:00+01:00"}
PLANNED: dict[str, tuple[str, dict[str, Any]]] = {
    # German
    "Was steht morgen in meinem Kalender?": ("calendar.list_events", TOMORROW),
    "zeig mir meine termine am donnerstag": ("calendar.list_events", {"start": "2026-11-26T00:00:00+01:00"}),
    "Wann ist mein Friseurtermin?": ("calendar.list_events", {"query": "Friseurtermin"}),
    "wann bin ich morgen frei": ("calendar.find_free_time", {"start": "2026-11-23T09:00:00+01:00"}),
    "Trag bitte Zahnarzt am Donnerstag um 15 Uhr ein": (
        "calendar.create_event",
        {"title": "Zahnarzt", "start": "2026-11-26T15:00:00+01:00"},
    ),
    "Abendessen mit Lena am 5. Dezember um 19:30 Uhr": (
        "calendar.create_event",
        {"title": "Abendessen mit Lena", "start": "2026-12-05T19:30:00+01:00"},
    ),
    "Verschiebe die Chorprobe auf Freitag um 10 Uhr": (
        "calendar.update_event",
        {"start": "2026-11-27T10:00:00+01:00"},
    ),
    "Sag das Meeting mit Petra morgen ab": ("calendar.delete_event", {}),
    "Wie wird das Wetter übermorgen in Kiel?": ("weather.forecast", {"place": "Kiel", "start": "2026-11-24"}),
    "regnet es am wochenende in Bonn": ("weather.forecast", {"place": "Bonn"}),
    "Schreib eine Mail an Ana, dass ich später komme": ("email.send", {"body": "ich später komme"}),
    "habe ich neue mails von Peter": ("email.search", {"query": "Peter", "unread": True}),
    "Setze Brot kaufen auf meine Aufgabenliste": ("tasks.add", {"title": "Brot kaufen"}),
    "Was muss ich heute noch erledigen?": ("tasks.list", {}),
    "Erinnere mich morgen um 9 Uhr daran, Oma anzurufen": (
        "tasks.remind",
        {"title": "Oma anzurufen", "at": "2026-11-23T09:00:00+01:00"},
    ),
    "Wie ist die Telefonnummer von Jonas?": ("contacts.find", {"name": "Jonas"}),
    # French
    "Qu'est-ce que j'ai demain dans mon agenda ?": ("calendar.list_events", TOMORROW),
    "montre-moi mes rendez-vous de la semaine prochaine": (
        "calendar.list_events",
        {"start": "2026-11-23T00:00:00+01:00"},
    ),
    "quand suis-je libre jeudi": ("calendar.find_free_time", {"start": "2026-11-26T09:00:00+01:00"}),
    "Ajoute un déjeuner avec Paul vendredi à 13h": (
        "calendar.create_event",
        {"title": "Déjeuner avec Paul", "start": "2026-11-27T13:00:00+01:00"},
    ),
    "Déplace ma réunion à lundi à 10h30": ("calendar.update_event", {"start": "2026-11-23T10:30:00+01:00"}),
    "Annule mon cours de yoga demain": ("calendar.delete_event", {}),
    "Quel temps fera-t-il à Lyon demain ?": ("weather.forecast", {"place": "Lyon", "start": "2026-11-23"}),
    "va-t-il pleuvoir à Nantes ce week-end": ("weather.forecast", {"place": "Nantes"}),
    "Envoie un mail à Ana pour dire que je suis en retard": ("email.send", {"body": "je suis en retard"}),
    "Ai-je de nouveaux mails ?": ("email.search", {"unread": True}),
    "Ajoute acheter du pain à ma liste de tâches": ("tasks.add", {"title": "acheter du pain"}),
    "quelles sont mes tâches": ("tasks.list", {}),
    "Rappelle-moi demain à 9h de payer le loyer": (
        "tasks.remind",
        {"title": "payer le loyer", "at": "2026-11-23T09:00:00+01:00"},
    ),
    "Quel est le numéro de Sophie ?": ("contacts.find", {"name": "Sophie"}),
    # Spanish
    "¿Qué tengo mañana en mi agenda?": ("calendar.list_events", TOMORROW),
    "muéstrame mis citas de esta semana": ("calendar.list_events", {"start": "2026-11-22T00:00:00+01:00"}),
    "¿cuándo estoy libre el jueves?": ("calendar.find_free_time", {"start": "2026-11-26T09:00:00+01:00"}),
    "Pon una comida con Ana el viernes a las 13:00": (
        "calendar.create_event",
        {"title": "Comida con Ana", "start": "2026-11-27T13:00:00+01:00"},
    ),
    "Mueve mi reunión de equipo al lunes a las 10": (
        "calendar.update_event",
        {"start": "2026-11-23T10:00:00+01:00"},
    ),
    "Cancela mi clase de yoga mañana": ("calendar.delete_event", {}),
    "¿Qué tiempo hará en Sevilla el sábado?": ("weather.forecast", {"place": "Sevilla", "start": "2026-11-28"}),
    "va a llover en Madrid mañana": ("weather.forecast", {"place": "Madrid", "start": "2026-11-23"}),
    "Envía un correo a Luis diciendo que llego tarde": ("email.send", {"body": "llego tarde"}),
    "¿Tengo correos nuevos?": ("email.search", {"unread": True}),
    "Añade comprar pan a mi lista de tareas": ("tasks.add", {"title": "comprar pan"}),
    "¿cuáles son mis tareas?": ("tasks.list", {}),
    "Recuérdame mañana a las 9 llamar a mamá": (
        "tasks.remind",
        {"title": "llamar a mamá", "at": "2026-11-23T09:00:00+01:00"},
    ),
    "¿Cuál es el número de Carmen?": ("contacts.find", {"name": "Carmen"}),
}
REFUSED = [
    "bestell mir eine pizza",
    "Kündige mein Netflix-Abo",
    "mach das licht an",
    "Wer ist der Bundeskanzler?",
    "commande une pizza",
    "éteins la lumière",
    "quelle est la capitale de l'Espagne",
    "pide una pizza",
    "apaga la luz",
    "¿quién es el presidente?",
]
ASKED = {
    "Plane ein Mittagessen mit Tom": "On which day",
    "Abendessen mit Lena am Freitag um halb acht": "7:30 am or 7:30 pm",
    "Rappelle-moi d'appeler le dentiste": "On which day and at what time?",
    "¿Qué tiempo hará mañana?": "For which place?",
}


def _plan(agents: list[dict[str, Any]], *said: str) -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    request = {"model": "offline", "messages": planning_messages(agents, *said), "response_format": wanted}
    plan: dict[str, Any] = json.loads(complete(ChatRequest.model_validate(request)).text)
    return plan


@pytest.mark.parametrize(("text", "wanted"), PLANNED.items(), ids=PLANNED.keys())
def test_a_request_in_another_language_is_planned(
    agents: list[dict[str, Any]], text: str, wanted: tuple[str, dict[str, Any]]
) -> None:
    steps = {step["tool"]: step["args"] for step in _plan(agents, text)["steps"]}
    tool, args = wanted
    assert tool in steps
    assert {name: steps[tool].get(name) for name in args} == args


@pytest.mark.parametrize("text", REFUSED)
def test_what_no_tool_does_stays_undone(agents: list[dict[str, Any]], text: str) -> None:
    assert _plan(agents, text)["steps"] == []


@pytest.mark.parametrize(("text", "asked"), ASKED.items(), ids=ASKED.keys())
def test_what_is_missing_is_asked(agents: list[dict[str, Any]], text: str, asked: str) -> None:
    assert asked in (_plan(agents, text)["question"] or "")


def test_an_answer_may_be_in_that_language_too(agents: list[dict[str, Any]]) -> None:
    plan = _plan(agents, "Plane ein Mittagessen mit Tom", "On which day and at what time?", "am Freitag um 12:30 Uhr")
    assert plan["steps"][0]["args"]["start"] == "2026-11-27T12:30:00+01:00"


def test_quoted_text_and_english_stay_as_they_are() -> None:
    text = "What is on my calendar tomorrow?"
    assert (language_of(text), in_english(text)) == (None, text)
    assert '"morgen um 9"' in in_english('Erinnere mich heute um 18 Uhr an "morgen um 9"')
