// A way out of noise that is watched: what the two pages that show one have in common. It is one
// script with those of the page, which has data, settings, parts and OWN, set() and note(), and how
// a step is shown: show(), drawShown(), arrived(). Gradio hands in element, trigger, props, server,
// upload and watch.
//
// The server sends steps as fast as it has them; they are shown at a pace that the eye follows.

const SLOWEST = 80; // milliseconds a step is shown at most: more than ten of them a second
const FASTEST = 40;
const WHOLE = 2600; // and all of them, about
const SHELF = 6; // results that are kept; the server keeps some more

let run = null; // the way that is shown; null: what it will begin with, before anything is asked
let runs = []; // those that came to their end, the newest first
let turn = 0; // of ways that are asked for; news of an earlier one is none
let heard = 0; // the last number of what was brought

// --- small tools ---------------------------------------------------------------------------------

function make(tag, settings = {}, ...children) {
  const { on = {}, ...attributes } = settings;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) node.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function status(words) {
  parts.status.textContent = words;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

const percents = {}; // a formatter a language; making one takes long

function percent(share) {
  const settings = { style: "percent", maximumFractionDigits: 0 };
  percents[data.lang] ??= new Intl.NumberFormat(data.lang, settings);
  return percents[data.lang].format(share);
}

function setSeed(value) {
  const [low, high] = data.limits.seed;
  set("seed", Number.isInteger(value) ? Math.min(Math.max(value, low), high) : 0);
}

// Keep the address a link to what is set; null: what need not be said.
function keepAddress(noted) {
  const address = new URL(window.location.href);
  for (const [name, value] of Object.entries(noted)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  window.history.replaceState(window.history.state, "", address);
  const language = document.getElementById("language");
  if (language) {
    address.searchParams.set("lang", language.lang);
    language.href = address.search;
  }
}

// --- painting ------------------------------------------------------------------------------------

// Bytes as a picture, grey or coloured.
function paint(canvas, values, channels) {
  const size = Math.round(Math.sqrt(values.length / channels));
  const context = sized(canvas, size);
  const pixels = context.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = values[channels * i + (channels === 3 ? c : 0)];
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

function sized(canvas, wide, tall = wide) {
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== tall) canvas.height = tall;
  return canvas.getContext("2d");
}

// --- a way that is walked ------------------------------------------------------------------------

// Whether there is something to show at a position: a step, or the end behind the last one.
function isThere(position) {
  return position < run.total ? Boolean(run.frames[position]) : run.over;
}

function play(now) {
  if (!run?.playing || !element.isConnected) return;
  if (now >= run.due) {
    // A way that was stopped ends where it was; what was never seen stays so.
    const end = run.live ? run.total : lastSeen();
    if (run.at < end && isThere(run.at + 1)) {
      run.due = Math.max(run.due + run.pace, now - run.pace);
      show(run.at + 1);
      if (run.at === end) arrived();
    } else {
      run.due = now; // not thought of yet
    }
  }
  requestAnimationFrame(play);
}

function startPlaying() {
  run.playing = true;
  run.due = performance.now();
  requestAnimationFrame(play);
}

function replay() {
  if (!run || run.live) return;
  if (run.playing) {
    run.playing = false;
    drawShown();
    return;
  }
  if (run.at >= lastSeen()) show(0);
  startPlaying();
  drawShown();
}

const lastSeen = () => (run.done ? run.total : run.seen);

function scrub(position) {
  run.playing = false;
  show(position);
}

// --- taking away, and bringing -------------------------------------------------------------------

function keep(kind) {
  if (run?.done) trigger("keep", { turn: run.turn, kind });
}

function hearKept(kept) {
  if (!kept?.data) return;
  const address = URL.createObjectURL(new Blob([bytes(kept.data)], { type: kept.type }));
  make("a", { href: address, download: kept.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// What is dropped or pasted anywhere on the page goes the way of the upload button.
function bring(event, files) {
  const input = document.querySelector(`${OWN} input[type=file]`);
  if (!element.isConnected || !input || !files || files.length === 0) return;
  event.preventDefault();
  const one = new DataTransfer();
  one.items.add(files[0]);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => bring(event, event.dataTransfer.files));
document.addEventListener("paste", (event) => bring(event, event.clipboardData.files));
