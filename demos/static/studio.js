// Train, watch, travel back, compare.
// Gradio hands in element, trigger, props, server, upload and watch.
//
// Runs train without the page. It asks the server again and again what has come: ten times a second
// and more while there is news, seldom else. Pictures come one by one after that and stay here.

const host = element.querySelector(".studio");

const ACTIVE = ["starting", "loading", "training"];
const RESTING = ["stopped", "interrupted", "failed"];
const OFTEN = 75; // milliseconds from one question to the next while a run is active
const SELDOM = 700;
const HIDDEN = 3000; // while nobody looks at the tab
const LIST = 2000; // between two looks at all runs
const SURE = 0.6; // share of readable digits that counts as recognisable

let data; // words, options, sources
let runs = []; // all of them, in short
let view = { run: null, beside: null }; // whose pictures are shown
let known = new Map(); // name -> what has come of it
let images = new Map(); // by `keyOf` -> {image, read}; null while it is on its way
let fetching = 0;
let form = null; // what the controls say
let change = null; // {field, value, guess}: the one thing that is to be another
let axis = "time";
let place = null; // where one is on the axis; null: at the newest
let playing = null; // the timer
let redrawn = null; // drawn from other noise, in place of a sheet
let seed = 0; // of the next noise
let awaited = null; // the seed of what is being drawn, unless it was left since
let prepared = null; // {field, value}: the change that a restored picture showed
let neighbour = null; // the choice of the other run in it, where more than one thing differs
let asked = null; // the last request, to be made again when another run makes way
let wanting = null; // the name of a run that is to be deleted, if the person is sure
let polling = false;
let timer = null;
let listed = 0; // when all runs were looked at
let lost = false;
let drawing = false; // a drawing is due
let stateSaid = "";
let parts = {};

// --- small tools -------------------------------------------------------------------------------

const number = (value, settings = {}) => new Intl.NumberFormat(data.lang, settings).format(value);
const percent = (share) => number(share, { style: "percent", maximumFractionDigits: 0 });

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  if (!minutes) return fill(data.words.time_seconds, { seconds: rest });
  if (!rest) return fill(data.words.minutes_value, { count: number(minutes) });
  return fill(data.words.time_minutes, { minutes, seconds: rest });
}

// Change a text only where it is another, so that nothing is read out twice.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const unit = () => (axis === "time" ? data.words.unit_time : data.words.unit_steps);
const shown = () => [view.run, view.beside].filter((name) => name !== null);
const inShort = (name) => runs.find((run) => run.name === name);
const target = () => view.beside ?? view.run; // whom the buttons mean
const sourceOf = (id) => data.sources.find((source) => source.id === id);

function sourceName(choice) {
  const source = sourceOf(choice.source);
  if (source?.name) return source.name;
  return data.words[`source_${choice.source}`] ?? String(choice.source).replace(/^folder\//, "");
}

// One field of a choice, in words.
function valueName(field, value) {
  const say = data.words;
  if (field === "rate") {
    return fill(say.rate_value, { times: number(value, { maximumSignificantDigits: 3 }) });
  }
  if (field === "minutes") return fill(say.minutes_value, { count: number(value) });
  if (field === "labels") return value.length ? value.join(" ") : say.all_labels;
  if (field === "seed") return number(value, { useGrouping: false });
  return say[`${field}_${value}`] ?? String(value);
}

function runName(run) {
  if (run.broken) return run.name;
  if (!run.changed) return `${sourceName(run.choice)} ${run.name.split("-").pop()}`;
  return `${data.words[run.changed]}: ${valueName(run.changed, run.choice[run.changed])}`;
}

// --- asking what is new ---------------------------------------------------------------------------

async function poll() {
  if (polling || !data) return;
  polling = true;
  clearTimeout(timer);
  const began = performance.now();
  const list = began - listed > LIST;
  const question = {
    runs: Object.fromEntries(shown().map((name) => [name, known.get(name)?.at ?? null])),
    list,
  };
  try {
    const answer = await server.news(question);
    lost = false;
    if (list) {
      listed = began;
      hearList(answer.list);
      const room = document.getElementById("studio_room");
      if (room && answer.room) put(room, answer.room);
    }
    for (const [name, news] of Object.entries(answer.runs)) hearRun(name, news);
  } catch (error) {
    lost = true;
  }
  polling = false;
  draw();
  if (!element.isConnected) return;
  const busy = shown().some((name) => {
    const now = known.get(name);
    return ACTIVE.includes(now?.state) || now?.asked;
  });
  const pause = document.hidden ? HIDDEN : lost ? 1500 : busy ? OFTEN : SELDOM;
  timer = setTimeout(poll, Math.max(15, pause - (performance.now() - began)));
}

// Ask at once: something was done, or somebody is back.
function hurry() {
  listed = -Infinity;
  clearTimeout(timer);
  poll();
}
document.addEventListener("visibilitychange", () => {
  if (element.isConnected && !document.hidden) hurry();
});

function hearList(list) {
  if (!list) return;
  runs = inOrder(list);
  drawRuns();
}

// The last one first, and right below a run what was changed of it.
function inOrder(list) {
  const isChild = (run) => run.like && list.some((other) => other.name === run.like);
  const below = (run) =>
    list.filter((other) => other.like === run.name).flatMap((other) => [other, ...below(other)]);
  return list.filter((run) => !isChild(run)).flatMap((run) => [run, ...below(run)]);
}

function hearRun(name, news) {
  if (!shown().includes(name)) return;
  if (news.gone || news.broken) {
    known.set(name, { ...news, points: [], sheets: null, state: "gone", at: null });
    return;
  }
  const before = known.get(name);
  const points = news.anew || !before ? news.points : before.points.concat(news.points);
  known.set(name, { ...news, points });
}

// --- its pictures ---------------------------------------------------------------------------------

const sheetsOf = (name) => known.get(name)?.sheets ?? null;

// A run that was deleted may have left its name to another one: it was not made at the same time.
const keyOf = (name, step) => `${name}/${known.get(name)?.made}/${step}`;

// When a step was taken, in seconds of training.
function secondsAt(name, step) {
  const now = known.get(name);
  const points = now?.points ?? [];
  if (!points.length) return 0;
  const [end, , , spent] = points.at(-1);
  // What a terminal has trained since is not in the curve, but how far it came is known.
  if (step > end && now.step > end) {
    return spent + (now.seconds - spent) * Math.min(1, (step - end) / (now.step - end));
  }
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1;
    else high = middle;
  }
  const [after, , , seconds] = points[low];
  const [before, , , earlier] = low ? points[low - 1] : [0, 0, 0, 0];
  if (step >= after || after === before) return seconds;
  return earlier + ((seconds - earlier) * (step - before)) / (after - before);
}

