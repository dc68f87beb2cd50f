// Makes one tree like another, touching only what differs: what has the focus, is open or half written stays.

export function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) return old.replaceWith(document.importNode(next, true));
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  attributes(old, next);
  if (old.hasAttribute("data-keep") && next.hasAttribute("data-keep")) return; // text that comes by events
  children(old, next);
}

function attributes(old, next) {
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !own(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !own(old, name)) old.setAttribute(name, value);
  }
}

// What the person did to it, and not the server. The key of a form too: it names what may have been sent already.
function own(node, name) {
  if (name === "value") return node === document.activeElement || node.name === "key";
  return name === "disabled" || (name === "open" && node.nodeName === "DETAILS");
}

function children(old, next) {
  const kept = new Map();
  for (const child of old.children) if (child.dataset?.key) kept.set(child.dataset.key, child);
  const keys = new Set([...next.children].map((child) => child.dataset?.key).filter(Boolean));
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = wanted.dataset?.key;
    const found = key ? kept.get(key) : null;
    if (found) {
      kept.delete(key);
      at = without(at, found, keys);
      if (found !== at) old.insertBefore(found, at);
      else at = at.nextSibling;
      morph(found, wanted);
    } else if (!key && at && !at.dataset?.key && at.nodeName === wanted.nodeName) {
      const following = at.nextSibling;
      morph(at, wanted);
      at = following;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
}

// Removes what stands before a node and is gone, so that the node need not be moved: what is moved loses the focus.
function without(at, found, keys) {
  let end = at;
  while (end && end !== found && !keys.has(end.dataset?.key)) end = end.nextSibling;
  if (end !== found) return at;
  while (at !== found) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
  return found;
}
