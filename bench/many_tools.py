"""Fifty invented capabilities with five hundred tools, and requests that need some of them: for retrieval and prompt sizes.

Every capability keeps two kinds of things with the usual five and four tools, and does one thing of its own. Requests are
written by hand, as people say them, and not from the words of the tools. The last 39 were written when the ranking was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from retinue.capability import DESTRUCTIVE, OWN_WRITE, READ, SENDS, Annotations, Manifest, ToolSpec


@dataclass(frozen=True)
class _Kind:
    """One kind of things that a capability keeps: its noun, what is noted, and two ways in which people call it."""

    noun: str
    noted: str
    others: str

    @property
    def fields(self) -> list[str]:
        """The arguments of what is noted."""
        return [word.strip().replace(" ", "_") for word in self.noted.split(",")]

    def said(self, before: str, after: str = "") -> tuple[str, ...]:
        """Return example requests with its other names."""
        return tuple(f"{before} {other}{after}" for other in self.others.split("/"))


@dataclass(frozen=True)
class Wanted:
    """A request, and the tools that a plan for it needs."""

    text: str
    tools: tuple[str, ...]


# name | what it is | first kind: noun, noted, other names | second kind | its own tool: verb, what it does, an example
_DOMAINS = """
garden | Plants at home and when they are watered | plant: species, room, pot size: flower/houseplant | watering: plant, day, amount: drink for the plants/litres of water | diagnose_leaf: Say what ails a plant by a picture of its leaf: why are the leaves brown
recipes | Recipes and what is cooked when | recipe: title, servings, minutes: dish/something to cook | meal: day, recipe, guests: dinner/lunch on a day | scale_recipe: Compute the amounts for another number of servings: for eight people instead
pantry | Food in the kitchen with best-before dates | item: name, amount, best before: groceries/food at home | shopping entry: name, amount, shop: things to buy/shopping list | suggest_use: Suggest what to use up first: what goes bad soon
banking | Accounts, transfers and standing orders at the bank | transfer: recipient, iban, amount: payment/money sent to somebody | standing order: recipient, amount, rhythm: regular payment/monthly debit | show_balance: Show how much money is on an account: how much do I have left
invoices | Bills that were written to customers | invoice: customer, amount, due date: bill/amount owed by customers | payment reminder: invoice, text, fee: dunning letter/warning about an overdue bill | export_year: Export all of a year for the tax adviser: the books of last year
expenses | Receipts and travel costs for the employer | receipt: shop, amount, purpose: slip/proof of what I paid | claim: trip, total, comment: reimbursement/money back for a business trip | submit_month: Hand in all receipts of a month: send in my costs
flights | Flights: search, booking, check-in | flight: origin, destination, date: plane/way to fly | seat: flight, row, window: place on board/window or aisle | check_in: Check in and fetch the boarding pass: boarding card please
trains | Railway connections, tickets and delays | connection: origin, destination, departure: train/way by rail | ticket: connection, class, passengers: fare/railway ticket | watch_delay: Tell when a train is late: is it on time
hotels | Rooms for the night | room: town, nights, guests: place to stay/overnight room | stay: hotel, arrival, departure: booking/nights in a hotel | ask_hotel: Send a question to the reception: can we arrive late
rides | Cars with a driver | trip: pickup, destination, time: taxi/ride | driver rating: trip, stars, words: review/stars for the driver | estimate_fare: Say what a trip would cost: how much is a cab to the airport
parking | Parking spaces and their fees | space: street, level, price: car park/where to leave the car | session: plate, zone, until: parking time/parking fee | find_car: Show where the car was left: where did I park
fleet | Company cars | vehicle: plate, model, mileage: company car/van | service visit: vehicle, garage, date: inspection/repair in the garage | report_damage: Report a scratch or an accident: someone hit the van
fitness | Workouts and training plans | workout: sport, minutes, distance: training/run or swim | training plan: goal, weeks, days: programme/schedule to get fit | log_weight: Note the body weight: I weigh less now
sleep | Nights and how they were | night: bedtime, hours, quality: sleep/time in bed | alarm: time, weekdays, sound: wake-up call/time to get up | sleep_report: Sum up the nights of a week: how did I sleep
medication | Medicines and when they are taken | medicine: name, dose, stock: pills/drops | intake: medicine, time, with food: dose/pill that I took | check_interaction: Say whether two medicines go together: can I take both
doctors | Practices and appointments with them | practice: speciality, town, insurance: physician/specialist in a town | appointment: practice, reason, time: consultation/visit to the doctor | request_prescription: Ask a practice for a repeat prescription: I need a new prescription
pets | Animals at home, their food and their vet | animal: name, species, birthday: dog or cat/animal | vaccination: animal, vaccine, date: jab/shot for the animal | feeding_plan: Compute how much food an animal gets: how much should the puppy eat
school | Classes, homework and grades of the children | homework: subject, task, due date: assignment/exercise to do at home | grade: subject, mark, date: result of a test/mark in a subject | write_absence: Tell the school that a child stays at home: my son is ill today
library | Books on loan | book: title, author, shelf: novel/book | loan: book, due date, branch: borrowed book/books that are due | renew_all: Extend all loans: keep them a bit longer
reading | What was read and what is to be read | article: title, address, tags: text for later/page to read | highlight: article, passage, note: marked passage/quote from a text | summarise_week: Sum up what was read in a week: what did I read
music | Songs, playlists and what is playing | playlist: title, mood, songs: mix/songs for an evening | song: title, artist, album: track/tune | play_here: Play something in a room: put on some jazz
films | Films and series to watch | film: title, genre, service: movie/something to watch | watchlist entry: title, season, seen until: series/episodes | whats_on: Tell what cinemas show: anything good at the cinema
photos | Pictures and albums | picture: date, place, people: photo/snapshot of people | album: title, cover, shared with: photo book/collection of photos | find_duplicates: Find pictures that are there twice: clean up doubles
lights | Lamps in the house | lamp: room, brightness, colour: light/brighter or darker | scene: title, lamps, mood: lighting/mood in a room | all_off: Switch off every lamp in the house: lights out
heating | Temperature in the rooms | thermostat: room, target, mode: radiator/warmer or colder room | heating period: room, from, until: warm hours/heating at night | holiday_mode: Keep the house just above frost: we are away
energy | Electricity, gas and water used | meter reading: meter, value, date: counter/kilowatt hours | tariff: supplier, price, until: electricity contract/price of power | compare_tariffs: Look for a cheaper supplier: are we paying too much
security | Locks, cameras and the alarm of the house | door: name, lock state, battery: entrance/lock | camera clip: camera, time, length: recording/video of the camera | arm_alarm: Switch the alarm of the house on or off: we are leaving
vacuum | Robots that clean floors | cleaning: room, suction, passes: hoovering/clean floor | no-go zone: room, corner, reason: forbidden area/corner to leave out | send_home: Send the robot to its dock: stop cleaning
laundry | Washing machine and dryer | wash: programme, temperature, spin: load of clothes/washing | stain tip: stain, fabric, remedy: spot/dirt in a fabric | time_left: Tell when the machine is done: is the washing finished
deliveries | Parcels on their way | parcel: carrier, number, sender: package/shipment | return: shop, reason, label: item to send back/return label | redirect: Have a parcel left with a neighbour: I am not at home
orders | Orders at online shops | order: shop, article, price: purchase/what I bought | price alert: article, limit, shop: bargain/tell me when it is cheaper | track_refund: Tell whether the money came back: where is my refund
clothes | Wardrobe and outfits | garment: kind, colour, size: piece of clothing/shirt or shoes | outfit: occasion, garments, season: look/what to wear | pack_list: Say what to pack for a trip: what do I take along
projects | Work packages of a team | ticket: title, assignee, priority: issue/task of the team | milestone: title, date, owner: deadline/date of a release | burndown: Show how much work is left: will we be done in time
code | Repositories and changes to them | pull request: repository, branch, reviewers: change/code to review | build: repository, commit, status: pipeline/tests of the code | merge: Merge a change into the main branch: ship it
servers | Machines, their load and their alerts | machine: name, region, size: server/computer in the data centre | incident: service, severity, start: outage/something is down | restart_service: Restart a service: it hangs
wiki | Pages of the company's knowledge | page: title, space, text: article/page in the handbook | comment: page, text, author: remark/note under a page | page_history: Show who changed a page: who wrote that
crm | Customers and deals | customer: company, contact, sector: client/account | deal: customer, value, stage: opportunity/chance to sell | log_call: Note what was said on the phone: I just spoke to them
support | Requests of customers | case: customer, topic, urgency: complaint/question of a customer | canned answer: topic, text, language: template/prepared answer | escalate: Hand a case to the second level: too hard for me
hiring | Candidates and interviews | candidate: name, role, source: applicant/person who applied | interview: candidate, time, panel: job talk/conversation with an applicant | send_offer: Send an offer to a candidate: we want her
payroll | Salaries and payslips | employee: name, salary, start: colleague/member of staff | payslip: employee, month, net: salary statement/pay of a month | run_month: Pay all salaries of a month: pay everybody
leave | Holidays and sick days of employees | leave request: from, until, kind: vacation/days off | sick note: from, until, doctor: illness/certificate from the doctor | days_left: Say how many days of holiday remain: how much vacation have I got
meetings | Rooms and minutes of meetings | meeting room: floor, seats, screen: conference room/place to meet | minutes: meeting, decisions, owner: protocol/what was decided | book_equipment: Reserve a projector or a camera: we need a beamer
surveys | Questionnaires and their answers | survey: title, questions, until: poll/questionnaire | answer: survey, person, text: response/what somebody answered | survey_results: Sum up the answers: what did people say
newsletter | Letters to subscribers | issue: subject, text, date: newsletter/mailing | subscriber: address, name, since: reader/address on the list | send_test: Send a proof to oneself: let me see it first
social | Posts on social networks | post: text, picture, network: tweet/something to publish | follower: name, since, network: fan/person who follows us | post_statistics: Show how often a post was seen: how did it do
translation | Texts in other languages | translation: text, from, into: version in another language/say it in French | glossary term: term, language, meaning: technical word/how we translate a term | detect_language: Say in which language a text is: what language is this
maps | Places and ways between them | place: name, address, kind: spot/somewhere to go | saved route: start, destination, means: way/how to get there | travel_time: Say how long a way takes: how far is it
events | Concerts, fairs and tickets for them | concert: artist, venue, date: gig/live music | admission: event, category, price: entry/admission ticket | nearby_events: Find what is on around here: anything going on tonight
insurance | Policies and claims | policy: kind, insurer, premium: cover/insurance contract | damage claim: policy, date, damage: loss/something was stolen or broke | compare_policies: Compare what insurers offer: is there a better one
taxes | Declarations and what belongs to them | declaration: year, status, refund: tax return/form for the tax office | deduction: kind, amount, proof: what can be set off/cost that lowers the tax | estimate_tax: Estimate what is to be paid: how much will I owe
"""


# request | tools, by spaces
_REQUESTS = """
I bought a fern, it lives in the bathroom | garden.add_plant
The ficus died, take it out | garden.find_plants garden.remove_plant
Give the monstera half a litre on Sunday | garden.find_plants garden.add_watering
What could we cook with lentils? | recipes.find_recipes
Put the lasagne on Thursday's dinner | recipes.find_recipes recipes.add_meal
Make the pancakes for eight people instead of four | recipes.find_recipes recipes.scale_recipe
We are out of butter, put it on the list of things to buy | pantry.add_shopping_entry
Is there still any rice in the kitchen? | pantry.find_items
Which food should be eaten first? | pantry.suggest_use
Pay Maria 45 euros for the tickets by bank transfer | banking.add_transfer
How much money is left on my account? | banking.show_balance
Stop the monthly payment to the gym | banking.list_standing_orders banking.cancel_standing_order
Bill Ferreira Ltd. 1,200 for the workshop | invoices.add_invoice
Which customers have not paid their invoices? | invoices.find_invoices
Warn Ferreira that the bill is overdue | invoices.find_invoices invoices.add_payment_reminder
Keep the receipt of yesterday's lunch, 32 euros, client visit | expenses.add_receipt
Send in all my travel costs of October | expenses.submit_month
Are there planes to Lisbon on Friday evening? | flights.find_flights
I would rather sit at the window on that flight | flights.list_seats flights.update_seat
Get me the boarding pass for tomorrow | flights.check_in
What is the next train to Porto? | trains.find_connections
Buy two second class tickets for the train at 9 | trains.find_connections trains.add_ticket
Tell me if my train is late | trains.watch_delay
Look for a place to stay in Rome for three nights | hotels.find_rooms
Cancel our booking at the hotel in Rome | hotels.list_stays hotels.cancel_stay
Ask the hotel whether we may arrive after midnight | hotels.ask_hotel
I need a taxi to the station at six | rides.add_trip
How much would a cab to the airport cost? | rides.estimate_fare
Five stars for yesterday's driver | rides.find_trips rides.add_driver_rating
Where did I leave the car? | parking.find_car
Extend my parking time until eight | parking.list_sessions parking.update_session
The van got a scratch at the back | fleet.report_damage
When was the company car inspected last? | fleet.list_service_visits
I ran ten kilometres this morning | fitness.add_workout
Make me a training plan for a half marathon | fitness.add_training_plan
I weigh 72 kilos today | fitness.log_weight
How did I sleep last week? | sleep.sleep_report
Wake me at half past six on weekdays | sleep.add_alarm
Do we have enough of the blood pressure pills? | medication.find_medicines
Can I take ibuprofen together with aspirin? | medication.check_interaction
I took my dose of vitamin D at noon | medication.add_intake
Find a dermatologist in Coimbra | doctors.find_practices
Move my consultation with the dentist's practice to next week | doctors.list_appointments doctors.update_appointment
I need a repeat prescription for my asthma spray | doctors.request_prescription
Is the cat's rabies vaccination still good? | pets.list_vaccinations
How much should the puppy eat per day? | pets.feeding_plan
What homework does Leo have for Monday? | school.find_homeworks
My daughter is ill, tell the school | school.write_absence
She got an A in maths, note it | school.add_grade
Which of the books I borrowed are due this week? | library.list_loans
Keep all library books for longer | library.renew_all
Save this text for later reading | reading.add_article
Show the passages that I marked in the essay on bees | reading.list_highlights
Put on some jazz in the living room | music.play_here
Make a mix for the party | music.add_playlist
Delete the workout mix | music.find_playlists music.remove_playlist
What is on at the cinema tonight? | films.whats_on
We have seen the series up to season 3 | films.list_watchlist_entries films.update_watchlist_entry
Show pictures of Ana from last summer | photos.find_pictures
Share the photo book of the wedding with my sister | photos.list_albums photos.update_album
Dim the lamp in the kitchen to 30 percent | lights.find_lamps lights.update_lamp
Switch off all the lamps in the house | lights.all_off
Make the bedroom two degrees warmer | heating.find_thermostats heating.update_thermostat
We are away for two weeks, keep the house just free of frost | heating.holiday_mode
The electricity meter shows 45210 | energy.add_meter_reading
Is there a cheaper electricity supplier? | energy.compare_tariffs
Is the front door locked? | security.find_doors
Show last night's recording of the garage camera | security.list_camera_clips
Switch the alarm on, we are leaving | security.arm_alarm
Hoover the hall | vacuum.add_cleaning
Keep the robot away from the dog's corner | vacuum.add_no_go_zone
Is the washing finished? | laundry.time_left
How do I get red wine out of linen? | laundry.list_stain_tips
Where is my package from Berlin? | deliveries.find_parcels
I want to send the shoes back to the shop | deliveries.add_return
Tell me when the headphones cost less than 80 | orders.add_price_alert
Has the shop paid the money back? | orders.track_refund
What should I pack for Norway? | clothes.pack_list
Put together a look for the wedding | clothes.add_outfit
Give the login issue to Tom with high priority | projects.find_tickets projects.update_ticket
Will the team be done before the deadline? | projects.burndown
Which changes wait for my review? | code.find_pull_requests
Did the pipeline of the shop repository pass? | code.list_builds
Merge the change with the new logo | code.find_pull_requests code.merge
The mail service hangs, restart it | servers.restart_service
Open an outage for the payment service, severity 1 | servers.add_incident
Write a page about our holiday rules in the company's knowledge base | wiki.add_page
Who changed the page about backups? | wiki.page_history
I just spoke to Mr Silva on the phone, he wants a quote | crm.log_call
Move the Silva opportunity to the stage won | crm.list_deals crm.update_deal
A customer complains about the broken lid | support.add_case
This complaint is too hard for me, hand it to the second level | support.find_cases support.escalate
Who applied for the designer role? | hiring.find_candidates
Invite Rita to a job interview on Tuesday | hiring.find_candidates hiring.add_interview
Pay everybody's salary for November | payroll.run_month
Show my salary statement of May | payroll.list_payslips
How many days of vacation have I got? | leave.days_left
I would like to take the week of Christmas off | leave.add_leave_request
Find a conference room with ten seats | meetings.find_meeting_rooms
We need a projector on Thursday | meetings.book_equipment
Ask all colleagues in a poll where the party should be | surveys.add_survey
What did people say in the survey about lunch? | surveys.survey_results
Take old@example.com off the list of newsletter readers | newsletter.list_subscribers newsletter.cancel_subscriber
Send me a proof of the December newsletter first | newsletter.send_test
How often was yesterday's post seen? | social.post_statistics
Put the picture of the cake online with a funny text | social.add_post
What does this letter say in English? | translation.add_translation
What language is this? | translation.detect_language
How long does it take to walk to the harbour? | maps.travel_time
Remember this cafe as a nice spot | maps.add_place
Is there a gig of that band in spring? | events.find_concerts
What is going on around here tonight? | events.nearby_events
My bike was stolen, report the loss to the insurer | insurance.add_damage_claim
Which policies do we have for the house? | insurance.find_policys
How much tax will I owe this year? | taxes.estimate_tax
Set off the new desk in my tax return | taxes.add_deduction
My basil needs some water tomorrow | garden.add_watering
Which dishes do we have with mushrooms? | recipes.find_recipes
The milk is gone, write it down for the shop | pantry.add_shopping_entry
Send 200 euros to my landlord's account | banking.add_transfer
Which of my customers still owes me something? | invoices.find_invoices
I paid 12 euros for parking on the business trip, here is the slip | expenses.add_receipt
Book me a seat on the aisle | flights.update_seat
Buy a railway ticket to Faro | trains.add_ticket
I want a room in Evora for the weekend | hotels.find_rooms
Call me a cab home | rides.add_trip
Report that somebody dented the company van | fleet.report_damage
Note that I swam for 40 minutes | fitness.add_workout
I want to get up at seven tomorrow | sleep.add_alarm
I have taken my pills | medication.add_intake
Does the dog need a jab this year? | pets.list_vaccinations
When is the chemistry assignment due? | school.find_homeworks
Which novels are on my shelf? | library.find_books
Play something calm in the kitchen | music.play_here
Add the new series about chess to what I want to watch | films.add_watchlist_entry
Delete the blurred photos from Tuesday | photos.find_pictures photos.remove_picture
Make the living room lights warmer in colour | lights.update_lamp
How much power did we use, 320 kilowatt hours on the counter | energy.add_meter_reading
Lock the back door | security.find_doors security.update_door
When will the parcel from Lyon arrive? | deliveries.find_parcels
Who is working on the ticket about the search box? | projects.find_tickets
Ship the change that adds dark mode | code.merge
Something is down in Frankfurt, open an incident | servers.add_incident
What is the phone contact at Silva and Sons, our client? | crm.find_customers
Prepare an answer template for late deliveries | support.add_canned_answer
Make Joana an offer, we want her | hiring.send_offer
I am ill until Wednesday, the doctor gave me a certificate | leave.add_sick_note
Write down what we decided in the meeting | meetings.add_minutes
Start a questionnaire on the canteen | surveys.add_survey
Sign up ana@example.com for our mailing | newsletter.add_subscriber
Say good morning in Japanese | translation.add_translation
How far is it to the airport by bike? | maps.travel_time
Get two tickets for the fair | events.add_admission
Water came through the ceiling, tell the insurance | insurance.add_damage_claim
When do I get my tax money back? | taxes.find_declarations
"""


def manifests(tools: int = 500) -> list[Manifest]:
    """Return the first of them, with so many tools in all (a multiple of ten up to 500)."""
    lines = _DOMAINS.strip().splitlines()[: tools // 10]
    return [_manifest(*(part.strip() for part in line.split(" | "))) for line in lines]


def requests(known: list[Manifest]) -> list[Wanted]:
    """Return the requests for which these capabilities are enough."""
    names = {spec.name for manifest in known for spec in manifest.tools}
    lines = (line.split(" | ") for line in _REQUESTS.strip().splitlines())
    every = (Wanted(text, tuple(tools.split())) for text, tools in lines)
    return [wanted for wanted in every if set(wanted.tools) <= names]


def _manifest(name: str, what: str, first: str, second: str, own: str) -> Manifest:
    one, other = (_Kind(*(part.strip() for part in kind.split(":"))) for kind in (first, second))
    verb, does, example = (part.strip() for part in own.split(":"))
    tools = [*_five(name, one), *_four(name, other), _tool(f"{name}.{verb}", f"{does}.", SENDS, ["what"], (example,))]
    return Manifest(name=name, version="1.0.0", description=f"{what}.", task_queue=name, tools=tools)


def _five(name: str, kind: _Kind) -> Iterator[ToolSpec]:
    noun, id_ = kind.noun, f"{_word(kind.noun)}_id"
    yield _tool(f"{name}.find_{_word(noun)}s", f"Find {noun}s by {kind.noted}.", READ, ["query"], kind.said("which"))
    yield _tool(
        f"{name}.get_{_word(noun)}", f"Read one {noun} with all details.", READ, [id_], kind.said("details of the")
    )
    yield _tool(f"{name}.add_{_word(noun)}", f"Add a {noun}: {kind.noted}.", OWN_WRITE, kind.fields, kind.said("a new"))
    yield _tool(
        f"{name}.update_{_word(noun)}", f"Change one {noun}.", OWN_WRITE, [id_, *kind.fields], kind.said("correct the")
    )
    yield _tool(
        f"{name}.remove_{_word(noun)}", f"Remove one {noun} for good.", DESTRUCTIVE, [id_], kind.said("drop the")
    )


def _four(name: str, kind: _Kind) -> Iterator[ToolSpec]:
    noun, id_ = kind.noun, f"{_word(kind.noun)}_id"
    yield _tool(f"{name}.list_{_word(noun)}s", f"List {noun}s: {kind.noted}.", READ, ["query"], kind.said("show every"))
    yield _tool(
        f"{name}.add_{_word(noun)}", f"Enter a {noun}: {kind.noted}.", OWN_WRITE, kind.fields, kind.said("make a")
    )
    yield _tool(
        f"{name}.update_{_word(noun)}", f"Change one {noun}.", OWN_WRITE, [id_, *kind.fields], kind.said("change the")
    )
    yield _tool(
        f"{name}.cancel_{_word(noun)}", f"Cancel one {noun}.", DESTRUCTIVE, [id_], kind.said("no", " after all")
    )


def _tool(
    name: str, description: str, annotations: Annotations, fields: list[str], examples: tuple[str, ...]
) -> ToolSpec:
    text: dict[str, Any] = {"type": "string", "maxLength": 300}
    kept = {"type": "object", "properties": {"id": text, **dict.fromkeys(fields, text)}, "required": ["id", *fields]}
    several = {"type": "object", "properties": {"found": {"type": "array", "items": kept}, "match": kept}}
    return ToolSpec(
        name=name,
        title=description.partition(":")[0].rstrip(".")[:80],
        description=description,
        args_schema={"type": "object", "properties": dict.fromkeys(fields, text), "required": fields[:2]},
        result_schema=several if annotations is READ else kept,
        annotations=annotations,
        examples=examples,
    )


def _word(noun: str) -> str:
    return noun.replace(" ", "_").replace("-", "_")
