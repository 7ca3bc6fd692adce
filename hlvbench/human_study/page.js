"use strict";
// Texts reach the page through textContent alone: whatever an answer says stays a text.
const source = document.getElementById("sheet");
const sheet = JSON.parse(source.textContent);
const sha256 = source.dataset.sha256;
const place = `hlvbench rating sheet ${sheet.sheet} ${sha256}`;
const parts = new Map(sheet.parts.map((part) => [part.key, part]));
const [main, status, progress] = ["main", "status", "progress"].map((id) => document.getElementById(id));
let measured = null;
let trusted = true;

// The way through the sheet: an introduction before the screens of each part, and the end.
const steps = [];
for (const part of sheet.parts) {
  steps.push({ intro: part });
  for (const screen of sheet.screens) if (screen.part === part.key) steps.push({ screen });
}
steps.push({ end: true });

let state = { position: 0, locked: 0, shortcuts: true, answers: {} };
let current = 0;
let warned = false;
let keeps = true;

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(place));
    if (found && typeof found.answers === "object") state = { ...state, ...found };
  } catch {
    keeps = false;
  }
  state.position = Math.min(Math.max(0, state.position | 0), steps.length - 1);
}

function save() {
  try {
    localStorage.setItem(place, JSON.stringify(state));
    keeps = true;
  } catch {
    keeps = false;
  }
  if (!keeps) say("This browser does not keep your answers. Download them before you close the page.");
}

function say(text) {
  status.textContent = text;
}

