// The labeling page. Whatever comes from files or people is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const AHEAD = 24; // Images that are known ahead,
const LOADED = 4; // and of which the large picture is loaded.

let state = null;
let queue = [];
let place = 0; // Where the queue goes on; null at the end of the order.
let current = null;
let busy = false;
const skipped = new Set();
const loaded = new Map();
const undoable = JSON.parse(sessionStorage.getItem("undoable") ?? "[]");

// Words

const percent = (share) => `${Math.round(share * 100)} %`;
const number = (count) => count.toLocaleString("en");

function say(text, isTrouble = false) {
  $("message").textContent = text;
  $("message").classList.toggle("trouble", isTrouble);
}

function element(kind, properties = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const key = (text) => element("kbd", { textContent: text });
const picture = (file, size) => `/picture?size=${size}&file=${encodeURIComponent(file)}`;

function tile(item, caption) {
  const image = element("img", {
    src: picture(item.file, "small"), alt: item.file, loading: "lazy",
  });
  const text = element("span", { className: "caption", textContent: caption });
  return [image, text];
}

// The server

class Refusal extends Error {
  constructor(status, text, labels) {
    super(text);
    this.status = status;
    this.labels = labels;
  }
}

async function ask(path, sent) {
  const options = sent === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(sent),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refusal(0, "The server does not answer. Start the command again, and open the address that it prints.");
  }
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  if (answer.ok) return isJson ? answer.json() : answer.text();
  if (isJson) throw new Refusal(answer.status, "", (await answer.json()).labels);
  throw new Refusal(answer.status, await answer.text());
}

function take(found) {
  const isOther = state !== null && state.order !== found.order;
  state = found;
  $("folder").textContent = state.folder;
  document.title = `Label ${state.folder}`;
  const left = Object.entries(state.left_out).map(([why, count]) => `; left out: ${number(count)} ${why}`);
  $("count").textContent = `${number(state.labeled)} of ${number(state.images)} labeled${left.join("")}`;
  showClasses();
  showProgress();
  if (isOther) return restart();
}

async function change(changes, words) {
  busy = true;
  try {
    await take(await ask("/labels", { changes }));
    say(words);
    return true;
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    if (refusal.status === 409) {
      const [[file, label]] = Object.entries(refusal.labels);
      const has = label === null ? "no label any more" : `the label “${label}”`;
      say(`Not saved: ${file} was changed elsewhere and has ${has}.`, true);
      for (const item of [current, ...queue]) {
        if (item && item.file in refusal.labels) item.label = refusal.labels[item.file];
      }
      showGuess();
    } else {
      say(`Not saved: ${refusal.message}`, true);
    }
    return false;
  } finally {
    busy = false;
  }
}

// One by one

async function fill() {
  while (place !== null && queue.length < AHEAD) {
    const found = await ask(`/queue?start=${place}&count=${AHEAD}`);
    const known = new Set(queue.map((item) => item.file));
    if (current) known.add(current.file);
    queue.push(...found.items.filter((item) => !known.has(item.file) && !skipped.has(item.file)));
    place = found.next;
  }
}

// Another order: what is shown stays, what comes next is new.
async function restart() {
  queue = [];
  place = 0;
  await fill();
  showNext();
  if (current === null) await advance();
}

async function advance() {
  if (queue.length === 0) {
    if (place === null && skipped.size) {
      skipped.clear();
      place = 0;
    }
    await fill();
  }
  current = queue.shift() ?? null;
  await showImage();
  // Not before it shows: these may take their time.
  fill().then(showNext).catch((refusal) => say(refusal.message, true));
}

function preload(item) {
  if (!loaded.has(item.file)) {
    const image = new Image();
    image.src = picture(item.file, "large");
    // What cannot be read is told when it is shown.
    loaded.set(item.file, image.decode().then(() => image, () => null));
  }
  return loaded.get(item.file);
}

