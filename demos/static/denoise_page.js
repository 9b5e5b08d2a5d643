// Out of the Noise, the page: what can be set, what is asked of the server, and what is built.

const NAME = "denoise"; // with which the ids of its parts begin

let data; // the model, words and limits
let settings; // noise, label, label_after, switch_at, steps, sampler, guidance, seed
let parts = {};
let noise = null; // what the drawing will be buried in: 32 is 1
let reads = null; // what the digit reader takes the drawing for: [digit, how sure]
let guess = null; // whether the visitor expects it to come back
let asking = null; // a question about the drawing, that waits for the hand to rest
let questions = 0; // of that kind

// --- small tools ---------------------------------------------------------------------------------

function text64(values) {
  let letters = "";
  for (const value of values) letters += String.fromCharCode(value);
  return btoa(letters);
}

// A bit a pixel, the first one in front.
function bits(hidden) {
  const packed = new Uint8Array(Math.ceil(hidden.length / 8));
  hidden.forEach((on, i) => (packed[i >> 3] |= on << (7 - (i & 7))));
  return packed;
}

// --- what is wished ------------------------------------------------------------------------------

// A part that was erased begins with nothing but noise, whatever the slider says; a model that
// leaps begins where one of its leaps does.
function noiseNow(erased) {
  const { leaps } = data;
  if (erased) return 1;
  return leaps ? Math.max(1, Math.round(settings.noise * leaps)) / leaps : settings.noise;
}

// From there such a model takes the leaps that are left; the whole way also in fewer.
function stepsNow(share) {
  const { leaps } = data;
  if (!leaps) return settings.steps;
  if (share < 1) return Math.round(share * leaps);
  return leaps % settings.steps ? leaps : settings.steps;
}

// When the other label is told: between two steps, or it would be told from the start or never.
function switchNow(steps) {
  if (settings.switch_at === null || steps < 2) return null;
  return Math.min(Math.max(settings.switch_at, 1 / steps), 1 - 1 / steps);
}

// All that is set, as it will be asked for.
function wished(erased) {
  const noise = noiseNow(erased);
  const steps = stepsNow(noise);
  return { ...settings, noise, steps, switch_at: switchNow(steps) };
}

// Whatever another model does not know gives way to what it does.
function fitSettings() {
  const { labels, samplers, opening, untold } = data;
  for (const name of ["label", "label_after"]) {
    if (!labels.includes(settings[name])) settings[name] = untold;
  }
  if (!data.guidable) settings.guidance = opening.guidance;
  if (!labels.length) settings.switch_at = null;
  if (!samplers.includes(settings.sampler)) {
    Object.assign(settings, { sampler: opening.sampler, steps: opening.steps });
  }
}

function set(name, value) {
  settings[name] = value;
  guess = null;
  leave();
  drawSettings();
  drawQuestion();
  drawShown();
  note();
  if (name === "seed") ask(0);
}

// What is set or drawn now is something else than what was walked.
function leave() {
  if (run?.live) stop();
  run = null;
  status("");
  for (const button of parts.before.children) button.setAttribute("aria-pressed", "false");
}

// The link to what is set; a drawing of one's own stays with whoever drew it.
function note() {
  const switched = settings.switch_at !== null;
  keepAddress({
    model: data.model,
    digit: pad.digit,
    noise: Math.round(settings.noise * 100),
    seed: settings.seed || null,
    label: settings.label,
    after: switched ? (settings.label_after ?? "") : null,
    when: switched ? Math.round(settings.switch_at * 100) : null,
    steps: settings.steps,
    sampler: settings.sampler,
    guidance: settings.guidance === data.usual.guidance ? null : settings.guidance,
  });
}

// --- a guess beforehand --------------------------------------------------------------------------