const position = (name, step) => (axis === "time" ? secondsAt(name, step) : step);

// Where there are pictures, of one run or of both.
function stops() {
  const all = shown().flatMap((name) =>
    (sheetsOf(name)?.steps ?? []).map((step) => position(name, step)),
  );
  return [...new Set(all)].sort((a, b) => a - b);
}

// How far all that are shown have come.
function front() {
  const ends = shown()
    .map((name) => [name, sheetsOf(name)?.steps.at(-1)])
    .filter(([, step]) => step !== undefined)
    .map(([name, step]) => position(name, step));
  return ends.length ? Math.min(...ends) : null;
}

const here = () => place ?? front();

// The pictures of a run until here; before its first ones those.
function until(name, at) {
  const steps = sheetsOf(name)?.steps;
  if (!steps?.length || at === null) return [];
  const past = steps.filter((step) => position(name, step) <= at + 1e-6);
  return past.length ? past : [steps[0]];
}

const stepHere = (name, at = here()) => until(name, at).at(-1) ?? null;

// The last of them that has come to the browser.
const stepShown = (name, at) =>
  until(name, at)
    .filter((step) => images.get(keyOf(name, step)))
    .at(-1) ?? null;

function fetchNext() {
  if (fetching >= 2) return;
  // What is shown first, then the newest of each, then those before.
  const queues = shown().map((name) => {
    const steps = [...(sheetsOf(name)?.steps ?? [])].reverse();
    const first = stepHere(name);
    return [...(first === null ? [] : [first]), ...steps].map((step) => [name, step]);
  });
  const longest = Math.max(0, ...queues.map((queue) => queue.length));
  const wanted = Array.from({ length: longest }, (_, i) => queues.map((queue) => queue[i])).flat();
  const next = wanted.filter(Boolean).find((place) => !images.has(keyOf(...place)));
  if (!next) return;
  const [name, step] = next;
  const key = keyOf(name, step);
  // What did not come is asked for again, but not at once: there may be a reason.
  const again = () => setTimeout(() => images.delete(key), SELDOM);
  images.set(key, null);
  fetching += 1;
  server
    .sheet({ run: name, step })
    .then((found) => (found ? show(key, found) : again()))
    .catch(again)
    .finally(() => {
      fetching -= 1;
      fetchNext();
    });
  fetchNext();
}

async function show(key, { address, read }) {
  const image = new Image();
  image.src = address;
  await image.decode();
  images.set(key, { image, read });
  while (images.size > 500) images.delete(images.keys().next().value);
  draw();
}

// Which share of a sheet can be read; null where there is no judge, or it has not come yet.
function shareOf(name, step) {
  const read = images.get(keyOf(name, step))?.read;
  return read ? [...read].filter((mark) => mark === "1").length / read.length : null;
}

const isJudged = (name) =>
  (sheetsOf(name)?.steps ?? []).some((step) => images.get(keyOf(name, step))?.read);

// Shares of readable pictures, by time or step.
function shares(name) {
  return (sheetsOf(name)?.steps ?? [])
    .map((step) => [position(name, step), shareOf(name, step)])
    .filter(([, share]) => share !== null);
}

// --- drawing ----------------------------------------------------------------------------------------

// At the next frame; however much has come until then, it is drawn once.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (data && element.isConnected) drawNow();
  });
  fetchNext();
}

function drawNow() {
  parts.lost.hidden = !lost;
  const running = view.run !== null;
  parts.setup.hidden = running;
  parts.empty.hidden = running;
  parts.bar.hidden = parts.pictures.hidden = parts.curves.hidden = parts.changing.hidden = !running;
  if (!running) {
    if (!parts.noise.width || parts.noise.dataset.wide !== String(parts.noise.clientWidth)) {
      parts.noise.dataset.wide = parts.noise.clientWidth;
      layNoise(parts.noise);
    }
    return;
  }
  drawBar();
  drawPictures();
  drawCurves();
  drawVerdict();
  drawChange();
}

