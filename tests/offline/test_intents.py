"""The classifier that says what a request is about: its file is of today, and it knows phrases that it was not trained on."""

import json

import pytest

from deploy import intents as training
from offline.planner.intents import NONE, WEIGHTS, fitting, guesses, nearest, weights
from offline.planner.readings import READINGS

UNSEEN = {
    "whats going on in my diary this friday": "calendar.list_events",
    "is there a slot for me on thursday morning": "calendar.find_free_time",
    "could you pop a chat with marta into my diary on tuesday at 11": "calendar.create_event",
    "shift the budget review over to wednesday 3pm": "calendar.update_event",
    "please call off friday's team breakfast": "calendar.delete_event",
    "will we see any rain in ghent at the weekend": "weather.forecast",
    "what time will the sun go down in malaga": "weather.sun",
    "drop rafael a mail that the keys are under the mat": "email.send",
    "anything unread from the school": "email.search",
    "open the most recent message from ines": "email.read",
    "which number does ingrid have": "contacts.find",
    "save hugo@example.org in my contacts": "contacts.add",
    "get descale the kettle onto my todo list, please": "tasks.add",
    "what do i still have on my task list": "tasks.list",
    "tick descale the kettle off my list": "tasks.complete",
    "nudge me at 5 to leave for the train": "tasks.remind",
    "i no longer want the reminder about the train, cancel it": "tasks.cancel_reminder",
    "look at https://example.net/today": "web.fetch",
}
ELSEWHERE = [
    "end my broadband contract",
    "fetch me an uber to the station",
    "make the living room warmer",
    "put on the new album by the band",
    "whats 17 times 23",
    "send forty pounds to my landlord's account",
    "how long do i boil asparagus",
    "who painted the night watch",
    "i feel great",
    "find a cheap flight to naples",
]


def test_the_file_is_made_from_the_phrases_that_are_here() -> None:
    made_from = json.loads(WEIGHTS.read_text("utf-8"))["made_from"]
    assert made_from == training.digest(training.examples()), "run `python -P -m deploy.intents`"


@pytest.mark.parametrize(("text", "intent"), UNSEEN.items(), ids=UNSEEN.keys())
def test_a_request_in_other_words_is_recognised(text: str, intent: str) -> None:
    assert fitting(text)[0].intent == intent


@pytest.mark.parametrize("text", ELSEWHERE)
def test_what_no_tool_does_is_recognised(text: str) -> None:
    assert fitting(text)[0].intent == NONE


def test_no_phrase_of_these_tests_was_trained_on() -> None:
    trained = {text.casefold() for text, _ in training.examples()}
    assert not trained & {*UNSEEN, *ELSEWHERE}


@pytest.mark.parametrize("text", ["", " ", "🍕", "x" * 20_000, "\u200b", "?!"])
def test_odd_text_has_guesses_too(text: str) -> None:
    assert sum(guess.sure for guess in guesses(text)) == pytest.approx(1)
    assert fitting(text)


def test_there_is_something_short_to_offer_for_every_intent_that_is_read() -> None:
    assert {intent for intent in READINGS if len(weights().offers.get(intent, "x" * 60)) > 45} <= {
        "contacts.update",
        "meeting.enter",
    }
    assert len(nearest(())) == len(nearest(("tasks.add", "tasks.list", "email.send"))) == 2