// What the digit is to be in the end, and how that is asked; null where there is nothing to guess.
function question() {
  const say = data.words;
  if (!data.reader) return null;
  const { erased } = compose();
  const { label, label_after, noise: share, switch_at } = wished(erased);
  const drawn = reads && reads[1] >= 0.5 ? reads[0] : null;
  const told = switch_at !== null ? label_after : label;
  const target = told ?? (share < 1 || erased ? drawn : null);
  if (target === null) return null;
  const words =
    switch_at !== null && told !== null
      ? say.guess_switched
      : told !== null
        ? say.guess_told
        : erased
          ? say.guess_filled
          : say.guess_back;
  return { target, text: fill(words, { a: a(target), digit: target, share: percent(share) }) };
}

function drawQuestion() {
  const asked = run?.live ? null : question();
  parts.question.hidden = asked === null;
  if (asked) parts.asked.textContent = asked.text;
  for (const [name, value] of [["yes", true], ["no", false]]) {
    parts[name].setAttribute("aria-pressed", String(guess === value));
  }
}

function take(value) {
  guess = guess === value ? null : value;
  drawQuestion();
}

// --- asking the server ---------------------------------------------------------------------------

// What the drawing looks like, and which noise will bury it: when the hand has come to rest.
function ask(rest = 250) {
  clearTimeout(asking);
  asking = setTimeout(() => {
    questions += 1;
    asking = null;
    const drawing = text64(compose().ink);
    trigger("read", { turn: questions, drawing, seed: settings.seed });
  }, rest);
}

function hearRead(read) {
  if (!read || !data || read.turn !== questions) return;
  reads = read.reads;
  if (read.noise) noise = new Int8Array(bytes(read.noise).buffer);
  if (!run) drawShown();
  drawQuestion();
}

function go() {
  if (run?.live) {
    stop();
    return;
  }
  lift();
  const { ink, hidden, erased } = compose();
  const asked = wished(erased);
  const share = asked.noise;
  const drawn = ink.reduce((sum, value) => sum + value, 0) / 255;
  if (share < 1 && (drawn * 784) / ink.length < data.limits.least_ink) {
    status(data.words.empty);
    parts.pad.focus();
    return;
  }
  const wanted = question();
  turn += 1;
  clearTimeout(asking);
  run = {
    turn,
    asked,
    channels: data.channels,
    frames: [],
    total: asked.steps,
    fresh: data.jumps === "picture" || ["ddpm", "dpm++sde"].includes(asked.sampler),
    at: -1,
    seen: -1,
    live: true,
    guess: wanted ? guess : null,
    target: wanted?.target ?? null,
    filled: erased,
  };
  status(data.words.waiting);
  startPlaying();
  drawAll();
  trigger("go", {
    turn,
    ...asked,
    drawing: text64(ink),
    hidden: erased ? text64(bits(hidden)) : null,
  });
}

// --- the pad has changed -------------------------------------------------------------------------

function padChanged() {
  const composed = compose();
  if (run) leave();
  guess = null;
  drawPad(composed);
  drawShown();
  drawGo(composed.erased);
}

function padSettled() {
  const { ink, erased } = compose();
  reads = null;
  parts.askew.hidden = erased || !isAskew(ink, data.size);
  drawQuestion();
  note();
  ask();
}

// --- drawing -------------------------------------------------------------------------------------

function drawAll() {
  drawGo(compose().erased);
  drawQuestion();
  drawShown();
  drawShelf();
}

function drawGo(erased) {
  const say = data.words;
  const live = Boolean(run?.live);
  const { noise: share, steps, switch_at } = wished(erased);
  parts.go.textContent = live ? say.stop : erased ? say.fill_in : share === 1 ? say.from_noise : say.go;
  parts.go.classList.toggle("stop", live);
  parts.triptych.setAttribute("aria-busy", String(live));
  parts.noise.disabled = erased || data.leaps === 1;
  parts.noise.value = Math.round(share * 100);
  parts.noiseName.textContent = fill(say.noise_name, { share: percent(share) });
  parts.noise.setAttribute("aria-valuetext", parts.noiseName.textContent);
  parts.noiseNote.textContent = erased ? say.noise_erased : noiseWords(share);
  parts.steps.value = steps;
  parts.steps.disabled = data.leaps > 0 && share < 1;
  parts.stepsName.textContent = fill(say.steps_name, { steps });
  if (data.labels.length) drawSwitch(steps, switch_at);
}