function drawBar() {
  const say = data.words;
  const name = target();
  const now = known.get(name);
  const run = inShort(name);
  put(parts.name, run ? runName(run) : name);
  const state = now?.state ?? "starting";
  const gone = state === "gone";
  put(parts.summary, run && !run.broken ? summary(run) : "");
  let said = gone ? say.gone : say[`state_${state}`];
  if (now?.broken) said = say.half_there_text;
  else if (now?.asked && !gone) said = say[`asked_${now.asked}`];
  put(parts.state, said);
  parts.state.dataset.state = now?.asked && !gone ? "asked" : state;
  if (stateSaid !== said) {
    stateSaid = said;
    parts.heard.textContent = said;
  }
  const share = now?.progress ?? 0;
  parts.gauge.hidden = gone;
  parts.fill.style.width = `${(100 * share).toFixed(2)}%`;
  parts.gauge.setAttribute("aria-valuenow", Math.round(100 * share));
  const facts = [];
  if (state === "loading" && now.total) {
    const counts = { done: number(now.done), total: number(now.total) };
    facts.push(fill(say.loading_count, counts));
  }
  if (now?.step) {
    const total = duration(60 * now.minutes);
    facts.push(fill(say.of_minutes, { time: duration(now.seconds), total }));
    facts.push(fill(say.step_now, { step: number(now.step) }));
    if (state === "training") {
      const speed = number(Math.round(meanSpeed(now)), { maximumSignificantDigits: 3 });
      facts.push(fill(say.pictures_a_second, { speed }));
      facts.push(fill(say.left, { time: duration(now.left) }));
    }
  }
  if (now?.left_out) facts.push(fill(say.left_out, { count: number(now.left_out) }));
  put(parts.facts, facts.join(" · "));
  const note = say[now?.trouble] ?? say[`note_${state}`] ?? "";
  put(parts.note, note);
  parts.note.classList.toggle("trouble", state === "failed" || Boolean(now?.trouble));
  parts.note.hidden = !note;

  const waits = Boolean(now?.asked);
  const buttons = {
    pause: state === "training",
    go_on: ["paused", ...RESTING].includes(state),
    step: ["paused", ...RESTING].includes(state),
    stop: [...ACTIVE, "paused"].includes(state),
    lengthen: state === "finished" && now.minutes < data.most_minutes,
    remove: [...RESTING, "finished"].includes(state) || Boolean(now?.broken),
  };
  const held = document.activeElement;
  for (const [what, fits] of Object.entries(buttons)) {
    parts[what].hidden = !fits;
    // Not disabled: what has the keyboard would lose it.
    parts[what].setAttribute("aria-disabled", String(waits));
  }
  parts.remove.hidden ||= wanting !== null;
  parts.sure.hidden = wanting === null;
  if (parts.controls.contains(held) && held.hidden) {
    parts.controls.querySelector("button:not([hidden])")?.focus();
  }
}

function meanSpeed(now) {
  const last = now.points.slice(-12);
  return last.length ? last.reduce((sum, point) => sum + point[2], 0) / last.length : now.speed;
}

// What was chosen, in a line.
function summary({ choice }) {
  const say = data.words;
  const said = [sourceName(choice)];
  if (choice.labels.length) said.push(choice.labels.join(" "));
  said.push(fill(say.minutes_value, { count: number(choice.minutes) }));
  if (choice.rate !== 1) said.push(`${say.rate} ${valueName("rate", choice.rate)}`);
  for (const field of ["objective", "schedule", "size"]) {
    if (choice[field] !== data.opening[field]) said.push(valueName(field, choice[field]));
  }
  if (choice.seed) said.push(`${say.seed} ${choice.seed}`);
  return said.join(" · ");
}

function drawPictures() {
  const say = data.words;
  const names = shown();
  const at = here();
  parts.columns.classList.toggle("two", names.length === 2);
  ["first", "second"].forEach((which, i) => {
    const column = parts[which];
    const name = names[i] ?? null;
    column.frame.hidden = name === null;
    if (name === null) return;
    const run = inShort(name);
    column.title.hidden = names.length < 2;
    put(column.title, columnTitle(run, i));
    column.title.title = column.title.textContent;
    const layout = sheetsOf(name);
    const mine = redrawn?.run === name;
    const step = stepShown(name, at);
    const picture = step === null ? null : images.get(keyOf(name, step));
    column.waiting.hidden = Boolean(picture) || mine;
    column.canvas.hidden = !picture && !mine;
    drawLabels(column, layout);
    if (!layout || (!picture && !mine)) {
      put(column.caption, "");
      put(column.read, "");
      return;
    }
    if (mine) layRedrawn(column.canvas, redrawn, layout);
    else laySheet(column.canvas, picture, layout);
    const redrawnSay = () =>
      fill(say.redrawn, { seed: redrawn.seed, step: number(redrawn.step) });
    const after = { time: duration(secondsAt(name, step)), step: number(step) };
    put(column.caption, mine ? redrawnSay() : fill(say.after, after));
    column.canvas.setAttribute("aria-label", fill(say.drawn_label, { step: number(step) }));
    const marks = mine ? null : picture.read;
    const right = marks ? [...marks].filter((mark) => mark === "1").length : 0;
    put(column.read, marks ? fill(say.read, { right, count: marks.length }) : "");
  });
  const all = stops();
  const last = Math.max(0, all.length - 1);
  parts.slider.max = last;
  parts.slider.disabled = all.length < 2;
  const index = at === null ? 0 : all.filter((stop) => stop <= at + 1e-6).length - 1;
  if (document.activeElement !== parts.slider || place === null) {
    parts.slider.value = Math.max(0, index);
  }
  parts.slider.setAttribute("aria-valuetext", parts.first.caption.textContent);
  parts.newest.disabled = place === null;
  put(parts.play, playing === null ? say.play : say.halt);
  parts.play.disabled = all.length < 2;
  const drawn = redrawn !== null;
  const kept = names.length > 0 && sheetsOf(names[0])?.kept.length > 0;
  parts.redraw.disabled = !kept;
  parts.same.hidden = !drawn;
  parts.usual.hidden = drawn;
  parts.png.disabled = parts.gif.disabled = stepHere(names[0]) === null;
  drawMilestone();
}

