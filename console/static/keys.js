// Shortcuts among decisions. They press the same buttons that are on the page.

export function keys(main) {
  let chosen = -1;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const cards = [...main.querySelectorAll(".decision:not(.settled)")];
    if (!cards.length) return;
    const card = cards[Math.max(0, Math.min(chosen, cards.length - 1))];
    switch (event.key) {
      case "j": chosen = choose(cards, chosen + 1); break;
      case "k": chosen = choose(cards, chosen - 1); break;
      case "a": if (chosen >= 0) press(card, "button[value=approve]"); break;
      case "r": if (chosen >= 0) press(card, "button[value=reject]"); break;
      case "e": if (chosen >= 0) press(card, "a[href*='edit=1']"); break;
      case "x": if (chosen >= 0) press(card, "input[name=pick]"); break;
      default: return;
    }
    event.preventDefault();
  });
}

function choose(cards, wanted) {
  const at = Math.max(0, Math.min(wanted, cards.length - 1));
  for (const [index, card] of cards.entries()) card.classList.toggle("chosen", index === at);
  cards[at].scrollIntoView({ block: "nearest" });
  return at;
}

function press(card, selector) {
  card.querySelector(selector)?.click();
}