function make(name, properties = {}, ...children) {
  const { className, ...rest } = properties;
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(rest)) {
    if (typeof value === "function" || key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const text = (content, className = "") => make("p", { className: `text ${className}`.trim(), dir: "auto" }, content);

function button(label, action, className = "") {
  return make("button", { type: "button", className, onclick: action }, label);
}

// What a screen asks: the questions of its part; of "who" the letters that the screen has.
function asked(screen) {
  return parts.get(screen.part).asked.map((question) => {
    const count = screen.people ? screen.people.length : question.options.length;
    return { ...question, options: question.options.slice(0, count) };
  });
}

function values(screen) {
  return state.answers[screen.id] ?? {};
}

function open(screen) {
  return asked(screen).some((question) => values(screen)[question.name] === undefined);
}

function openSteps(part) {
  return steps.flatMap((step, n) => (step.screen && (!part || step.screen.part === part) && open(step.screen) ? [n] : []));
}

function show(focus = true) {
  const step = steps[state.position];
  current = 0;
  warned = false;
  say("");
  main.replaceChildren(...(step.intro ? introduction(step.intro) : step.screen ? rating(step.screen) : ending()));
  count();
  document.title = `${main.querySelector("h1").textContent} – rating sheet ${sheet.sheet}`;
  mark();
  window.scrollTo({ top: 0, behavior: "instant" });
  if (focus) main.querySelector("h1").focus({ preventScroll: true });
}

function count() {
  const done = sheet.screens.filter((screen) => !open(screen)).length;
  progress.max = sheet.screens.length;
  progress.value = done;
  document.getElementById("place").textContent = `${done} of ${sheet.screens.length} screens answered`;
}

function heading(...content) {
  return make("h1", { tabIndex: -1 }, ...content);
}

function introduction(part) {
  const number = sheet.parts.indexOf(part);
  const count = sheet.screens.filter((screen) => screen.part === part.key).length;
  const lines = [make("p", {}, part.intro), make("p", {}, `${count} screens. Some are asked twice; answer them as you find them then.`)];
  if (number === 0) {
    lines.push(
      make("p", {}, "Your answers are kept in this browser after every key. You can close the page and go on later, on this device. At the end, download your answers and send the file to the person who gave you this sheet."),
      keyHelp(),
    );
  } else {
    const before = sheet.parts[number - 1];
    const left = openSteps(before.key);
    lines.push(make("p", {}, `When you go on, part ${number} is closed.`));
    if (left.length) {
      lines.push(make("p", {}, `${left.length} screens of part ${number} are not answered yet.`), button("Show the first of them", () => go(left[0])));
    }
  }
  return [heading(`Part ${number + 1} of ${sheet.parts.length}: ${part.title}`), make("div", { className: "plain" }, ...lines), controls(number === 0 ? "Start" : "Go on")];
}

function keyHelp() {
  const key = (name) => make("kbd", {}, name);
  return make("p", { className: "note" }, "Keys: ", key("1"), " to ", key("5"), " and ", key("A"), " to ", key("D"), " answer the framed question, ", key("Enter"),
    " goes on, ", key("Backspace"), " goes back to the question before. Tab, arrow keys and touch work, too.");
}

function rating(screen) {
  const all = sheet.screens.filter((other) => other.part === screen.part);
  const number = sheet.parts.findIndex((part) => part.key === screen.part) + 1;
  const count = make("small", {}, `${all.indexOf(screen) + 1} of ${all.length}`);
  return [
    heading(`Part ${number}: ${parts.get(screen.part).title} `, count),
    make("div", { className: "screen" },
      make("div", { className: "subject" }, texts(screen), ...answers(screen)),
      screen.people ? people(screen) : examples(screen),
      make("div", { className: "form" }, ...asked(screen).map((question, n) => group(screen, question, n)), controls("Next")),
    ),
  ];
}

function box(title, className, ...children) {
  return make("section", { className: `box ${className}`.trim(), "aria-label": title }, make("h2", {}, title), ...children);
}

function fields(list) {
  return make("dl", {}, ...list.flatMap(([name, content]) => [make("dt", {}, name), make("dd", {}, text(content))]));
}

function texts(screen) {
  return box("The texts", "", make("p", { className: "note" }, `People were asked: ${screen.about}`), fields(screen.fields));
}

function answers(screen) {
  if (screen.explanation !== undefined) return [box("The explanation", "answer", text(screen.explanation))];
  const titles = screen.answers.length === 1 ? ["The answer"] : ["The first answer", "The second answer"];
  const boxes = screen.answers.map((answer, n) => box(titles[n], "answer", text(answer.label, "label"), text(answer.explanation)));
  return boxes.length === 1 ? boxes : [make("div", { className: "two" }, ...boxes)];
}

function people(screen) {
  const boxes = screen.people.map(([letter, own]) =>
    box(`Person ${letter}`, "", make("ul", {}, ...own.map((content) => make("li", {}, text(content))))));
  return make("div", { className: "beside" }, make("h2", {}, "What these people wrote about other texts"), make("div", { className: "people" }, ...boxes));
}

function examples(screen) {
  const items = screen.examples.map((example) =>
    make("li", {}, fields(example.fields), text(example.label, "label"), text(example.explanation)));
  return make("div", { className: "beside" }, box("How one person decided about other texts", "", make("ul", { className: "examples" }, ...items)));
}

function group(screen, question, number) {
  const chosen = values(screen)[question.name];
  const inputs = question.options.map(([value, meaning]) =>
    make("label", {},
      make("input", { type: "radio", name: question.name, value, checked: chosen === value, "aria-label": meaning ? `${value}: ${meaning}` : value,
        onchange: () => { current = number; answer(screen, question, value); mark(); }, onfocus: () => { current = number; mark(); } }),
      make("span", {}, question.scale || question.name === "who" ? value : `${value} ${meaning}`)));
  const ends = question.options.map(([, meaning]) => meaning).filter(Boolean);
  return make("fieldset", { name: question.name },
    make("legend", {}, question.text),
    make("div", { className: question.scale ? "options scale" : "options" }, ...inputs),
    question.scale ? make("div", { className: "ends", "aria-hidden": "true" }, ...ends.map((end) => make("span", {}, end))) : null);
}

function answer(screen, question, value) {
  state.answers[screen.id] = { ...values(screen), [question.name]: value };
  warned = false;
  save();
  count();
  if (keeps) say(`Kept: ${value}`);
}

// The framed question is the one that a key answers.
function mark() {
  main.querySelectorAll("fieldset").forEach((set, n) => set.classList.toggle("now", n === current));
}

function controls(label) {
  const back = button("Back", () => go(state.position - 1));
  back.disabled = state.position - 1 < state.locked;
  return make("nav", { "aria-label": "Screens" }, button(label, next, "main"), back);
}

function go(position) {
  if (position < state.locked || position >= steps.length) return;
  state.position = position;
  save();
  show();
}

function next() {
  const step = steps[state.position];
  if (step.screen && open(step.screen) && !warned) {
    const left = asked(step.screen).findIndex((question) => values(step.screen)[question.name] === undefined);
    select(left);
    warned = true;
    say("Not everything here is answered. Go on once more to leave it open.");
    return;
  }
  // whoever begins a part sees what would give away the one before
  if (step.intro) state.locked = state.position;
  go(state.position + 1);
}

function select(number) {
  const sets = main.querySelectorAll("fieldset");
  current = Math.min(number, sets.length);
  mark();
  const target = sets[current] ? sets[current].querySelector("input:checked") ?? sets[current].querySelector("input") : main.querySelector("button.main");
  target.focus();
}

function ending() {
  const left = openSteps();
  const reachable = left.filter((n) => n >= state.locked);
  const lines = [
    make("p", {}, left.length ? `${sheet.screens.length - left.length} of ${sheet.screens.length} screens are answered.` : "Every screen is answered. Thank you."),
    reachable.length ? button("Show the first open screen", () => go(reachable[0])) : null,
    make("p", {}, "Download your answers and send the file to the person who gave you this sheet. It holds your answers and none of the texts."),
  ];
  const again = controls("Download the answers");
  again.querySelector("button.main").onclick = download;
  return [heading("The end"), make("div", { className: "plain" }, ...lines), again];
}

function exported() {
  const answers = sheet.screens.map((screen) => ({
    screen: screen.id, part: screen.part, sha256: screen.sha256,
    values: Object.fromEntries(asked(screen).map((question) => [question.name, values(screen)[question.name] ?? null])),
  }));
  return { format: "hlvbench ratings 1", study: sheet.study, sheet: sheet.sheet, sheet_sha256: sha256, page_sha256: measured, answers };
}

function download() {
  const data = new Blob([JSON.stringify(exported(), null, 1) + "\n"], { type: "application/json" });
  const url = URL.createObjectURL(data);
  make("a", { href: url, download: `${sheet.sheet}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  say(`Saved as ${sheet.sheet}.json among your downloads. Send this file.`);
}

function erase() {
  if (!window.confirm("Delete all answers of this sheet from this browser? Download them first.")) return;
  localStorage.removeItem(place);
  location.reload();
}

function tools() {
  const keys = make("input", { type: "checkbox", checked: state.shortcuts, onchange: () => { state.shortcuts = keys.checked; save(); } });
  document.getElementById("tools").replaceChildren(
    make("label", {}, keys, "Single keys answer"), button("Download what there is", download), button("Delete my answers here", erase));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !state.shortcuts || !trusted) return;
  const native = event.target.closest("button, a, summary, input[type=checkbox]");
  const step = steps[state.position];
  if (event.key === "Enter" && !native) {
    event.preventDefault();
    if (!event.repeat) step.end ? download() : next();
  } else if (event.key === "Backspace") {
    event.preventDefault();
    if (step.screen && current > 0) select(current - 1);
    else go(state.position - 1);
  } else if (step.screen && !event.repeat) {
    const questions = asked(step.screen);
    const question = questions[Math.min(current, questions.length - 1)];
    const value = event.key.toUpperCase();
    if (!question.options.some(([known]) => known === value)) return;
    event.preventDefault();
    const set = main.querySelector(`fieldset[name=${question.name}]`);
    set.querySelector(`input[value="${value}"]`).checked = true;
    answer(step.screen, question, value);
    select(questions.indexOf(question) + 1);
  }
});

// The same sheet in two windows: the one that was written last is right in both.
window.addEventListener("storage", (event) => {
  if (event.key === place) {
    load();
    show(false);
    say("Changed in another window.");
  }
});

// A sheet that was changed on its way is not worth anybody's time. Where the browser cannot tell, the scoring will.
async function check() {
  if (!globalThis.crypto?.subtle) return;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(source.textContent));
  measured = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (measured === sha256) return;
  trusted = false;
  document.getElementById("tools").replaceChildren();
  main.replaceChildren(heading("This sheet was changed"), make("p", {}, "Its texts are not those that were sent to you. Ask for a new copy."));
}

load();
tools();
show(false);
check();