function columnTitle(run, at) {
  if (!run) return "";
  const other = inShort(shown()[1 - at]);
  const by = inShort(view.beside)?.changed || inShort(view.run)?.changed;
  if (!by || !other || run.broken || other.broken) return runName(run);
  const value = `${data.words[by]}: ${valueName(by, run.choice[by])}`;
  return run.changed === by && run.like === other.name
    ? value
    : `${data.words.as_before}: ${valueName(by, run.choice[by])}`;
}

function drawLabels(column, layout) {
  const labels = layout?.labels ?? [];
  const key = labels.join("\n");
  if (column.labels.dataset.key === key) return;
  column.labels.dataset.key = key;
  column.labels.style.setProperty("--columns", layout?.columns ?? 10);
  // Of neighbours that show the same, the first one has the name.
  column.labels.replaceChildren(
    ...labels.map((label, i) =>
      make("span", { title: label }, i && labels[i - 1] === label ? "" : label),
    ),
  );
}

function drawMilestone() {
  const name = view.run;
  const first = (sheetsOf(name)?.steps ?? []).find((step) => (shareOf(name, step) ?? 0) >= SURE);
  parts.milestone.hidden = first === undefined || view.beside !== null;
  if (first === undefined) return;
  const time = duration(secondsAt(name, first));
  put(parts.milestone, fill(data.words.milestone, { time }));
}

function drawCurves() {
  const say = data.words;
  const names = shown();
  const x = (point) => (axis === "time" ? point[3] : point[0]);
  const ends = names.map((name) => known.get(name)?.points.at(-1)).filter(Boolean).map(x);
  const to = Math.max(...ends, axis === "time" ? 5 : 10);
  const settings = {
    to,
    cursor: place === null && names.length === 1 ? null : here(),
    xFormat: (value) =>
      axis === "time" ? fill(say.time_seconds, { seconds: number(value) }) : number(value),
  };
  const lines = (y) =>
    names.map((name, i) => ({
      name: i ? "b" : "a",
      points: (known.get(name)?.points ?? []).map((point) => [x(point), point[y]]),
    }));
  const any = ends.length > 0;
  parts.noCurve.hidden = any;
  const judged = names.filter(isJudged);
  parts.readablePart.hidden = !judged.length;
  if (judged.length) {
    const dotted = names.map((name, i) => ({
      name: i ? "b" : "a",
      points: shares(name),
      dots: true,
    }));
    const label = `${say.readable}, ${unit()}`;
    parts.readable.draw(dotted, { ...settings, format: percent, label });
    const kind = inShort(names[0])?.choice?.source === "mnist" ? "mnist" : "digits";
    put(parts.readableNote, say[`readable_${kind}`]);
  }
  parts.lossPart.hidden = parts.speedPart.hidden = !any;
  if (any) {
    const decimal = (value) => number(value, { maximumSignificantDigits: 2 });
    parts.loss.draw(lines(1), { ...settings, format: decimal, label: `${say.loss}, ${unit()}` });
    const whole = (value) => number(value, { notation: "compact" });
    const label = `${say.speed}, ${say.speed_note}`;
    parts.speed.draw(lines(2), { ...settings, format: whole, label });
  }
  const choices = names.map((name) => inShort(name)?.choice);
  const apart =
    names.length === 2 &&
    choices.every(Boolean) &&
    ["objective", "schedule"].some((field) => choices[0][field] !== choices[1][field]);
  put(parts.lossNote, apart ? say.loss_apart : say.loss_note);
  parts.lossNote.classList.toggle("trouble", apart);
  put(parts.speedNote, names.length === 2 ? say.speed_honest : say.speed_note);
  parts.axis.hidden = names.length < 2;
}

