// Drawn from Words, the page: what can be said and set, what is asked of the server, what is built.

const NAME = "draw"; // with which the ids of its parts begin
const MODES = ["one", "change", "between"];
const REST = 300; // milliseconds without a change, after which it draws anew

let data; // the model, words and limits
let settings; // mode, text, other, hand, steps, guidance, seed
let parts = {};
let noise = null; // what the next picture will come from
let waiting = null; // a drawing that waits for the hand to rest

const listed = (text) => text.split("|");

// --- what is wished ------------------------------------------------------------------------------

// Whatever another model does not know gives way to what it does.
function fitSettings() {
  if (!data.hands.includes(settings.hand)) settings.hand = null;
}

// What was set is drawn anew from the same noise, if something was drawn: so one sees what it does.
function set(name, value) {
  settings[name] = value;
  drawSettings();
  note();
  if (run) redrawSoon();
  else if (name === "seed") askNoise();
}

function redrawSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (run?.live) stop();
    go();
  }, REST);
}

function type(name, value) {
  settings[name] = value;
  note();
}

function setMode(mode) {
  if (mode === settings.mode) return;
  settings.mode = mode;
  leave();
  if (mode !== "one") fillOther();
  drawSettings();
  drawAll();
  note();
}

// A second text to begin with: the first one with another word in it, or another example.
function fillOther() {
  const first = settings.text.trim();
  if (settings.other.trim() && settings.other !== settings.text) return;
  settings.other = settings.mode === "change" ? changed(first) : another(first);
}

function changed(text) {
  for (const pair of listed(data.words.swaps)) {
    const [from, to] = pair.split("=");
    // Whole words of Latin letters; Korean ones carry what is said of them at their end.
    const word = new RegExp(/[a-z]/.test(from) ? `\\b${from}\\b` : from, "i");
    if (word.test(text)) return text.replace(word, to);
  }
  return text;
}

const another = (text) => listed(data.words.examples).find((each) => each !== text) ?? text;

function takeExample(text) {
  settings.text = text;
  if (settings.mode !== "one") {
    settings.other = "";
    fillOther();
  }
  drawSettings();
  note();
  if (run?.live) stop();
  go();
}

// What is asked now is something else than what was drawn.
function leave() {
  clearTimeout(waiting);
  if (run?.live) stop();
  run = null;
  letGo();
  status("");
  drawWords();
  askNoise();
}

function note() {
  keepAddress({
    model: data.model,
    mode: settings.mode === "one" ? null : settings.mode,
    text: settings.text.trim() || null,
    other: settings.mode === "one" ? null : settings.other.trim() || null,
    hand: settings.hand,
    steps: settings.steps,
    guidance: settings.guidance === data.usual.guidance ? null : settings.guidance,
    seed: settings.seed || null,
  });
}

// --- asking the server ---------------------------------------------------------------------------

function askNoise() {
  trigger("bury", { seed: settings.seed });
}

function hearNoise(told) {
  if (!told || !settings || data.missing || told.seed !== settings.seed) return;
  noise = bytes(told.noise);
  if (!run) drawShown();
}

function go() {
  clearTimeout(waiting);
  if (run?.live) {
    stop();
    return;
  }
  const say = data.words;
  const both = settings.mode !== "one";
  const empty = !settings.text.trim() ? parts.text : both && !settings.other.trim() && parts.other;
  if (empty) {
    status(say.empty);
    empty.focus();
    return;
  }
  turn += 1;
  const again = run && ["mode", "text", "other"].every((name) => run.asked[name] === settings[name]);
  if (!again) letGo(); // else what was pressed stays lit, so that one sees what a slider does to it
  run = {
    turn,
    asked: { ...settings },
    model: data.model,
    sampler: data.sampler,
    size: data.size,
    channels: data.channels,
    frames: [],
    parts: [],
    total: settings.steps,
    at: -1,
    seen: -1,
    stop: again ? run.stop : Math.floor(data.stops / 2),
    before: run, // until there is something to be seen of this one
    live: true,
  };
  status(say.waiting);
  startPlaying();
  drawGo();
  trigger("go", { turn, ...settings, other: both ? settings.other : null });
}