function drawSwitch(steps, switch_at) {
  const say = data.words;
  parts.switched.checked = switch_at !== null;
  parts.switched.disabled = steps < 2;
  parts.later.hidden = switch_at === null;
  parts.single.hidden = steps > 1;
  parts.when.value = Math.round((switch_at ?? 0.5) * 100);
  parts.whenName.textContent = fill(say.when_name, { share: percent(switch_at ?? 0.5) });
  parts.when.setAttribute("aria-valuetext", parts.whenName.textContent);
}

function noiseWords(share) {
  const say = data.words;
  const { leaps } = data;
  if (leaps && share < 1) return fill(say.noise_leaps, { count: leaps, share: percent(1 / leaps) });
  if (share < 0.35) return say.noise_little;
  if (share < 0.6) return say.noise_some;
  if (share < 0.8) return say.noise_much;
  return share < 1 ? say.noise_most : say.noise_all;
}

function drawSettings() {
  const say = data.words;
  const { label, label_after, sampler, guidance, seed } = settings;
  if (data.labels.length) {
    parts.label.value = label ?? "";
    parts.label_after.value = label_after ?? "";
    parts.guidance.value = guidance;
    const number = new Intl.NumberFormat(data.lang).format(guidance);
    parts.guidanceName.textContent = fill(say.guidance_name, { guidance: number });
    parts.guidanceNote.textContent = guidanceWords();
  }
  parts.sampler.value = sampler;
  const [, about] = (say[`sampler_${sampler}`] ?? "").split(/: (.*)/s);
  parts.samplerNote.textContent = about ?? "";
  parts.seed.value = seed;
  drawGo(compose().erased);
}

function guidanceWords() {
  const say = data.words;
  const { label, label_after, switch_at } = settings;
  if (!data.guidable) return say.guidance_none;
  if (label === null && (switch_at === null || label_after === null)) return say.guidance_idle;
  return data.jumps === "none" ? say.guidance_note : say.guidance_built;
}

// --- building ------------------------------------------------------------------------------------

