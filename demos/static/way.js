// A way out of noise that is watched: what the two pages that show one have in common. It is one
// script with desk.js before it and with those of the page behind it, which have NAME, data,
// settings and parts, and
//
//   set(), note()              what is set, and the link to it
//   begun(), unpacked()        of news: that a way has begun; a step of it as it is kept
//   goBack(), arrived()        when a way came to nothing, and when its end is shown
//   drawShown(), drawAll()     what is seen at the position of the scrubber, and all around it
//   summary()                  how a way was asked for, in a line
//
// Gradio hands in element, trigger, props, server, upload and watch.
//
// The server sends steps as fast as it has them; they are shown at a pace that the eye follows.

const SLOWEST = 80; // milliseconds a step is shown at most: more than ten of them a second
const FASTEST = 40;
const WHOLE = 2600; // and all of them, about
const SHELF = 6; // results that are kept; the server keeps some more

const host = element.querySelector(".walk");

let run = null; // the way that is shown; null: what it will begin with, before anything is asked
let runs = []; // those that came to their end, the newest first
let turn = 0; // of ways that are asked for; news of an earlier one is none
let heard = 0; // the last number of what was brought

// --- small tools ---------------------------------------------------------------------------------

function status(words) {
  parts.status.textContent = words;
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

function hearNews(news) {
  if (!news || !run || news.turn !== run.turn || run.stopped) return;
  if (news.failed) {
    goBack();
    status(data.words.failed);
    drawAll();
    return;
  }
  if (!run.heard) begun(news);
  run.heard = true;
  run.total = news.total;
  run.pace = Math.min(Math.max(WHOLE / news.total, FASTEST), SLOWEST);
  news.frames.forEach((frame, i) => {
    run.frames[news.first + i] ??= unpacked(frame);
  });
  if (news.over) {
    run.over = true;
    run.end = bytes(news.end);
    run.result = news.result;
  }
}

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

function show(position) {
  run.at = position;
  run.seen = Math.max(run.seen, position);
  drawShown();
}

function scrub(position) {
  run.playing = false;
  show(position);
}

// A way whose end was seen is kept, to be looked at again.
function shelve() {
  run.live = false;
  run.done = true;
  runs = [run, ...runs].slice(0, SHELF);
  status(data.words.done);
}

// Stop: at once for whoever looks, and for the model after the step that it thinks about.
function stop() {
  if (!run?.live) return;
  if (!run.over) trigger("halt", { turn: run.turn });
  run.stopped = true;
  run.playing = run.live = false;
  if (run.at < 0) goBack(); // nothing was seen yet
  status(data.words.stopped);
  drawAll();
}

// Let go of a way without a word: something else takes its place.
function abandon() {
  if (run?.live && !run.over) trigger("halt", { turn: run.turn });
  run = null;
}

// --- parts of the page ---------------------------------------------------------------------------

// A slider below its name; `input` is called with each number on the way.
function slider(name, [min, max], step, input) {
  const id = `${NAME}_${name}`;
  const on = { input: (event) => input(Number(event.target.value)) };
  parts[`${name}Name`] = make("label", { class: "name", for: id });
  parts[name] = make("input", { id, type: "range", min, max, step, on });
  return make("div", { class: "slider" }, parts[`${name}Name`], parts[name]);
}

function seedLine() {
  const [min, max] = data.limits.seed;
  const on = { change: (event) => setSeed(event.target.valueAsNumber) };
  parts.seed = make("input", { id: `${NAME}_seed`, type: "number", min, max, step: 1, on });
  const dice = () => setSeed(Math.floor(Math.random() * 1_000_000));
  return make("div", { class: "line seed" }, parts.seed, button("dice", data.words.dice, dice));
}

// What stands below the pictures: where on the way they are, and what can be done with them.
function buildPlace() {
  const say = data.words;
  slider("scrubber", [0, 0], 1, scrub);
  parts.replay = button("replay", say.replay, replay);
  parts.summary = make("p", { class: "note summary" });
  const take = (kind, title) =>
    button(kind, kind.toUpperCase(), () => keep(kind), { "aria-label": title, title });
  parts.keep = make(
    "div",
    { class: "line keep" },
    make("span", { class: "caption" }, say.keep),
    take("png", say.keep_png),
    take("gif", say.keep_gif),
    make("span", { class: "note" }, say.keep_note),
  );
}

// The step that is shown, as it is counted.
const stepShown = () => ({ step: Math.min(run.at + 1, run.total), steps: run.total });

function drawPlace() {
  const say = data.words;
  const words = run.at === run.total ? say.at_end : fill(say.at_step, stepShown());
  parts.scrubber.max = lastSeen();
  parts.scrubber.value = run.at;
  parts.scrubber.setAttribute("aria-valuetext", words);
  parts.scrubberName.textContent = words;
  parts.scrubber.disabled = run.live;
  parts.replay.disabled = run.live || lastSeen() < 1;
  parts.replay.textContent = run.playing && !run.live ? say.pause : say.replay;
  parts.summary.textContent = run.summary ??= summary(run);
  parts.keep.hidden = !run.done;
}

// What was walked before, to look at it again.
function buildShelf() {
  const say = data.words;
  parts.before = make("div", { class: "tiles", role: "group", "aria-label": say.shelf });
  parts.shelf = make(
    "section",
    { class: "card shelf" },
    make("h2", {}, say.shelf),
    make("p", { class: "note" }, say.shelf_note),
    parts.before,
  );
  return parts.shelf;
}

// One of them: its picture, what it is called, and how it was asked for.
function tile(one, values, called, told, look) {
  const pressed = String(one === run);
  const more = { title: told, "aria-label": told, "aria-pressed": pressed };
  const face = button("again", "", () => look(one), more);
  face.append(make("canvas", {}), make("span", {}, called));
  paint(face.querySelector("canvas"), values, one.channels);
  return face;
}

// --- taking away, and bringing -------------------------------------------------------------------

function keep(kind) {
  if (run?.done) trigger("keep", { turn: run.turn, kind });
}

// What is dropped or pasted anywhere on the page goes the way of the upload button.
function bring(event, files) {
  const input = document.querySelector(`#${NAME}_own input[type=file]`);
  if (!element.isConnected || !input || !files || files.length === 0) return;
  event.preventDefault();
  giveTo(input, files[0]);
}
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => bring(event, event.dataTransfer.files));
document.addEventListener("paste", (event) => bring(event, event.clipboardData.files));

watch("news", () => hearNews(props.news));
watch("kept", () => hearKept(props.kept));