// --- drawing -------------------------------------------------------------------------------------

function drawAll() {
  drawGo();
  drawShown();
  drawShelf();
}

function drawGo() {
  const live = Boolean(run?.live);
  parts.go.textContent = live ? data.words.stop : data.words.go;
  parts.go.classList.toggle("stop", live);
  parts.stage.setAttribute("aria-busy", String(live));
}

function drawSettings() {
  const say = data.words;
  const { mode, hand, steps, guidance, seed } = settings;
  for (const name of MODES) parts.modes[name].setAttribute("aria-pressed", String(name === mode));
  parts.modeNote.textContent = say[`mode_${mode}_note`];
  parts.textName.textContent = say[`text_${mode}`];
  parts.otherName.textContent = mode === "between" ? say.other_between : say.other_change;
  parts.second.hidden = mode === "one";
  parts.ask.dataset.mode = mode;
  if (parts.text.value !== settings.text) parts.text.value = settings.text;
  if (parts.other.value !== settings.other) parts.other.value = settings.other;
  parts.hands.forEach(([name, button]) => {
    button.setAttribute("aria-pressed", String(name === hand));
  });
  parts.guidance.value = guidance;
  const number = new Intl.NumberFormat(data.lang).format(guidance);
  parts.guidanceName.textContent = fill(say.guidance_name, { guidance: number });
  parts.steps.value = steps;
  parts.stepsName.textContent = fill(say.steps_name, { steps });
  parts.seed.value = seed;
  for (const name of ["noisy", "thought"]) {
    parts.view[name].setAttribute("aria-pressed", String(view === name));
  }
}

function setView(name) {
  view = name;
  drawSettings();
  drawShown();
}

// --- building ------------------------------------------------------------------------------------

function build() {
  parts = {};
  for (const each of run ? [run, ...runs] : runs) each.summary = null; // in another language, perhaps
  host.lang = data.lang;
  const ask = buildAsk();
  const how = buildHow();
  const stage = buildStage();
  host.replaceChildren(ask, stage, how, buildShelf());
  drawSettings();
  drawWords();
  drawAll();
}

function buildAsk() {
  const say = data.words;
  const field = (name) => {
    parts[`${name}Name`] = make("label", { class: "caption", for: `draw_${name}` });
    parts[name] = make("input", {
      id: `draw_${name}`,
      type: "text",
      maxlength: data.limits.text,
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      enterkeyhint: "go",
      placeholder: listed(say.examples)[0],
      on: {
        input: (event) => type(name, event.target.value),
        keydown: (event) => {
          // Enter that ends a Korean letter is no wish for a picture.
          if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
          if (run?.live) stop();
          go();
        },
      },
    });
    return make("div", { class: `field ${name}` }, parts[`${name}Name`], parts[name]);
  };
  parts.modes = Object.fromEntries(
    MODES.map((mode) => [mode, button("mode", say[`mode_${mode}`], () => setMode(mode))]),
  );
  parts.modeNote = make("p", { class: "note" });
  parts.go = button("go", say.go, go);
  parts.status = make("p", { class: "status", role: "status", "aria-live": "polite" });
  parts.second = field("other");
  parts.ask = make(
    "section",
    { class: "card ask" },
    make(
      "div",
      { class: "line top" },
      make(
        "div",
        { class: "switch", role: "group", "aria-label": say.mode },
        ...Object.values(parts.modes),
      ),
      parts.modeNote,
    ),
    make("div", { class: "fields" }, field("text"), parts.second, parts.go),
    make(
      "div",
      { class: "line below" },
      make(
        "div",
        { class: "examples", role: "group", "aria-label": say.examples_name },
        make("span", { class: "caption", "aria-hidden": "true" }, say.examples_name),
        ...listed(say.examples).map((text) => button("example", text, () => takeExample(text))),
      ),
      parts.status,
    ),
  );
  return parts.ask;
}

