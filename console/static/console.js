// The page, kept fresh. Everything works without this: here the server's own pages are fetched again and put in place.

import { morph } from "./morph.js";
import { follow } from "./follow.js";
import { keys } from "./keys.js";

const main = document.getElementById("main");
let asked = 0;
let isOffline = false;

async function refresh() {
  const mine = ++asked;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status >= 500) return offline(true);
    const text = await answer.text();
    if (mine !== asked) return;
    offline(false);
    if (answer.redirected && new URL(answer.url).pathname !== location.pathname) location.assign(answer.url);
    else place(text);
  } catch {
    offline(true);
  }
}

function place(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (fresh.querySelector("[data-lost]")) return offline(true); // what stands here is worth more
  const before = waiting();
  const said = latest();
  document.title = fresh.title;
  for (const id of ["main", "inbox-count"]) {
    const [old, next] = [document.getElementById(id), fresh.getElementById(id)];
    if (old && next) morph(old, next);
  }
  const more = waiting() - before;
  if (more > 0) say(more === 1 ? "A decision waits for you." : `${more} decisions wait for you.`);
  dress();
  if (latest() !== said || more > 0) show(more > 0);
}

function latest() {
  return [...main.querySelectorAll(".messages > li:not(#writing)")].at(-1)?.dataset.key;
}

// Somebody who writes in a chat sees what comes next: the field below the answer, or what waits for a decision.
function show(decision) {
  const field = document.activeElement.closest?.("form.say");
  const next = decision ? main.querySelector(".decision:not(.settled)") : field;
  if (field) next?.scrollIntoView({ block: "nearest" });
}

function waiting() {
  return main.querySelectorAll(".decision:not(.settled)").length;
}

function say(text) {
  document.getElementById("live").textContent = text;
}

function offline(yes) {
  if (isOffline && !yes) setTimeout(refresh);
  isOffline = yes;
  document.getElementById("offline").hidden = !yes;
}

function count(number) {
  const badge = document.getElementById("inbox-count");
  badge.hidden = !number;
  badge.firstChild.data = String(number);
  document.title = (number ? `(${number}) ` : "") + document.title.replace(/^\(\d+\) /, "");
}

// Forms go their usual way; those marked are sent beside the page, so that it does not jump.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const button = event.submitter;
  const sure = button?.dataset.sure || form.dataset.sure;
  if (sure && !confirm(sure)) return event.preventDefault();
  for (const field of form.querySelectorAll("[data-timezone]")) field.value = zone();
  if (!("live" in form.dataset)) return;
  event.preventDefault();
  const filled = new URLSearchParams(new FormData(form));
  if (button?.name) filled.set(button.name, button.value);
  const buttons = [...form.querySelectorAll("button")];
  for (const one of buttons) one.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: filled });
    const text = await answer.text();
    offline(answer.status >= 500);
    if (answer.status < 500) renew(form);
    if (answer.ok && new URL(answer.url).pathname === location.pathname) sent(form, text);
    else if (answer.ok) location.assign(answer.url);
    else problem(text);
  } catch {
    offline(true);
  } finally {
    for (const one of buttons) one.disabled = false;
  }
});

// The key names one thing to be done: sent again because no answer came, it is still the same, and done once.
function renew(form) {
  const key = form.elements.key;
  if (key) key.value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sent(form, text) {
  form.reset();
  document.querySelector(".problem")?.remove();
  asked++;
  place(text);
  const said = new DOMParser().parseFromString(text, "text/html").getElementById("said");
  if (said) say(said.textContent);
}

function problem(text) {
  const found = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  const words = [...(found?.querySelectorAll("h1, .detail, .banner.bad") ?? [])].map((one) => one.textContent.trim());
  document.querySelector(".problem")?.remove();
  const banner = document.createElement("div");
  banner.className = "banner bad problem";
  banner.setAttribute("role", "alert");
  banner.textContent = words.join(": ") || "That did not work. Please try again.";
  main.before(banner);
  banner.scrollIntoView({ block: "nearest" });
  refresh();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches?.("[data-send-on-enter]")) {
    event.preventDefault();
    if (event.target.value.trim()) event.target.form.requestSubmit();
  }
});

document.addEventListener("click", (event) => {
  const like = event.target.closest?.("[data-choose]")?.dataset.choose;
  if (like) for (const box of main.querySelectorAll("[data-like]")) box.checked = box.dataset.like === like;
});

function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

// What only the browser knows: the clock. And what only works with scripts.
function dress() {
  const now = Date.now();
  for (const left of document.querySelectorAll("[data-until]")) {
    const seconds = Math.round((Date.parse(left.dataset.until) - now) / 1000);
    left.textContent = seconds > 0 ? `expires in ${lasting(seconds)}` : "expired";
  }
  for (const since of document.querySelectorAll("[data-since]")) {
    since.textContent = lasting(Math.max(0, Math.round((now - Date.parse(since.dataset.since)) / 1000)));
  }
  for (const one of document.querySelectorAll("[data-choose], .keys")) one.hidden = false;
}

function lasting(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// The server writes times on the clock that this cookie names.
function rememberZone() {
  const wanted = `retinue_tz=${encodeURIComponent(zone())}`;
  if (document.cookie.split("; ").includes(wanted)) return;
  document.cookie = `${wanted}; path=/; max-age=31536000; samesite=lax`;
  if (zone() !== main.dataset.zone && document.querySelector("time")) refresh();
}

rememberZone();
dress();
setInterval(dress, 1000);
keys(main);
follow(main, { refresh, offline, count });