// What a change has done, as far as both have trained: {outcome, before, after, at}, or null.
function outcomeOf(first, second) {
  const now = known.get(second);
  if (now?.trouble === "error_nan") return { outcome: "broken" };
  const [a, b] = [first, second].map((name) =>
    (sheetsOf(name)?.steps ?? [])
      .map((step) => [secondsAt(name, step), shareOf(name, step)])
      .filter(([, share]) => share !== null),
  );
  if (!a.length || !b.length) return null;
  const at = Math.min(a.at(-1)[0], b.at(-1)[0]);
  const enough = b.at(-1)[0] >= 0.97 * a.at(-1)[0] || now?.state === "finished";
  if (!enough) return null;
  const soFar = (line) => line.filter(([time]) => time <= at + 1e-6);
  // What it had come to, and how it stood on the way there, on average over time.
  const end = (line) => soFar(line).at(-1)?.[1] ?? 0;
  const area = (line) => {
    const points = soFar(line);
    let sum = 0;
    points.forEach(([time, share], i) => {
      const next = points[i + 1]?.[0] ?? at;
      sum += share * (next - time);
    });
    return sum / Math.max(at, 1e-6);
  };
  const [before, after] = [end(a), end(b)];
  const gap = Math.abs(after - before) > 0.08 ? after - before : area(b) - area(a);
  const same = Math.abs(after - before) <= 0.08 && Math.abs(gap) <= 0.05;
  const fell = after < 0.25 && before >= 0.5;
  const outcome = fell ? "broken" : same ? "same" : gap > 0 ? "better" : "worse";
  return { outcome, before, after, at };
}

function drawVerdict() {
  const say = data.words;
  const run = view.beside && inShort(view.beside);
  parts.verdict.hidden = !run?.guess || run.like !== view.run;
  if (parts.verdict.hidden) return;
  const guess = say[`guess_${run.guess}`];
  const found = outcomeOf(view.run, view.beside);
  const judged = isJudged(view.run);
  let said = say.verdict_wait;
  let right = null;
  if (found) {
    // What falls apart is readable later, too.
    right = run.guess === found.outcome || (run.guess === "worse" && found.outcome === "broken");
    const which = run.guess === "open" ? "open" : right ? "right" : "wrong";
    said =
      found.before === undefined
        ? say.verdict_fell
        : fill(say[`verdict_${which}`], {
            outcome: say[`guess_${found.outcome}`],
            before: percent(found.before),
            after: percent(found.after),
            time: duration(found.at),
          });
  } else if (!judged && !ACTIVE.includes(known.get(view.beside)?.state)) {
    said = say.verdict_eyes;
  }
  put(parts.verdictGuess, fill(say.your_guess, { guess }));
  put(parts.verdictSaid, said);
  parts.verdict.dataset.right = found === null ? "" : String(right);
}

// --- all runs -------------------------------------------------------------------------------------

function drawRuns() {
  const say = data.words;
  parts.noRuns.hidden = runs.length > 0;
  // A button stays the same one while it means the same: somebody may be pressing it.
  const key = JSON.stringify([view, runs.map((run) => ({ ...run, progress: 0, step: 0, last: 0, sheets: 0 }))]);
  if (parts.list.dataset.key === key) {
    runs.forEach((run, i) => {
      if (run.state === "training") put(parts.list.children[i].querySelector(".how"), percent(run.progress));
    });
    return;
  }
  parts.list.dataset.key = key;
  const held = host.contains(document.activeElement) && document.activeElement?.dataset.run;
  parts.list.replaceChildren(
    ...runs.map((run) => {
      const state = run.broken ? say.half_there : say[`state_${run.state}`];
      const here = run.name === view.run || run.name === view.beside;
      const dot = make("i", { class: "dot", "data-state": run.broken ? "failed" : run.state });
      const text = make("span", { class: "what" }, make("b", {}, runName(run)));
      const like = run.like ? inShort(run.like) : null;
      const first = like ? runName(like) : run.broken ? "" : summary(run);
      text.append(make("span", { class: "note" }, first));
      const face = button("run", "", () => openRun(run), {
        "data-run": run.name,
        "aria-pressed": String(here),
        "aria-label": fill(say.run_label, { name: `${runName(run)} ${first}`, state }),
      });
      const how = run.state === "training" ? percent(run.progress) : state;
      face.append(dot, text, make("span", { class: "how" }, how));
      return make("li", { class: run.like ? "child" : "" }, face);
    }),
  );
  if (held) parts.list.querySelector(`[data-run="${CSS.escape(held)}"]`)?.focus();
  drawCompare();
}

// A change is shown beside what it changes.
function openRun(run) {
  const like = run.like && inShort(run.like);
  go(like && !like.broken ? run.like : run.name, like && !like.broken ? run.name : null);
}

function go(run, beside = null) {
  halt();
  view = { run, beside };
  place = change = wanting = asked = null;
  leaveRedrawn();
  stateSaid = "";
  for (const name of known.keys()) if (!shown().includes(name)) known.delete(name);
  if (beside) axis = "time";
  note();
  drawRuns();
  drawBusy();
  delete parts.changing.dataset.of; // a run of this name may have been another one
  drawChange();
  draw();
  hurry();
}

// What could stand beside the run that is shown.
function drawCompare() {
  const say = data.words;
  const others = runs.filter((run) => !run.broken && run.name !== view.run);
  const options = [["", say.compare_none], ...others.map((run) => [run.name, runName(run)])];
  const key = JSON.stringify(options);
  if (parts.compare.dataset.key !== key) {
    parts.compare.dataset.key = key;
    parts.compare.replaceChildren(
      ...options.map(([value, text]) => make("option", { value }, text)),
    );
  }
  parts.compare.value = view.beside ?? "";
  parts.compareLine.hidden = !others.length;
}