async function showImage() {
  zoom(false);
  const item = current;
  const shown = item === null ? null : await preload(item);
  if (item !== current) return;
  const frame = $("frame");
  frame.replaceChildren();
  if (item === null) {
    frame.append(element("p", { textContent: "There is no image left without a label." }));
  } else if (shown === null) {
    frame.append(element("p", { textContent: "This image has gone. Skip it." }));
  } else {
    shown.id = "image";
    shown.alt = item.file;
    shown.onclick = () => zoom(!frame.classList.contains("zoomed"));
    shown.className = Math.max(shown.naturalWidth, shown.naturalHeight) < 200 ? "coarse" : "";
    frame.append(shown);
    if (shown.naturalWidth * shown.naturalHeight === 1) showTrouble(item);
  }
  for (const file of loaded.keys()) {
    if (file !== item?.file && !queue.slice(0, LOADED).some((next) => next.file === file)) loaded.delete(file);
  }
  $("name").textContent = item?.file ?? "";
  showGuess();
  showNext();
  frame.focus({ preventScroll: true });
  document.body.dataset.shown = item?.file ?? "";
}

// What cannot be read comes as a single pixel.
async function showTrouble(item) {
  const { reason } = await ask(`/trouble?file=${encodeURIComponent(item.file)}`);
  if (item !== current || reason === null) return;
  $("frame").replaceChildren(element("p", { textContent: `This image cannot be read: ${reason}. Skip it.` }));
}

function showGuess() {
  const part = $("guess");
  part.replaceChildren();
  if (current?.label) {
    part.append(`It has the label “${current.label}”. `);
  }
  if (current?.guess) {
    const accept = element("button", { type: "button", onclick: () => label(current.guess) });
    accept.append(key("Enter"), ` ${current.guess}, ${percent(current.confidence)}`);
    part.append(accept);
  }
  if (current?.reason) part.append(` ${current.reason}`);
}

function showNext() {
  for (const item of queue.slice(0, LOADED)) preload(item);
  $("next").replaceChildren(...queue.slice(0, 12).map((item) =>
    element("li", {}, ...tile(item, item.guess ? `${item.guess}, ${percent(item.confidence)}` : ""))));
}

async function label(name) {
  if (busy || current === null) return;
  const item = current;
  const made = { file: item.file, label: name, expected: item.label };
  if (await change([made], `${item.file}: ${name}`)) {
    remember([made]);
    await advance();
  }
}

async function skip() {
  if (busy || current === null) return;
  skipped.add(current.file);
  say(`${current.file}: skipped`);
  await advance();
}

function remember(changes) {
  undoable.push(changes);
  sessionStorage.setItem("undoable", JSON.stringify(undoable.slice(-200)));
}

async function undo() {
  if (busy) return;
  const made = undoable.pop();
  if (made === undefined) return say("There is nothing to undo.");
  const back = made.map(({ file, label, expected }) => ({ file, label: expected, expected: label }));
  const files = back.length === 1 ? back[0].file : `${back.length} images`;
  const isDone = await change(back, `${files}: label taken back`);
  // Of what another has changed since there is nothing to take back.
  sessionStorage.setItem("undoable", JSON.stringify(undoable));
  if (!isDone) return;
  const shown = back.map(({ file, label }) => ({ file, label }));
  queue = [...shown, ...(current ? [current] : []), ...queue];
  current = queue.shift();
  await showImage();
}

function zoom(isOn) {
  const frame = $("frame");
  const image = $("image");
  frame.classList.toggle("zoomed", isOn && image !== null);
  $("zoom").setAttribute("aria-pressed", String(isOn));
  if (!isOn || !image || current === null) return;
  image.src = picture(current.file, "full");
  loaded.delete(current.file);
  image.decode().then(() => {
    frame.scrollTo((frame.scrollWidth - frame.clientWidth) / 2, (frame.scrollHeight - frame.clientHeight) / 2);
  }, () => {});
  frame.focus({ preventScroll: true });
}

// Classes

function keyed() {
  const names = state.classes.map((known) => known.name);
  const keys = new Map(names.filter((name) => /^[0-9]$/.test(name)).map((name) => [name, name]));
  const free = [..."123456789"].filter((digit) => !keys.has(digit));
  for (const name of names) {
    if (!keys.has(name) && free.length) keys.set(name, free.shift());
  }
  return keys;
}

function showClasses() {
  const keys = keyed();
  $("classes").replaceChildren(...state.classes.map(({ name, count }) => {
    const button = element("button", { type: "button", onclick: () => label(name) });
    button.append(key(keys.get(name) ?? " "), element("span", { textContent: name }),
      element("span", { className: "count", textContent: number(count) }));
    return button;
  }));
}

let choices = [];
let chosen = -1;

