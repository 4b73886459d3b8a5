/* What makes the pages a little handier. Without it everything works: links and forms do the rest. */
"use strict";

const EVERY = 5000; // milliseconds between two looks at the list

for (const shown of document.querySelectorAll("[data-with-script], [data-copy]")) shown.hidden = false;

/* Copying an id. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const before = button.getAttribute("aria-label");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    button.setAttribute("aria-label", "Copied");
  } catch {
    button.setAttribute("aria-label", "Your browser does not let pages copy");
  }
  setTimeout(() => {
    button.classList.remove("done");
    button.setAttribute("aria-label", before);
  }, 1500);
});

/* The list of decisions, kept fresh while it is looked at. */
const list = document.querySelector("[data-live]");
const toggle = document.querySelector("[data-live-toggle]");
if (list && toggle) {
  const word = toggle.querySelector("[data-live-word]");
  const said = document.querySelector("[data-live-said]");
  let on = true;
  let timer = 0;

  const ids = () => new Set(Array.from(list.querySelectorAll("[data-id]"), (row) => row.dataset.id));

  const show = (html) => {
    const known = ids();
    const held = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    list.replaceChildren(...fresh.childNodes);
    const added = Array.from(ids()).filter((id) => !known.has(id));
    for (const id of known.size ? added : []) list.querySelector(`[data-id="${CSS.escape(id)}"]`).classList.add("fresh");
    if (added.length) said.textContent = `${added.length} new decision${added.length > 1 ? "s" : ""}`;
    if (held) list.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
  };

  const state = (text, live) => {
    on = live;
    word.textContent = text;
    toggle.setAttribute("aria-pressed", String(live));
  };

  const look = async () => {
    clearTimeout(timer);
    if (!on || document.hidden) return;
    try {
      const reply = await fetch(list.dataset.live, { redirect: "manual", headers: { accept: "text/html" } });
      if (!on) return;
      if (reply.ok) {
        show(await reply.text());
        state("Live", true);
      } else if (reply.type === "opaqueredirect") {
        state("Logged out", false);
        said.textContent = "Your session has ended. Open the page again to log in.";
        return;
      } else {
        state("Trying again", true);
      }
    } catch {
      state("Trying again", true); // the server is away for a moment
    }
    timer = setTimeout(look, EVERY);
  };

  toggle.hidden = false;
  document.querySelector(".without-script").hidden = true;
  toggle.addEventListener("click", () => {
    state(on ? "Paused" : "Live", !on);
    if (on) look();
    else clearTimeout(timer);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else look();
  });
  timer = setTimeout(look, EVERY);
}

/* The review queue: 1, 2 and 3 press the buttons, but only while these have the focus. */
const verdicts = document.querySelector("[data-keys]");
if (verdicts) {
  if (!location.hash) verdicts.focus({ preventScroll: true });
  verdicts.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const button = verdicts.querySelectorAll("button")[Number(event.key) - 1];
    if (button) {
      event.preventDefault();
      button.click();
    }
  });
}
