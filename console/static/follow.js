// Looks when there is something new: by the run's own events, and by asking how much waits.

const PAUSE = 150;
const LOOK = 2000;
const ALL = 12000;
const AGAIN = 3000;
const KINDS = ["plan", "step", "approval", "question", "message", "usage", "status"];

export function follow(main, page) {
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(page.refresh, PAUSE);
  };
  if (main.dataset.stream) stream(main, page, soon);
  if (document.getElementById("inbox-count")) inbox(main, page, soon);
  if (main.dataset.again) setInterval(page.refresh, LOOK);
  addEventListener("online", page.refresh);
  addEventListener("offline", () => page.offline(true));
  document.addEventListener("visibilitychange", () => document.hidden || page.refresh());
}

// A browser keeps few connections to one site, so a page that nobody sees gives its own back.
function stream(main, page, soon) {
  let source = listen(main, page, soon);
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) source = listen(main, page, soon);
  });
  setInterval(() => {
    if (document.hidden || source.readyState !== EventSource.CLOSED) return;
    if (!source.isOver) source = listen(main, page, soon);
    else if (main.querySelector("[data-going-on]")) soon(); // what is undone after the end
  }, AGAIN);
}

function listen(main, page, soon) {
  const source = new EventSource(main.dataset.stream);
  const written = new Map();
  for (const kind of KINDS) source.addEventListener(kind, soon);
  source.addEventListener("text", (event) => write(main, written, JSON.parse(event.data)));
  source.addEventListener("end", () => {
    source.isOver = true;
    source.close();
    soon();
  });
  source.addEventListener("open", () => page.offline(false));
  source.addEventListener("error", page.refresh);
  return source;
}

// What a model is still writing: text, and nothing but text. Offsets count characters, not UTF-16 units.
function write(main, written, piece) {
  const letters = (written.get(piece.about) || []).slice(0, piece.offset).concat([...piece.text]);
  written.set(piece.about, letters);
  const bubble = main.querySelector("#writing .bubble");
  if (piece.about === "reply" && bubble) bubble.textContent = letters.join("");
}

function inbox(main, page, soon) {
  let known = Number(document.getElementById("inbox-count").firstChild.data);
  let tag = "";
  let looked = Date.now();
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/v1/approvals?limit=0", { headers: tag ? { "If-None-Match": tag } : {} });
      page.offline(answer.status >= 500);
      if (answer.ok) {
        tag = answer.headers.get("ETag") || "";
        const { waiting } = await answer.json();
        if (known !== waiting && main.dataset.refresh) soon();
        known = waiting;
        page.count(waiting);
      }
    } catch {
      page.offline(true);
    }
    if (main.dataset.refresh && Date.now() - looked > ALL) {
      looked = Date.now();
      soon();
    }
  };
  setInterval(look, LOOK);
}