function showChoices() {
  const typed = $("typed").value.trim();
  const plain = typed.toLowerCase();
  const names = state.classes.map((known) => known.name);
  const begins = names.filter((name) => name.toLowerCase().startsWith(plain));
  const holds = names.filter((name) => !begins.includes(name) && name.toLowerCase().includes(plain));
  const exact = names.filter((name) => name.toLowerCase() === plain);
  choices = typed ? [...new Set([...exact, ...begins, ...holds])].slice(0, 8).map((name) => ({ name, text: name })) : [];
  if (typed && !exact.length) choices.push({ name: typed, text: `New class “${typed}”` });
  // What only holds the letters is offered, and not taken for what was meant.
  chosen = exact.length || begins.length ? 0 : choices.length - 1;
  $("choices").replaceChildren(...choices.map((choice, index) => element("li", {
    id: `choice-${index}`, role: "option", textContent: choice.text,
    "aria-selected": String(index === chosen),
    onmousedown: (event) => { event.preventDefault(); choose(index); },
  })));
  $("choices").hidden = choices.length === 0;
  $("typed").setAttribute("aria-expanded", String(choices.length > 0));
  markChosen();
}

function markChosen() {
  [...$("choices").children].forEach((child, index) => child.setAttribute("aria-selected", String(index === chosen)));
  if (choices.length) $("typed").setAttribute("aria-activedescendant", `choice-${chosen}`);
  else $("typed").removeAttribute("aria-activedescendant");
}

function clearTyped() {
  $("typed").value = "";
  showChoices();
  $("frame").focus({ preventScroll: true });
}

async function choose(index) {
  const choice = choices[index];
  clearTyped();
  if (choice) await label(choice.name);
}

$("typed").addEventListener("input", showChoices);
$("typed").addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    if (choices.length) choose(chosen);
  } else if (event.key === "Escape") {
    clearTyped();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && choices.length) {
    event.preventDefault();
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + choices.length) % choices.length;
    markChosen();
  } else {
    return;
  }
  event.stopPropagation();
});
$("typed").addEventListener("blur", () => { $("choices").hidden = true; });

// Keys

function onKey(event) {
  if ($("single").hidden || state === null) return;
  const { key: pressed, target } = event;
  if ((event.ctrlKey || event.metaKey) && pressed === "z" && target.id !== "typed") {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
  // A key that is held down would label what nobody has seen.
  if (event.repeat && !$("frame").classList.contains("zoomed")) return;
  const isOnButton = target.closest("button") !== null;
  const isZoomed = $("frame").classList.contains("zoomed");
  if (/^[0-9]$/.test(pressed)) {
    const found = [...keyed()].find(([, digit]) => digit === pressed);
    if (found) label(found[0]);
  } else if (pressed === "Enter" && !isOnButton) {
    if (current?.guess) label(current.guess);
  } else if (pressed === "-") {
    label(state.none_of_these.name);
  } else if (pressed === "+" || (pressed === "Escape" && isZoomed)) {
    zoom(pressed === "+" && !isZoomed);
  } else if (pressed === "Backspace") {
    undo();
  } else if (pressed === "ArrowRight" && !isZoomed) {
    skip();
  } else if (pressed === "/") {
    $("typed").focus();
  } else if (pressed.length === 1 && pressed !== " ") {
    // The letter itself goes where the focus then is.
    $("typed").focus();
    return;
  } else {
    return;
  }
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
$("none").onclick = () => label(state.none_of_these.name);
$("skip").onclick = skip;
$("undo").onclick = undo;
$("zoom").onclick = () => zoom(!$("frame").classList.contains("zoomed"));

// Views

for (const button of document.querySelectorAll("nav button")) {
  button.onclick = () => {
    for (const other of document.querySelectorAll("nav button")) {
      const isThis = other === button;
      if (isThis) other.setAttribute("aria-current", "page");
      else other.removeAttribute("aria-current");
      $(other.dataset.view).hidden = !isThis;
    }
    if (button.dataset.view === "single") $("frame").focus({ preventScroll: true });
  };
}

// Progress

function showProgress() {
  const rows = [...state.classes, state.none_of_these].map(({ name, count }) =>
    element("tr", {}, element("th", { scope: "row", textContent: name }),
      element("td", { className: "number", textContent: number(count) })));
  const head = element("tr", {}, element("th", { scope: "col", textContent: "class" }),
    element("th", { scope: "col", className: "number", textContent: "labels" }));
  $("progress-parts").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

// Beginning

try {
  await take(await ask("/state"));
  await advance();
} catch (refusal) {
  say(refusal.message, true);
}