// Keep the address a link to what is shown.
function note() {
  const address = new URL(window.location.href);
  const noted = { run: view.run, with: view.beside, new: view.run === null && runs.length ? "1" : null };
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

// --- what a person does ---------------------------------------------------------------------------

function send(event, detail) {
  asked = { event, detail };
  trigger(event, detail);
}

// A press more, before the first one is answered, would begin a training more.
const isAsking = () => asked !== null && !asked.busy;

function act(what) {
  const name = target();
  const now = known.get(name);
  if (now?.asked) return; // one thing after the other
  wanting = null;
  const wish = { pause: "pause", stop: "stop" }[what] ?? "train";
  if (now && what !== "remove") known.set(name, { ...now, asked: wish }); // seen at once
  send("act", { run: name, what });
  draw();
}

// What was asked for once more, now that the other run may be paused.
function insist() {
  if (!asked?.busy) return;
  const { event, detail } = asked;
  send(event, { ...detail, instead: true });
  draw();
}

function hearAnswer(news) {
  if (!news || !data) return;
  if (news.failed) {
    const name = target();
    const now = known.get(name);
    if (now) known.set(name, { ...now, asked: "" });
    // Whoever went elsewhere meanwhile has asked for nothing any more.
    asked = news.busy && asked ? { ...asked, busy: news.busy } : null;
    parts.starts.forEach((start) => start.removeAttribute("aria-busy"));
    drawBusy();
    hurry();
    return;
  }
  const like = asked?.event === "begin" ? asked.detail.like : undefined;
  asked = null;
  hearList(news.runs);
  parts.starts.forEach((start) => start.removeAttribute("aria-busy"));
  drawBusy();
  if (news.did === "begin") {
    go(like ?? news.run, like ? news.run : null);
    if (!like) prepare();
  } else if (news.did === "remove") go(view.beside ? view.run : null);
  else hurry();
}

// The change that a picture showed stands ready beside the run that was begun by it.
function prepare() {
  if (prepared) change = { ...prepared, guess: null };
  prepared = null;
}

function drawBusy() {
  const busy = asked?.busy ?? null;
  for (const part of [parts.busy, parts.busySetup, parts.busyChange]) {
    part.hidden = busy === null;
    if (busy === null) continue;
    const run = inShort(busy);
    put(part.firstChild, fill(data.words.busy, { run: run ? runName(run) : busy }));
  }
  // Where the question was asked, it is answered.
  const from = busy === null ? null : asked.event === "act" ? "bar" : asked.detail.like ? "change" : "setup";
  parts.busy.hidden ||= from !== "bar";
  parts.busySetup.hidden ||= from !== "setup";
  parts.busyChange.hidden ||= from !== "change";
}

function begin() {
  if (isAsking()) return;
  const source = sourceOf(form.source);
  if (source?.labels.length && form.labels.length === 0 && !form.all) {
    put(parts.said, data.words.no_labels);
    return;
  }
  put(parts.said, "");
  halt();
  parts.start.setAttribute("aria-busy", "true");
  send("begin", { choice: wishOf(form) });
}

const wishOf = ({ source, labels, minutes, rate, schedule, objective, size, seed: dice }) => ({
  source,
  labels,
  minutes,
  rate,
  schedule,
  objective,
  size,
  seed: dice,
});

function travel(index) {
  const all = stops();
  leaveRedrawn();
  place = all[index] ?? null;
  if (place !== null && index >= all.length - 1 && shown().length === 1) place = null;
  draw();
}

function halt() {
  clearInterval(playing);
  playing = null;
}

function play() {
  if (playing !== null) {
    halt();
    draw();
    return;
  }
  let index = Number(parts.slider.value);
  if (index >= stops().length - 1) index = -1;
  playing = setInterval(() => {
    index += 1;
    parts.slider.value = index;
    travel(index);
    if (index >= stops().length - 1) halt();
  }, 140);
}

function redraw() {
  const name = view.run;
  const step = stepHere(name);
  if (step === null) return;
  seed += 1;
  awaited = seed;
  halt();
  trigger("redraw", { run: name, step, seed });
}

// Back to the sheets; what still comes of the drawing is not waited for.
function leaveRedrawn() {
  redrawn = awaited = null;
}

function hearDrawn(news) {
  if (!news || news.failed || news.run !== view.run || news.seed !== awaited) return;
  redrawn = news;
  draw();
}

function keep(kind) {
  const [name, beside] = shown();
  const anew = redrawn?.run === name ? redrawn : null;
  const detail = { kind, run: name, step: anew?.step ?? stepHere(name) };
  if (beside && stepHere(beside) !== null) {
    Object.assign(detail, { beside, beside_step: stepHere(beside) });
  }
  // What is seen is what is saved.
  if (anew) trigger("keep_redrawn", { ...detail, seed: anew.seed });
  else trigger("keep", detail);
}

function hearRestored(news) {
  if (!news) return;
  setForm(news.choice);
  go(null);
  if (news.seed !== null) seed = news.seed - 1; // the next noise is that one
  restoreBeside(news);
  put(parts.said, restoredWords(news));
}

// Of two runs in a picture, the second one is a change of the first if one thing differs.
function restoreBeside({ choice, beside }) {
  const differs = (field) => JSON.stringify(choice[field]) !== JSON.stringify(beside[field]);
  const fields = beside ? Object.keys(wishOf(choice)).filter(differs) : [];
  const [field] = fields;
  prepared = neighbour = null;
  if (fields.length === 1 && CHANGED.includes(field)) prepared = { field, value: beside[field] };
  else if (fields.length) neighbour = beside;
  parts.neighbour.hidden = neighbour === null;
}

function restoredWords({ seed: drawn }) {
  const say = data.words;
  const said = [say.restored];
  if (prepared) said.push(say.restored_change);
  if (neighbour) said.push(say.restored_two);
  if (drawn !== null) said.push(fill(say.restored_noise, { seed: drawn }));
  return said.join(" ");
}

// The other run of a restored picture, in place of the one whose settings are in the form.
function takeNeighbour() {
  const other = wishOf(form);
  setForm(neighbour);
  neighbour = other;
  put(parts.said, data.words.restored);
}

// What is dropped anywhere on the page goes the way of the upload button.
function bring(event) {
  if (!element.isConnected) return;
  event.preventDefault();
  const input = document.querySelector("#studio_own input[type=file]");
  const files = event.dataTransfer?.files;
  if (!input || !files?.length) return;
  giveTo(input, files[0]);
}
document.addEventListener("dragover", (event) => element.isConnected && event.preventDefault());
document.addEventListener("drop", bring);

// --- building ---------------------------------------------------------------------------------------

function busyPart() {
  const say = data.words;
  const part = make(
    "div",
    { class: "busy", role: "alert" },
    make("p", {}),
    make(
      "div",
      { class: "line" },
      button("go first", say.busy_yes, insist),
      button("leave", say.busy_no, () => {
        asked = null;
        drawBusy();
        draw();
      }),
    ),
  );
  part.hidden = true;
  return part;
}

function columnPart(which) {
  const title = make("h3", { class: which });
  const labels = make("div", { class: "labels", "aria-hidden": "true" });
  const canvas = make("canvas", { role: "img" });
  const waiting = make("p", { class: "note waiting" }, data.words.waiting);
  const caption = make("span", {});
  const read = make("b", {});
  const frame = make(
    "figure",
    { class: "column" },
    title,
    labels,
    canvas,
    waiting,
    make("figcaption", {}, caption, read),
  );
  parts[which] = { frame, title, labels, canvas, waiting, caption, read };
  return frame;
}

function chartPart(name, settings) {
  const say = data.words;
  const chart = makeChart(settings);
  const text = make("span", { class: "note" });
  const part = make(
    "div",
    { class: `curve ${name}` },
    make("p", { class: "heading-line" }, make("b", {}, say[name]), " ", text),
    chart.root,
  );
  parts[name] = chart;
  parts[`${name}Note`] = text;
  parts[`${name}Part`] = part;
  return part;
}

function build() {
  const say = data.words;
  parts = { starts: [] };

  parts.form = make("div", { class: "form" });
  parts.said = make("p", { class: "said", "aria-live": "polite" });
  parts.start = button("go first", say.start, begin, { id: "studio_start" });
  parts.starts[0] = parts.start;
  parts.neighbour = button("neighbour", say.neighbour, takeNeighbour);
  parts.neighbour.hidden = neighbour === null;
  parts.busySetup = busyPart();
  const [before, after] = say.folder_hint.split("{option}");
  const hint = make("p", { class: "note" }, before, make("code", {}, "--allow"), after);
  parts.setup = make(
    "section",
    { class: "card setup" },
    make("h2", {}, say.new_title),
    parts.form,
    parts.start,
    parts.said,
    parts.neighbour,
    parts.busySetup,
    hint,
  );

  parts.changeForm = make("div", { class: "form" });
  parts.busyChange = busyPart();
  parts.changing = make(
    "section",
    { class: "card changing" },
    make("h2", {}, say.change),
    make("p", { class: "note" }, say.change_text),
    parts.changeForm,
    parts.busyChange,
  );

  parts.list = make("ul", { class: "runs" });
  parts.noRuns = make("p", { class: "note" }, say.no_runs);
  const list = make(
    "section",
    { class: "card list" },
    make(
      "div",
      { class: "line between" },
      make("h2", {}, say.runs),
      button("new", `+ ${say.new}`, () => go(null)),
    ),
    parts.noRuns,
    parts.list,
    make("p", { class: "note" }, say.drop),
    button("open", say.upload, () =>
      document.querySelector("#studio_own input[type=file]")?.click(),
    ),
  );

  parts.noise = make("canvas", { "aria-hidden": "true" });
  parts.empty = make(
    "section",
    { class: "card empty" },
    make("h2", {}, say.empty_title),
    make("p", {}, say.empty_text),
    parts.noise,
  );

  parts.lost = make("p", { class: "trouble", role: "alert" }, say.lost);
  parts.name = make("h2", {});
  parts.summary = make("p", { class: "note" });
  parts.state = make("span", { class: "state", "aria-hidden": "true" });
  parts.heard = make("span", { class: "unseen", "aria-live": "polite" });
  parts.fill = make("i", {});
  parts.gauge = make(
    "div",
    {
      class: "gauge",
      role: "progressbar",
      "aria-label": say.progress,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    parts.fill,
  );
  parts.facts = make("p", { class: "facts" });
  parts.note = make("p", { class: "note" });
  for (const [what, text] of [
    ["pause", say.pause],
    ["go_on", say.go_on],
    ["step", fill(say.step, { count: data.few })],
    ["stop", say.stop],
    ["lengthen", fill(say.lengthen, { count: number(data.longer) })],
  ]) {
    parts[what] = button(what, text, () => act(what), { "data-what": what });
  }
  parts.remove = button("remove", say.remove, () => {
    wanting = target();
    const run = inShort(wanting);
    put(parts.sureText, fill(say.remove_sure, { name: run ? runName(run) : wanting }));
    drawNow();
    parts.sure.querySelector("button").focus();
  }, { "data-what": "remove" });
  parts.sureText = make("p", {});
  parts.sure = make(
    "div",
    { class: "sure" },
    parts.sureText,
    button("cancel", say.cancel, () => {
      wanting = null;
      drawNow();
      parts.remove.focus();
    }),
    button("remove", say.remove_yes, () => act("remove"), { "data-what": "sure" }),
  );
  parts.controls = make(
    "div",
    { class: "controls line" },
    parts.pause,
    parts.go_on,
    parts.step,
    parts.lengthen,
    parts.stop,
    parts.remove,
  );
  parts.busy = busyPart();
  parts.bar = make(
    "section",
    { class: "card bar" },
    make("div", { class: "line between" }, make("div", { class: "title" }, parts.name, parts.summary), parts.state, parts.heard),
    parts.gauge,
    make("div", { class: "line between" }, parts.facts, parts.controls),
    parts.note,
    parts.sure,
    parts.busy,
  );

  parts.slider = make("input", {
    type: "range",
    id: "studio_travel",
    min: 0,
    max: 0,
    step: 1,
    on: {
      input: () => {
        halt();
        travel(Number(parts.slider.value));
      },
    },
  });
  parts.play = button("play", say.play, play);
  parts.newest = button("newest", say.newest, () => {
    halt();
    place = null;
    leaveRedrawn();
    draw();
  });
  parts.redraw = button("redraw", say.redraw, redraw);
  parts.same = button("same", say.same_noise, () => {
    leaveRedrawn();
    draw();
    parts.redraw.focus();
  });
  parts.png = button("png", say.save_png, () => keep("png"));
  parts.gif = button("gif", say.save_gif, () => keep("gif"));
  parts.milestone = make("p", { class: "milestone" });
  parts.verdictGuess = make("b", {});
  parts.verdictSaid = make("span", {});
  parts.verdict = make(
    "p",
    { class: "verdict", "aria-live": "polite" },
    parts.verdictGuess,
    " ",
    parts.verdictSaid,
  );
  parts.columns = make("div", { class: "columns" }, columnPart("first"), columnPart("second"));
  parts.compare = make("select", {
    id: "studio_compare",
    on: { change: () => go(view.run, parts.compare.value || null) },
  });
  parts.compareLine = make(
    "span",
    { class: "line" },
    make("label", { class: "caption", for: "studio_compare" }, say.compare),
    parts.compare,
  );
  const axes = ["time", "steps"].map((which) =>
    button("axis", say[`axis_${which}`], () => {
      const index = Number(parts.slider.value);
      axis = which;
      if (place !== null) place = stops()[index] ?? null;
      for (const one of axes) one.setAttribute("aria-pressed", String(one === axes[which === "time" ? 0 : 1]));
      draw();
    }, { "aria-pressed": String(axis === which) }),
  );
  parts.axis = make("span", { class: "line axes", role: "group", "aria-label": say.axis }, ...axes);
  parts.usual = make("span", { class: "note" }, say.drawn_note);
  parts.pictures = make(
    "section",
    { class: "card pictures" },
    make(
      "div",
      { class: "line between" },
      make("div", { class: "line" }, make("h2", {}, say.drawn), parts.usual),
      parts.compareLine,
    ),
    parts.verdict,
    parts.columns,
    make(
      "div",
      { class: "travel" },
      parts.play,
      make("label", { class: "unseen", for: "studio_travel" }, say.travel),
      parts.slider,
      parts.newest,
    ),
    make(
      "div",
      { class: "line between" },
      make("div", { class: "line" }, parts.redraw, parts.same, parts.milestone),
      make("div", { class: "line" }, parts.axis, parts.png, parts.gif),
    ),
  );

  parts.noCurve = make("p", { class: "note" }, say.no_curve);
  parts.curves = make(
    "section",
    { class: "card curves" },
    parts.noCurve,
    chartPart("readable", { height: 110, share: true }),
    chartPart("loss", { height: 170, log: true }),
    chartPart("speed", { height: 84 }),
  );

  host.lang = data.lang;
  host.replaceChildren(
    make("div", { class: "left" }, parts.setup, parts.changing, list),
    make("div", { class: "right" }, parts.lost, parts.empty, parts.bar, parts.pictures, parts.curves),
  );
}

function arrive() {
  if (!props.value) return;
  const first = data === undefined;
  data = props.value;
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  build();
  setForm(form ?? data.opening);
  runs = inOrder(data.runs);
  stateSaid = "";
  if (first) view = { run: data.open, beside: data.open && data.beside };
  change = view.run === null ? null : change;
  delete parts.changing.dataset.of;
  drawRuns();
  note();
  draw();
  hurry();
}

new ResizeObserver(() => data && draw()).observe(host);
watch("value", arrive);
watch("answer", () => hearAnswer(props.answer));
watch("drawn", () => hearDrawn(props.drawn));
watch("kept", () => hearKept(props.kept));
watch("restored", () => hearRestored(props.restored));
arrive();
