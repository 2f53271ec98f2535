// Replaces the sections that the server sends. Without JavaScript the page is complete, and loads again every 10 s.
"use strict";
const SILENT_MS = 5000;
const live = document.getElementById("live");
const pause = document.getElementById("pause");
const filter = document.getElementById("filter");
let level = document.querySelector("[data-level]").dataset.level;
let heardAt = Date.now();
let waiting = null; // the posts that came during a pause

function localTimes(root) {
  for (const each of root.querySelectorAll("time")) {
    const moment = new Date(each.dateTime);
    each.textContent = moment.toLocaleTimeString([], { hour12: false });
  }
}

function replace(name, html) {
  const section = document.getElementById(name);
  const open = new Map([...section.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
  const scrolled = [...section.querySelectorAll("[tabindex]")].map((each) => each.scrollTop);
  const path = focusPath(section);
  section.innerHTML = html;
  for (const each of section.querySelectorAll("details[id]")) if (open.has(each.id)) each.open = open.get(each.id);
  section.querySelectorAll("[tabindex]").forEach((each, at) => { each.scrollTop = scrolled[at] || 0; });
  localTimes(section);
  drawCharts(section);
  const focused = path && section.querySelector(path);
  if (focused) focused.focus({ preventScroll: true });
}

function focusPath(section) {
  let each = document.activeElement;
  if (!section.contains(each) || each === section) return null;
  const steps = [];
  for (; each !== section; each = each.parentElement) {
    steps.unshift(`:nth-child(${[...each.parentElement.children].indexOf(each) + 1})`);
  }
  return `:scope > ${steps.join(" > ")}`;
}

function show(sections) {
  for (const [name, html] of Object.entries(sections)) {
    if (name === "posts" && pause.getAttribute("aria-pressed") === "true") waiting = html;
    else replace(name, html);
  }
  if ("posts" in sections) applyFilter();
  const title = document.querySelector("[data-level]");
  if (title.dataset.level !== level) {
    level = title.dataset.level;
    document.getElementById("announcement").textContent = title.textContent;
  }
  document.title = `${level === "green" ? "" : `${level}: `}Data Collection`;
}

function applyFilter() {
  const wanted = filter.value.toLowerCase();
  let shown = 0;
  const posts = document.querySelectorAll("#posts li");
  for (const post of posts) {
    post.hidden = !post.textContent.toLowerCase().includes(wanted);
    shown += !post.hidden;
  }
  document.getElementById("matches").textContent = wanted ? `${shown} of ${posts.length}` : "";
}

pause.addEventListener("click", () => {
  const pressed = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(pressed));
  if (!pressed && waiting !== null) {
    replace("posts", waiting);
    waiting = null;
    applyFilter();
  }
});
filter.addEventListener("input", applyFilter);
// A click on the bar opens the incident in the list. Browsers that do this for each fragment find it open.
document.getElementById("ledger").addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  let each = link && document.getElementById(link.getAttribute("href").slice(1));
  for (; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
});
localTimes(document);
drawCharts(document);
document.documentElement.classList.add("live");
live.textContent = "live";
const source = new EventSource("events");
source.onmessage = (event) => { heardAt = Date.now(); show(JSON.parse(event.data)); };
setInterval(() => {
  const silent = Date.now() - heardAt > SILENT_MS;
  live.textContent = silent ? "the console does not answer; what you see is old" : "live";
  live.classList.toggle("red", silent);
}, 1000);
