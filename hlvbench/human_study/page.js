"use strict";
// Texts reach the page through textContent alone: whatever an answer says stays a text.
const byId = (id) => document.getElementById(id);
const [source, main] = [byId("sheet"), byId("main")];
const sheet = JSON.parse(source.textContent);
const sha256 = source.dataset.sha256;
const storageKey = `hlvbench rating sheet ${sheet.sheet} ${sha256}`;
const screensOf = (part) => sheet.screens.filter((screen) => screen.part === part.key);

// An introduction before the screens of each part, and the end.
const steps = [...sheet.parts.flatMap((part) => [{ intro: part }, ...screensOf(part).map((screen) => ({ screen, part }))]), { end: true }];

let state = { position: 0, locked: 0, shortcuts: true, answers: {} };
let current = 0; // the question that a key answers
let warned = false;
let measured = null;
let trusted = true;

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem(storageKey));
    if (saved && typeof saved.answers === "object") state = { ...state, ...saved };
  } catch {
    // `save` says so
  }
  state.position = Math.min(Math.max(0, state.position | 0), steps.length - 1);
}

function save() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(state));
  } catch {
    announce("This browser does not keep your answers. Download them before you close the page.");
  }
}

function announce(message) {
  byId("status").textContent = message;
}

function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const paragraph = (content, className = "") => make("p", { className }, content);
const text = (content, className = "") => make("p", { className: `text ${className}`.trim(), dir: "auto" }, content);
const button = (label, onclick, className = "") => make("button", { type: "button", className, onclick }, label);
const heading = (...content) => make("h1", { tabIndex: -1 }, ...content);
const box = (title, className, ...children) => make("section", { className: `box ${className}`.trim(), "aria-label": title }, make("h2", {}, title), ...children);
const fields = (list) => make("dl", {}, ...list.flatMap(([name, content]) => [make("dt", {}, name), make("dd", {}, text(content))]));
const list = (className, rows) => make("ul", { className }, ...rows.map((row) => make("li", {}, ...row)));

// The questions of a screen's part; "who" has the letters of the people shown.
function questionsOf(screen) {
  const part = sheet.parts.find((one) => one.key === screen.part);
  return part.questions.map((question) => ({ ...question, options: question.options.slice(0, screen.people?.length ?? question.options.length) }));
}

const values = (screen) => state.answers[screen.id] ?? {};
const firstOpen = (screen) => questionsOf(screen).findIndex((question) => values(screen)[question.name] === undefined);
const isOpen = (screen) => firstOpen(screen) >= 0;
const openSteps = () => steps.flatMap((step, n) => (step.screen && isOpen(step.screen) ? [n] : []));

function show(focus = true) {
  const step = steps[state.position];
  current = 0;
  warned = false;
  announce("");
  main.replaceChildren(...(step.intro ? introduction(step.intro) : step.screen ? rating(step.screen, step.part) : ending()));
  showProgress();
  document.title = `${main.querySelector("h1").textContent} – rating sheet ${sheet.sheet}`;
  mark();
  window.scrollTo({ top: 0, behavior: "instant" });
  if (focus) main.querySelector("h1").focus({ preventScroll: true });
}

function showProgress() {
  const [done, all] = [sheet.screens.length - openSteps().length, sheet.screens.length];
  Object.assign(byId("progress"), { max: all, value: done });
  byId("place").textContent = `${done} of ${all} screens answered`;
}

function introduction(part) {
  const number = sheet.parts.indexOf(part);
  const lines = [paragraph(part.intro), paragraph(`${screensOf(part).length} screens. Some are asked twice; answer them as you find them then.`)];
  if (number === 0) {
    lines.push(
      paragraph("Your answers are kept in this browser after every key. You can close the page and go on later, on this device. At the end, download your answers and send the file to the person who gave you this sheet."),
      paragraph("Keys: 1 to 5 and A to D answer the framed question, Enter goes on, Backspace goes back to the question before. Tab, arrow keys and touch work, too.", "note"));
  } else {
    lines.push(paragraph(`When you go on, part ${number} is closed.`));
    const left = openSteps().filter((n) => steps[n].part === sheet.parts[number - 1]);
    if (left.length) lines.push(paragraph(`${left.length} screens of part ${number} are not answered yet.`), button("Show the first of them", () => go(left[0])));
  }
  return [heading(`Part ${number + 1} of ${sheet.parts.length}: ${part.title}`), make("div", { className: "plain" }, ...lines), controls(number === 0 ? "Start" : "Go on")];
}

function rating(screen, part) {
  const all = screensOf(part);
  const count = make("small", {}, `${all.indexOf(screen) + 1} of ${all.length}`);
  const texts = box("The texts", "", paragraph(`People were asked: ${screen.about}`, "note"), fields(screen.fields));
  return [
    heading(`Part ${sheet.parts.indexOf(part) + 1}: ${part.title} `, count),
    make("div", { className: "screen" },
      make("div", { className: "subject" }, texts, answers(screen)),
      make("div", { className: "beside" }, ...beside(screen)),
      make("div", { className: "form" }, ...questionsOf(screen).map((question, n) => group(screen, question, n)), controls("Next"))),
  ];
}

function answers(screen) {
  if (screen.explanation !== undefined) return box("The explanation", "answer", text(screen.explanation));
  const titles = screen.answers.length === 1 ? ["The answer"] : ["The first answer", "The second answer"];
  const boxes = screen.answers.map((answer, n) => box(titles[n], "answer", text(answer.label, "label"), text(answer.explanation)));
  return make("div", { className: "two" }, ...boxes);
}

