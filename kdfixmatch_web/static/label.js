// The labeling page. Whatever comes from files or people is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const AHEAD = 24; // Images that are known ahead,
const LOADED = 4; // and of which the large picture is loaded.
const GRID = 48;
const DOUBTFUL = 0.9;

let state = null;
let queue = [];
let place = 0; // Where the queue goes on; null at the end of the order.
let filled = 0; // How often it began anew.
let current = null;
let busy = false;
let grid = { items: [], wrong: new Set(), label: null };
const skipped = new Set();
const loaded = new Map();
let undoable = null; // Of this window, and of these images alone.

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
// The browser keeps pictures, and another folder may have been labeled at this address.
const picture = (file, size) => `/picture?of=${state.id}&size=${size}&file=${encodeURIComponent(file)}`;

const isCoarse = (image) => Math.max(image.naturalWidth, image.naturalHeight) < 100;

function tile(item, caption) {
  const image = element("img", {
    src: picture(item.file, "small"), alt: item.file, loading: "lazy",
    onload: () => image.classList.toggle("coarse", isCoarse(image)),
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

// What cannot be had from the server is told; what is shown stays.
const told = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    say(refusal.message, true);
  }
};

function take(found) {
  const isOther = state !== null && state.order !== found.order;
  state = found;
  undoable ??= JSON.parse(sessionStorage.getItem(state.id) ?? "[]");
  $("folder").textContent = state.folder;
  document.title = `Label ${state.folder}`;
  const left = Object.entries(state.left_out).map(([why, count]) => `; left out: ${number(count)} ${why}`);
  $("count").textContent = `${number(state.labeled)} of ${number(state.images)} labeled${left.join("")}`;
  if (!isSizeKnown && state.image_size !== null) $("image-size").value = state.image_size;
  isSizeKnown = true;
  once("classes", state.classes, showClasses);
  if (!$("progress").hidden) showTablesOnce();
  once("training", [state.training, state.looking, state.trouble, state.run], showTraining);
  if (isOther) return restart();
}

// What is shown again loses the focus, and is read aloud again.
const shownOnce = new Map();

function once(part, made, show) {
  const text = JSON.stringify(made);
  if (shownOnce.get(part) === text) return;
  shownOnce.set(part, text);
  show();
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
      for (const item of [current, ...queue, ...grid.items]) {
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

async function fill(isAround = false) {
  const ofOrder = filled;
  while (place !== null && queue.length < AHEAD) {
    const found = await ask(`/queue?start=${place}&count=${AHEAD}`);
    if (ofOrder !== filled) return;
    const known = new Set(queue.map((item) => item.file));
    if (current && !isAround) known.add(current.file);
    queue.push(...found.items.filter((item) => !known.has(item.file) && !skipped.has(item.file)));
    place = found.next;
  }
}

// Another order: what is shown stays, what comes next is new.
const restart = told(async () => {
  queue = [];
  place = 0;
  filled += 1;
  await fill();
  if (current !== null) {
    const found = await ask(`/item?file=${encodeURIComponent(current.file)}`);
    if (found.file === current?.file) {
      Object.assign(current, found);
      showGuess();
      showSimilar();
    }
  }
  showNext();
  if (current === null) await advance();
});

const advance = told(async () => {
  if (queue.length === 0) {
    const isAround = place === null && skipped.size > 0;
    if (isAround) {
      skipped.clear();
      place = 0;
    }
    await fill(isAround);
    // What was skipped just now comes again too, but not before the others.
    if (isAround && queue[0]?.file === current?.file) queue.push(...queue.splice(0, 1));
  }
  current = queue.shift() ?? null;
  await showImage();
  // Not before it shows: these may take their time.
  told(fill)().then(showNext);
});

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
    shown.className = isCoarse(shown) ? "coarse" : "";
    frame.append(shown);
    if (shown.naturalWidth * shown.naturalHeight === 1) showTrouble(item);
  }
  for (const file of loaded.keys()) {
    if (file !== item?.file && !queue.slice(0, LOADED).some((next) => next.file === file)) loaded.delete(file);
  }
  $("name").textContent = item?.file ?? "";
  showGuess();
  showNext();
  showSimilar();
  frame.focus({ preventScroll: true });
  document.body.dataset.shown = item?.file ?? "";
}

// What cannot be read comes as a single pixel.
const showTrouble = told(async (item) => {
  const { reason } = await ask(`/trouble?file=${encodeURIComponent(item.file)}`);
  if (item !== current || reason === null) return;
  $("frame").replaceChildren(element("p", { textContent: `This image cannot be read: ${reason}. Skip it.` }));
});

function showGuess() {
  const part = $("guess");
  part.replaceChildren();
  if (current?.label) {
    part.append(`It has the label “${current.label}”. `);
  }
  if (current?.guess) {
    const accept = element("button", { type: "button", onclick: () => label(current.guess) });
    accept.append(key("Enter"), ` ${current.guess}, ${percent(current.confidence)}`);
    part.append("The run takes it for ", accept);
  }
  if (current?.reason) part.append(` Suggested as ${current.reason}.`);
}

function showNext() {
  for (const item of queue.slice(0, LOADED)) preload(item);
  $("next").replaceChildren(...queue.slice(0, 12).map((item) =>
    element("li", {}, ...tile(item, item.guess ? `${item.guess}, ${percent(item.confidence)}` : ""))));
}

async function showSimilar() {
  $("similar").hidden = true;
  const item = current;
  if (!item?.guess || item.confidence >= DOUBTFUL) return;
  let found;
  try {
    found = await ask(`/similar?file=${encodeURIComponent(item.file)}`);
  } catch {
    return; // Nothing depends on it.
  }
  if (item !== current || !found.items.length) return;
  $("similar-images").replaceChildren(...found.items.map((other) =>
    element("li", {}, ...tile(other, other.label))));
  $("similar").hidden = false;
}

// Whether the image that would get a label is the one that is seen.
const isSeen = () => !busy && current !== null && document.body.dataset.shown === current.file;

async function label(name) {
  if (!isSeen()) return;
  const item = current;
  const made = { file: item.file, label: name, expected: item.label };
  if (await change([made], `${item.file}: ${name}`)) {
    remember([made]);
    await advance();
  }
}

async function skip() {
  if (!isSeen()) return;
  skipped.add(current.file);
  say(`${current.file}: skipped`);
  await advance();
}

function remember(changes) {
  undoable.push(changes);
  keepUndoable();
}

const keepUndoable = () => sessionStorage.setItem(state.id, JSON.stringify(undoable.slice(-200)));

async function undo() {
  if (busy) return;
  const made = undoable.pop();
  if (made === undefined) {
    say("There is nothing to undo.");
    return;
  }
  const back = made.map(({ file, label, expected }) => ({ file, label: expected, expected: label }));
  const files = back.length === 1 ? back[0].file : `${back.length} images`;
  const isDone = await change(back, `${files}: label taken back`);
  // Of what another has changed since there is nothing to take back.
  keepUndoable();
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

const countsShown = new Map();

function showClasses() {
  if (state.classes.length === countsShown.size && state.classes.every(({ name }) => countsShown.has(name))) {
    for (const { name, count } of state.classes) countsShown.get(name).textContent = number(count);
    return;
  }
  const keys = keyed();
  countsShown.clear();
  $("classes").replaceChildren(...state.classes.map(({ name, count }) => {
    const button = element("button", { type: "button", onclick: () => label(name) });
    const shown = element("span", { className: "count", textContent: number(count) });
    countsShown.set(name, shown);
    button.append(key(keys.get(name) ?? " "), element("span", { textContent: name }), shown);
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
$("typed").addEventListener("focus", showChoices);
$("typed").addEventListener("blur", () => {
  $("choices").hidden = true;
  $("typed").setAttribute("aria-expanded", "false");
  $("typed").removeAttribute("aria-activedescendant");
});

// Keys

function onKey(event) {
  if (state === null) return;
  const { key: pressed, target } = event;
  if ((event.ctrlKey || event.metaKey) && pressed === "z" && !target.closest("input")) {
    event.preventDefault();
    undo().then(() => $("grid").hidden || loadGrid());
    return;
  }
  if ($("single").hidden) return;
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
    if (button.dataset.view === "grid") showGrid();
    if (button.dataset.view === "progress") showTablesOnce();
  };
}

// Many at once

async function showGrid() {
  const select = $("grid-class");
  const before = select.value;
  // No run takes an image for none of them, but people have.
  const isReview = $("grid-kind").value === "labeled-as";
  const names = [...state.classes, ...(isReview ? [state.none_of_these] : [])].map(({ name }) => name);
  select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
  if (names.includes(before)) select.value = before;
  await loadGrid();
}

let gridsAsked = 0; // An answer that comes late is not shown.

const loadGrid = told(async () => {
  const label = $("grid-class").value;
  const isReview = $("grid-kind").value === "labeled-as";
  const query = `count=${GRID}&class=${encodeURIComponent(label)}`;
  const asked = ++gridsAsked;
  const found = label ? await ask(`/${$("grid-kind").value}?${query}`) : { items: [], rest: 0 };
  if (asked !== gridsAsked) return;
  // What was marked stays so: it is there again, or nothing was saved.
  const isSame = grid.label === label && grid.isReview === isReview;
  const marked = found.items.map(({ file }) => file).filter((file) => isSame && grid.wrong.has(file));
  grid = { items: found.items, wrong: new Set(marked), label, isReview };
  const rest = found.rest ? ` Then ${number(found.rest)} more.` : "";
  let hint = `The most doubtful first. Choose those that are wrong; the others get the label.${rest}`;
  if (isReview) {
    hint = `Those that the run takes for another class first, then the last ones. Choose those that are wrong.${rest}`;
  } else if (state.run === null) {
    hint = "There is no run yet. Label some images of each class, and train under Progress.";
  } else if (!found.items.length) {
    hint = state.looking === null ? "It takes no image without a label for this class." : `${state.run} is looking at the images. ${state.looking}`;
  }
  $("grid-hint").textContent = hint;
  $("grid-images").replaceChildren(...grid.items.map((item) => {
    const button = element("button", { type: "button" });
    const words = item.guess ? `${isReview ? `${item.guess}, ` : ""}${percent(item.confidence)}` : "";
    const [image, caption] = tile(item, words);
    button.append(image, caption);
    const mark = () => {
      const isWrong = grid.wrong.has(item.file);
      button.setAttribute("aria-pressed", String(isWrong));
      caption.textContent = isWrong ? "wrong" : words;
    };
    mark();
    button.onclick = () => {
      if (!grid.wrong.delete(item.file)) grid.wrong.add(item.file);
      mark();
      showAccept();
    };
    return element("li", {}, button);
  }));
  showAccept();
});

function showAccept() {
  const wrong = grid.wrong.size;
  const count = grid.isReview ? wrong : grid.items.length - wrong;
  $("grid-accept").hidden = count === 0;
  $("grid-accept").textContent = grid.isReview
    ? `Take the label “${grid.label}” from ${count}` : `Label ${count} “${grid.label}”`;
}

async function acceptGrid() {
  if (busy) return;
  const { isReview } = grid;
  const some = grid.items.filter((item) => grid.wrong.has(item.file) === isReview);
  const made = some.map((item) => ({ file: item.file, label: isReview ? null : grid.label, expected: item.label }));
  if (await change(made, `${made.length} images: ${isReview ? "label taken back" : grid.label}`)) {
    remember(made);
    // They are to be labeled next.
    if (isReview) queue = [...some.map((item) => ({ ...item, label: null })), ...queue];
    const done = new Set(isReview ? [] : made.map(({ file }) => file));
    queue = queue.filter((item) => !done.has(item.file));
    if (current === null || done.has(current.file)) await advance();
    else showNext();
  }
  await loadGrid();
  $("grid-title").scrollIntoView();
  ($("grid-images").querySelector("button") ?? $("grid-class")).focus({ preventScroll: true });
}

$("grid-class").onchange = loadGrid;
$("grid-kind").onchange = showGrid;
$("grid-accept").onclick = acceptGrid;

// Progress

function table(caption, heads, rows) {
  const cell = (kind, text, index) => element(kind, {
    textContent: text, className: index ? "number" : "", ...(kind === "th" ? { scope: "col" } : {}),
  });
  const head = element("tr", {}, ...heads.map((text, index) => cell("th", text, index)));
  const body = rows.map((row) => element("tr", {}, ...row.map((text, index) =>
    index ? cell("td", text, index) : element("th", { scope: "row", textContent: text }))));
  return element("table", {}, element("caption", { textContent: caption }),
    element("thead", {}, head), element("tbody", {}, ...body));
}

const showTablesOnce = () => once("tables", [state.classes, state.none_of_these, state.runs], showTables);

function showTables() {
  const classes = [...state.classes, state.none_of_these].map(({ name, count }) => [name, number(count)]);
  const parts = [table("Labels by class", ["class", "labels"], classes)];
  if (state.runs.length) {
    const rows = state.runs.map((run, index) => {
      const before = state.runs[index - 1];
      const isComparable = before?.accuracy != null && run.accuracy !== null && before.measured === run.measured;
      const points = isComparable ? (100 * (run.accuracy - before.accuracy)).toFixed(1) : null;
      const brought = points === null ? "" : `${points < 0 ? "−" : "+"}${Math.abs(points)} points`;
      return [run.name, number(run.labels), run.accuracy === null ? "" : `${(100 * run.accuracy).toFixed(1)} %`, brought];
    });
    const on = [...new Set(state.runs.filter((run) => run.accuracy !== null).map((run) => run.measured))].join("; ");
    const caption = on ? `Accuracy, measured on: ${on}` : "Runs, of which none was measured: --test does so";
    parts.push(table(caption, ["run", "labels", "accuracy", "brought"], rows));
  }
  $("progress-tables").replaceChildren(...parts);
}

function showTraining() {
  const { training, looking, trouble } = state;
  const isRunning = training?.running ?? false;
  $("train").disabled = isRunning;
  $("stop").hidden = !isRunning;
  $("goes-on-label").hidden = state.run === null;
  $("goes-on-run").textContent = state.run ?? "";
  const parts = [];
  if (training !== null) {
    const how = isRunning ? "is being trained" : training.failed ? "has failed" : "has ended";
    parts.push(element("p", { textContent: `${training.name} ${how}.` }));
    if (training.epochs) {
      const { network, done, of } = training.epochs;
      parts.push(element("progress", { value: done, max: of, "aria-label": `Epochs of the ${network} network` }));
    }
    parts.push(element("pre", { textContent: training.lines.join("\n") }));
  }
  if (looking !== null) {
    const who = state.run ?? "A pretrained network";
    parts.push(element("p", { textContent: `${who} is looking at the images. ${looking}` }));
  }
  if (trouble) parts.push(element("p", { textContent: trouble, className: "trouble" }));
  $("training").replaceChildren(...parts);
  $("training").hidden = parts.length === 0;
}

const order = told(async (path, sent, words) => {
  await take(await ask(path, sent));
  say(words);
  watch();
});

$("train-form").onsubmit = (event) => {
  event.preventDefault();
  const value = (id) => ($(id).value === "" ? null : Number($(id).value));
  const goesOn = $("goes-on").checked;
  const size = goesOn ? null : value("image-size");
  order("/train", { minutes: value("minutes"), image_size: size, goes_on: goesOn }, "The training has begun. You can go on labeling.");
};
// It keeps the size of those networks.
$("goes-on").onchange = () => { $("image-size").disabled = $("goes-on").checked; };
$("stop").onclick = () => order("/stop", {}, "The training is being ended.");

// While something runs, and when somebody comes back, the page asks how it is.
let watching = 0;
let isSizeKnown = false;

function watch() {
  clearTimeout(watching);
  if (state?.training?.running || (state !== null && state.looking !== null)) watching = setTimeout(look, 1000);
}

const look = told(async () => {
  // Once more, also if this fails.
  watch();
  await take(await ask("/state"));
  watch();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});

// Beginning

await told(async () => {
  await take(await ask("/state"));
  await advance();
  watch();
})();