function buildStage() {
  const say = data.words;
  parts.panes = [0, 1].map((number) => {
    const canvas = make("canvas", { class: "picture", "aria-hidden": "true" });
    const heatmap = make("canvas", { class: "heat", "aria-hidden": "true" });
    heatmap.hidden = true;
    const mark = make("i", { class: "cursor", "aria-hidden": "true" });
    mark.hidden = true;
    const screen = make(
      "div",
      {
        class: "screen",
        tabindex: "-1",
        role: "application",
        "aria-describedby": "draw_keys",
        on: {
          pointermove: onPatchMove,
          pointerleave: (event) => event.pointerType === "mouse" && point(null),
          click: onPatchPress,
          keydown: onPatchKey,
          focus: (event) => {
            const look = lookAt(0);
            if (look && event.target.matches(":focus-visible")) point({ patch: startingPatch(look) });
          },
          blur: () => point(null),
        },
      },
      canvas,
      heatmap,
      mark,
    );
    const caption = make("figcaption", {});
    const pane = make("figure", { class: "pane" }, screen, caption);
    const words = make("div", {
      class: "words",
      role: "group",
      "aria-label": fill(say.words_of, { number: number + 1 }),
    });
    return { pane, screen, canvas, heat: heatmap, cursor: mark, caption, words, tiles: [] };
  });

  parts.scope = make("span", { class: "scope" });
  parts.wordsWait = make("p", { class: "note wait" }, say.words_wait);
  parts.says = make("p", { class: "says" });
  parts.spoken = make("p", { class: "unseen", "aria-live": "polite" });
  parts.wordsNote = make("p", { class: "note warned" });
  parts.keys = make("p", { class: "note", id: "draw_keys" }, say.keys);
  const reading = make(
    "div",
    { class: "reading" },
    make("h2", {}, say.words),
    parts.wordsWait,
    make("div", { class: "lists" }, ...parts.panes.map(({ words }) => words)),
    parts.wordsNote,
    parts.says,
    parts.keys,
    parts.spoken,
  );
  reading.querySelector("h2").append(parts.scope);

  parts.from = make("span", { class: "from" });
  parts.to = make("span", { class: "to" });
  slider("walker", [0, data.stops - 1], 1, walkTo);
  parts.walkerName.className = "unseen";
  parts.stops = Array.from({ length: data.stops }, (_, number) => {
    const words = fill(say.way_at, { share: percent(number / (data.stops - 1)) });
    const face = button("stop", "", () => walkTo(number), { "aria-label": words, title: words });
    face.append(make("canvas", { "aria-hidden": "true" }));
    return face;
  });
  parts.way = make(
    "div",
    { class: "way" },
    make("h2", {}, say.way),
    make("p", { class: "note" }, say.way_note),
    make("div", { class: "stops", role: "group", "aria-label": say.way }, ...parts.stops),
    parts.walkerName,
    parts.walker,
    make("div", { class: "ends", "aria-hidden": "true" }, parts.from, parts.to),
  );

  parts.view = Object.fromEntries(
    ["noisy", "thought"].map((name) => [
      name,
      button("view", say[`view_${name}`], () => setView(name)),
    ]),
  );
  parts.views = make(
    "div",
    { class: "switch", role: "group", "aria-label": say.view },
    ...Object.values(parts.view),
  );
  parts.moment = make("span", { class: "note moment" });
  buildPlace();
  parts.after = make(
    "div",
    { class: "after" },
    make("div", { class: "line place" }, parts.scrubberName, parts.moment),
    parts.scrubber,
    make("div", { class: "line turn" }, parts.views, parts.replay),
    parts.keep,
    parts.summary,
  );
  parts.stage = make(
    "section",
    { class: "card show", on: { keydown: onEscape } },
    make("div", { class: "panes" }, ...parts.panes.map(({ pane }) => pane)),
    reading,
    parts.way,
    parts.after,
  );
  return parts.stage;
}