function build() {
  const say = data.words;
  parts = {};
  for (const one of run ? [run, ...runs] : runs) one.summary = null; // in another language, perhaps
  const select = (name, text, options, change) => {
    parts[name] = make(
      "select",
      { id: `denoise_${name}`, on: { change: (event) => change(event.target.value) } },
      ...options.map(([value, words]) => make("option", { value }, words)),
    );
    return make(
      "div",
      { class: "choice" },
      make("label", { class: "caption", for: `denoise_${name}` }, text),
      parts[name],
    );
  };

  // --- 1: the pad ---
  parts.pad = make("canvas", {
    id: "denoise_pad",
    width: data.size,
    height: data.size,
    tabindex: "0",
    role: "application",
    "aria-label": say.pad,
    "aria-describedby": "denoise_keys",
    on: {
      pointerdown: onPointerDown,
      pointermove: onPointerMove,
      pointerup: onPointerUp,
      pointercancel: onPointerUp,
      keydown: onPadKey,
      blur: lift,
    },
  });
  parts.cursor = make("i", { class: "cursor", "aria-hidden": "true" });
  parts.invite = make("p", { class: "invite", "aria-hidden": "true" }, say.invite);
  parts.frame = make("div", { class: "frame" }, parts.pad, parts.invite, parts.cursor);
  parts.place = make("p", { class: "unseen", "aria-live": "polite" });
  parts.tools = {
    pen: button("tool", say.pen, () => takeTool("pen")),
    eraser: button("tool", say.eraser, () => takeTool("eraser"), { title: say.eraser_title }),
  };
  parts.undo = button("undo", say.undo, undo);
  parts.clear = button("clear", say.clear, clear);
  parts.askew = make(
    "p",
    { class: "note askew warned" },
    `${say.askew} `,
    button("centre", say.centre, centre),
  );
  parts.digits = DIGITS.map((_, digit) => {
    const canvas = make("canvas", { "aria-hidden": "true" });
    paint(canvas, compose(28, { base: null, marks: digitMarks(digit) }).ink, 1);
    const named = fill(say.example, { digit });
    const face = button("example", "", () => takeDigit(digit), { "aria-label": named, title: named });
    face.append(canvas);
    return face;
  });
  const draw = make(
    "section",
    { class: "card draw" },
    make("h2", {}, make("b", { class: "step" }, "1"), say.step_draw),
    parts.frame,
    make(
      "div",
      { class: "line tools" },
      make(
        "div",
        { class: "switch", role: "group", "aria-label": say.tool },
        parts.tools.pen,
        parts.tools.eraser,
      ),
      parts.undo,
      parts.clear,
    ),
    parts.askew,
    make(
      "div",
      { class: "examples", role: "group", "aria-label": say.examples },
      ...parts.digits,
    ),
    make(
      "details",
      {},
      make("summary", {}, say.by_keys),
      make("p", { class: "note", id: "denoise_keys" }, say.keys),
    ),
    parts.place,
  );

  // --- 2 and 3: noise, and the way back ---
  const { leaps, limits } = data;
  const [least, most] = limits.noise;
  const [first, apart] = leaps ? [100 / leaps, 100 / leaps] : [100 * least, 1];
  const bury = slider("noise", [first, 100 * most], apart, (value) => set("noise", value / 100));
  parts.noiseNote = make("p", { class: "note" });
  parts.asked = make("span", { id: "denoise_question" });
  parts.yes = button("guess", say.yes, () => take(true));
  parts.no = button("guess", say.no, () => take(false));
  parts.question = make(
    "div",
    { class: "question", role: "group", "aria-labelledby": "denoise_question" },
    parts.asked,
    make("span", { class: "answers" }, parts.yes, parts.no),
  );
  parts.go = button("go", say.go, go);
  parts.status = make("p", { class: "status", role: "status", "aria-live": "polite" });

  const view = (name, title) => {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const heading = make("b", {}, title);
    const text = make("span", {});
    parts[name] = { canvas, title: heading, text };
    const screen = make("div", { class: "screen" }, canvas);
    return make("figure", { class: name }, screen, make("figcaption", {}, heading, text));
  };
  parts.triptych = make(
    "div",
    { class: "triptych" },
    view("noisy", say.noisy),
    view("thought", say.thought),
    view("removed", say.removed),
  );
  buildPlace();
  parts.verdict = make("p", { class: "verdict", "aria-live": "polite" });
  parts.after = make(
    "div",
    { class: "after" },
    make("div", { class: "scrub" }, parts.scrubberName, parts.scrubber, parts.replay),
    parts.verdict,
    parts.keep,
    parts.summary,
  );
  const watched = make(
    "section",
    { class: "card watch" },
    make("h2", {}, make("b", { class: "step" }, "2"), say.step_noise),
    bury,
    make(
      "div",
      { class: "ends", "aria-hidden": "true" },
      make("span", {}, say.noise_low),
      make("span", {}, say.noise_high),
    ),
    parts.noiseNote,
    make(
      "div",
      { class: "line second" },
      make("h2", {}, make("b", { class: "step" }, "3"), say.step_watch),
      parts.status,
    ),
    make("div", { class: "line start" }, parts.question, parts.go),
    parts.triptych,
    parts.after,
  );

  // --- what else can be set ---
  const nothing = data.untold === null ? [["", say.nothing_option]] : [];
  const named = [...nothing, ...data.labels.map((label) => [label, label])];
  parts.switched = make("input", {
    type: "checkbox",
    role: "switch",
    id: "denoise_switched",
    on: { change: (event) => switchOver(event.target.checked) },
  });
  parts.guidanceNote = make("p", { class: "note" });
  const tell = make(
    "div",
    { class: "group" },
    make("h3", {}, say.tell),
    make("p", { class: "note" }, data.untold === null ? say.tell_note : say.tell_always),
    select("label", say.label_name, named, (value) => set("label", value || null)),
    make("label", { class: "flag", for: "denoise_switched" }, parts.switched, say.switched),
    (parts.single = make("p", { class: "note" }, say.switch_one)),
    (parts.later = make(
      "div",
      { class: "later" },
      select("label_after", say.after_name, named, (value) => set("label_after", value || null)),
      slider("when", [0, 100], 5, (value) => set("switch_at", value / 100)),
    )),
    slider("guidance", limits.guidance, 0.05, (value) => set("guidance", value)),
    parts.guidanceNote,
  );
  parts.guidance.disabled = !data.guidable;
  parts.samplerNote = make("p", { class: "note sentence" });
  const samplers = data.samplers.map((sampler) => [sampler, samplerName(sampler)]);
  const walk = make(
    "div",
    { class: "group" },
    make("h3", {}, say.walk),
    slider("steps", [1, leaps || limits.steps[1]], 1, (value) => set("steps", value)),
    make("p", { class: "note" }, leaps ? fill(say.steps_leaps, { most: leaps }) : say.steps_note),
    select("sampler", say.sampler, samplers, (value) => set("sampler", value)),
    parts.samplerNote,
  );
  const chance = make(
    "div",
    { class: "group" },
    make("h3", {}, say.chance),
    make(
      "div",
      { class: "choice" },
      make("label", { class: "caption", for: "denoise_seed" }, say.seed),
      seedLine(),
    ),
    make("p", { class: "note" }, say.seed_note),
  );
  const more = make(
    "section",
    { class: "card more" },
    make("h2", {}, say.more),
    make("div", { class: "groups" }, data.labels.length ? tell : null, walk, chance),
  );

  host.lang = data.lang;
  host.replaceChildren(draw, watched, buildShelf(), more);
  takeTool(pad.tool);
  drawPad(compose());
  const { ink, erased } = compose();
  parts.askew.hidden = erased || !isAskew(ink, data.size);
  drawSettings();
  drawAll();
}