// What is shown beside the answer: explanations of several people, or decisions of one.
function beside(screen) {
  if (screen.people) {
    const boxes = screen.people.map(([letter, own]) => box(`Person ${letter}`, "", list("", own.map((content) => [text(content)]))));
    return [make("h2", {}, "What these people wrote about other texts"), make("div", { className: "people" }, ...boxes)];
  }
  const rows = screen.examples.map((example) => [fields(example.fields), text(example.label, "label"), text(example.explanation)]);
  return [box("How one person decided about other texts", "", list("examples", rows))];
}

function group(screen, question, number) {
  const frame = () => { current = number; mark(); };
  const inputs = question.options.map(([value, meaning]) => make("label", {},
    make("input", {
      type: "radio", name: question.name, value, checked: values(screen)[question.name] === value, "aria-label": meaning ? `${value}: ${meaning}` : value,
      onchange: () => { frame(); answer(screen, question, value); }, onfocus: frame,
    }),
    make("span", {}, question.scale || question.name === "who" ? value : `${value} ${meaning}`)));
  const ends = question.options.filter(([, meaning]) => meaning).map(([, meaning]) => make("span", {}, meaning));
  return make("fieldset", { name: question.name },
    make("legend", {}, question.text),
    make("div", { className: question.scale ? "options scale" : "options" }, ...inputs),
    question.scale ? make("div", { className: "ends", "aria-hidden": "true" }, ...ends) : null);
}

function answer(screen, question, value) {
  state.answers[screen.id] = { ...values(screen), [question.name]: value };
  warned = false;
  announce(`Kept: ${value}`);
  save();
  showProgress();
}

function mark() {
  main.querySelectorAll("fieldset").forEach((set, n) => set.classList.toggle("now", n === current));
}

function select(number) {
  const sets = main.querySelectorAll("fieldset");
  current = Math.min(number, sets.length);
  mark();
  (sets[current]?.querySelector("input:checked") ?? sets[current]?.querySelector("input") ?? main.querySelector("button.main")).focus();
}

function controls(label, action = next) {
  const back = button("Back", () => go(state.position - 1));
  back.disabled = state.position - 1 < state.locked;
  return make("nav", { "aria-label": "Screens" }, button(label, action, "main"), back);
}

function go(position) {
  if (position < state.locked || position >= steps.length) return;
  state.position = position;
  save();
  show();
}

function next() {
  const step = steps[state.position];
  if (step.screen && isOpen(step.screen) && !warned) {
    select(firstOpen(step.screen));
    warned = true;
    announce("Not everything here is answered. Go on once more to leave it open.");
    return;
  }
  // a part shows what would give away the one before
  if (step.intro) state.locked = state.position;
  go(state.position + 1);
}

function ending() {
  const left = openSteps();
  const reachable = left.filter((n) => n >= state.locked);
  return [
    heading("The end"),
    make("div", { className: "plain" },
      paragraph(left.length ? `${sheet.screens.length - left.length} of ${sheet.screens.length} screens are answered.` : "Every screen is answered. Thank you."),
      reachable.length ? button("Show the first open screen", () => go(reachable[0])) : null,
      paragraph("Download your answers and send the file to the person who gave you this sheet. It holds your answers and none of the texts.")),
    controls("Download the answers", download),
  ];
}

function download() {
  const rows = sheet.screens.map((screen) => ({
    screen: screen.id, part: screen.part, sha256: screen.sha256,
    values: Object.fromEntries(questionsOf(screen).map(({ name }) => [name, values(screen)[name] ?? null])),
  }));
  const ratings = { format: "hlvbench ratings 1", study: sheet.study, sheet: sheet.sheet, sheet_sha256: sha256, page_sha256: measured, answers: rows };
  const url = URL.createObjectURL(new Blob([JSON.stringify(ratings, null, 1) + "\n"], { type: "application/json" }));
  make("a", { href: url, download: `${sheet.sheet}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  announce(`Saved as ${sheet.sheet}.json among your downloads. Send this file.`);
}

function erase() {
  if (!window.confirm("Delete all answers of this sheet from this browser? Download them first.")) return;
  localStorage.removeItem(storageKey);
  location.reload();
}

function tools() {
  const keys = make("input", { type: "checkbox", checked: state.shortcuts, onchange: () => { state.shortcuts = keys.checked; save(); } });
  byId("tools").replaceChildren(make("label", {}, keys, "Single keys answer"), button("Download what there is", download), button("Delete my answers here", erase));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !state.shortcuts || !trusted) return;
  const step = steps[state.position];
  if (event.key === "Enter" && !event.target.closest("button, a, summary, input[type=checkbox]")) {
    event.preventDefault();
    if (!event.repeat) main.querySelector("button.main").click();
  } else if (event.key === "Backspace") {
    event.preventDefault();
    if (step.screen && current > 0) select(current - 1);
    else go(state.position - 1);
  } else if (step.screen && !event.repeat) {
    const questions = questionsOf(step.screen);
    const number = Math.min(current, questions.length - 1);
    const input = main.querySelectorAll("fieldset")[number].querySelector(`input[value="${CSS.escape(event.key.toUpperCase())}"]`);
    if (!input) return;
    event.preventDefault();
    input.checked = true;
    answer(step.screen, questions[number], input.value);
    select(number + 1);
  }
});

// The same sheet in two windows: the answers written last are right in both.
window.addEventListener("storage", (event) => {
  if (event.key !== storageKey) return;
  load();
  show(false);
  announce("Changed in another window.");
});

// A sheet that was changed on its way is not worth anybody's time. Where the browser cannot tell, the scoring will.
async function check() {
  if (!globalThis.crypto?.subtle) return;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(source.textContent));
  measured = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (measured === sha256) return;
  trusted = false;
  byId("tools").replaceChildren();
  main.replaceChildren(heading("This sheet was changed"), paragraph("Its texts are not those that were sent to you. Ask for a new copy."));
}

load();
tools();
show(false);
check();