function buildHow() {
  const say = data.words;
  const group = (name, step) => {
    const face = slider(name, data.limits[name], step, (value) => {
      settings[name] = value;
      drawSettings();
    });
    // Once it is let go.
    parts[name].addEventListener("change", (event) => set(name, Number(event.target.value)));
    parts[name].setAttribute("aria-describedby", `draw_${name}_note`);
    face.append(make("p", { class: "note", id: `draw_${name}_note` }, say[`${name}_note`]));
    return make("div", { class: "group" }, face);
  };
  parts.hands = [null, ...data.hands].map((hand) => [
    hand,
    button("hand", handName(hand), () => set("hand", hand)),
  ]);
  const hands = make(
    "div",
    { class: "group" },
    make("h3", { id: "draw_hand" }, say.hand),
    make(
      "div",
      { class: "hands", role: "group", "aria-labelledby": "draw_hand" },
      ...parts.hands.map(([, face]) => face),
    ),
    make("p", { class: "note" }, say.hand_note),
  );
  const seeds = make(
    "div",
    { class: "group" },
    make("h3", {}, make("label", { for: "draw_seed" }, say.seed)),
    seedLine(),
    make("p", { class: "note" }, say.seed_note),
  );
  return make(
    "section",
    { class: "card how" },
    make("h2", {}, say.settings),
    make("p", { class: "note live" }, say.settings_note),
    data.hands.length ? hands : null,
    seeds,
    group("guidance", 0.25),
    group("steps", 1),
  );
}

// Nobody is here who draws, or who reads for it: say what is missing, and what to do about it.
function buildMissing() {
  const say = data.words;
  const { kind, why } = data.missing;
  const lone = kind === "model";
  const deaf = kind === "reader";
  const command = (text, words) =>
    make(
      "li",
      {},
      make("p", {}, words),
      text
        ? make(
            "div",
            { class: "command" },
            make("code", { tabindex: "0" }, text),
            button("copy", say.copy, (event) => copy(text, event.currentTarget)),
          )
        : null,
    );
  const steps = lone
    ? [
        command(say.train_command, say.missing_train),
        command(say.open_command, say.missing_open),
      ]
    : deaf
      ? [command(null, say.trouble_clip), command(null, say.trouble_other)]
      : [command(null, say.unfit_other)];
  parts = { status: make("p", { class: "unseen", role: "status", "aria-live": "polite" }) };
  host.lang = data.lang;
  const card = make(
    "section",
    { class: "card missing" },
    make(
      "div",
      { class: "lead" },
      make("h2", {}, lone ? say.missing_title : fill(say.trouble_title, { model: data.model })),
      make("p", {}, lone ? say.missing_text : deaf ? say.trouble_text : say.unfit_text),
      lone ? null : make("p", { class: "why warned" }, why),
    ),
    make("ol", {}, ...steps),
    make(
      "p",
      { class: "meanwhile" },
      `${say.missing_meanwhile} `,
      make("a", { href: `./denoise?lang=${data.lang}` }, say.missing_link),
    ),
    parts.status,
  );
  host.replaceChildren(card);
}

function copy(text, face) {
  const done = () => {
    face.textContent = data.words.copied;
    parts.status.textContent = data.words.copied;
  };
  navigator.clipboard.writeText(text).then(done, () => {
    // Some browsers refuse it; then it is marked, to be copied by hand.
    window.getSelection().selectAllChildren(face.previousElementSibling);
  });
}

// --- what arrives --------------------------------------------------------------------------------

function arrive() {
  if (!props.value) return;
  const before = data;
  data = props.value;
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  if (data.missing) {
    abandon();
    buildMissing();
    return;
  }
  const first = settings === undefined;
  const other = !first && before.model !== data.model;
  if (first) settings = { ...data.opening };
  if (other) Object.assign(settings, { steps: data.opening.steps, guidance: data.opening.guidance });
  const { brought } = data;
  const fresh = brought && data.number > heard;
  if (other || fresh) {
    clearTimeout(waiting);
    abandon();
    letGo();
  }
  if (first || other) noise = bytes(data.noise.noise);
  if (fresh) {
    const known = Object.entries(brought).filter(([name]) => name in settings);
    Object.assign(settings, Object.fromEntries(known));
    settings.other ??= "";
  }
  heard = data.number;
  fitSettings();
  if (first && settings.mode !== "one") fillOther();
  build();
  if (fresh) status(brought.note);
  if (!run && settings.seed !== data.noise.seed) askNoise();
  note();
}

watch("value", arrive);
watch("noise", () => hearNoise(props.noise));
arrive();