function switchOver(on) {
  if (on && [null, settings.label].includes(settings.label_after)) {
    // To something else, or nothing would be seen of it.
    const { labels } = data;
    const now = settings.label ?? reads?.[0] ?? null;
    const next = (labels.indexOf(now) + 1) % labels.length;
    settings.label_after = labels[next];
  }
  set("switch_at", on ? 0.5 : null);
}

// --- what arrives --------------------------------------------------------------------------------

function arrive() {
  if (!props.value) return;
  const first = data === undefined;
  const other = !first && data.model !== props.value.model;
  data = props.value;
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  if (first) {
    const { digit, ...rest } = data.opening;
    settings = rest;
    Object.assign(pad, { base: null, marks: digitMarks(digit), digit });
  }
  const { brought } = data;
  const fresh = brought && data.number > heard;
  if (other || fresh) {
    abandon();
    guess = reads = null;
    if (other) noise = null;
  }
  if (fresh) bringIn(brought);
  heard = data.number;
  fitSettings();
  build();
  if (fresh) status(brought.note);
  ask(0);
  note();
}

// What a dropped file says: a drawing, and where mmfm made it, all that was set.
function bringIn({ drawing, hidden, note, kind, model, ...rest }) {
  const ink = bytes(drawing);
  const size = Math.round(Math.sqrt(ink.length));
  const packed = hidden && bytes(hidden);
  const erased = packed && Uint8Array.from(ink, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
  remember();
  Object.assign(pad, { base: { size, ink, hidden: erased }, marks: [], down: false, open: false });
  const known = Object.entries(rest).filter(([name]) => name in settings);
  Object.assign(settings, Object.fromEntries(known));
  settings.guidance ??= data.opening.guidance;
}

watch("value", arrive);
watch("read", () => hearRead(props.read));
arrive();
