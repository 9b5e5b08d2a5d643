// Pictures, labels in one's own words, and what an answer rests on.
// Gradio hands in element, trigger, props, server, upload and watch.
//
// The server sends every picture's scores at every scale of the slider, so that choosing pictures
// and sliding ask nobody. Labels, switches and examples do: one question at a time is on its way.

const host = element.querySelector(".zero");

let data; // pictures, words and limits
let answer; // scores of all pictures at all scales
let scores, answers, plain; // its numbers, unpacked
let scale; // which of the scales; null: the model's own
let chosen = null; // id of a picture
let pinned = null; // name of the label whose evidence is shown; null: that of the answer
let heats = new Map(); // evidence that has arrived, by question and picture
let looking = null; // the picture whose evidence is on its way
let wordMaps = new Map(); // where single words are found, by question, picture, label and word
let spoken = null; // the word whose map is shown in place of the label's: {place, number}
let asking = false;
let wishes = []; // what waits for the answer to the last question
let parts = {};

// --- small tools -------------------------------------------------------------------------------

function make(tag, settings = {}, ...children) {
  const { on = {}, style = {}, ...attributes } = settings;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) node.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function percent(share) {
  const digits = share < 0.0995 || (share > 0.995 && share < 0.9995) ? 1 : 0;
  return new Intl.NumberFormat(data.lang, {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(share);
}

function decimal(value, digits, signed = false) {
  return new Intl.NumberFormat(data.lang, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: signed ? "exceptZero" : "negative",
  }).format(value);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// --- what the numbers say ------------------------------------------------------------------------

const step = () => scale ?? answer.own;
const numberOf = (id) => data.tiles.findIndex((tile) => tile.id === id);
const labelAt = (table, tile) => table[tile * answer.scales.length + step()];
const nameOf = (label) => (label < 0 ? nothing() : answer.labels[label]);
const nothing = () => (answer.question.none ? data.words.nothing : data.words.no_label);

// The score of each label, and behind them how likely it is that any applies.
function scoresOf(tile) {
  const row = answer.labels.length + 1;
  const at = (tile * answer.scales.length + step()) * row;
  return Array.from(scores.subarray(at, at + row), (x) => x / 65535);
}

// What a tile says, and with which score.
function verdict(tile) {
  const label = labelAt(answers, tile);
  const all = scoresOf(tile);
  const any = all.pop();
  if (label < 0) {
    const best = Math.max(...all);
    return { label, name: nothing(), score: answer.question.none ? 1 - any : best };
  }
  const several = answer.question.multi
    ? answer.labels.filter((_, i) => all[i] >= answer.threshold)
    : [];
  const name = several.length > 1 ? several.join(", ") : answer.labels[label];
  return { label, name, score: all[label] };
}

// The label whose evidence is shown.
function current(tile) {
  const held = answer.labels.indexOf(pinned);
  if (held >= 0) return held;
  const all = scoresOf(tile).slice(0, -1);
  return all.indexOf(Math.max(...all));
}

// --- asking --------------------------------------------------------------------------------------

function busy(on) {
  asking = on;
  for (const part of [parts.pictures, parts.answer]) {
    if (on) part?.setAttribute("aria-busy", "true");
    else part?.removeAttribute("aria-busy");
  }
}

function send(name, detail) {
  if (asking) {
    // Of several questions the newest counts.
    wishes = [...wishes.filter(([other]) => other !== "ask" || name !== "ask"), [name, detail]];
    return;
  }
  busy(true);
  trigger(name, detail);
}

function typed() {
  const own = parts.template.value === "own";
  return {
    labels: parts.labels.value,
    template: own ? parts.own.value : parts.template.value,
    none: parts.none.checked,
    multi: parts.multi.checked,
  };
}

function ask() {
  const now = typed();
  const last = answer.question;
  if (!asking && Object.keys(now).every((name) => now[name] === last[name])) return;
  send("ask", now);
}

function hear(news) {
  if (!news || !data) return;
  busy(false);
  if (!news.failed) {
    answer = news;
    scores = new Uint16Array(bytes(answer.scores).buffer);
    answers = new Int8Array(bytes(answer.answers).buffer);
    plain = new Int8Array(bytes(answer.plain).buffer);
    if (scale !== null && scale >= answer.scales.length) scale = null;
    if (!answer.labels.includes(pinned)) pinned = null;
    draw();
  }
  if (wishes.length) send(...wishes.shift());
}

function look() {
  const name = `${answer.key}\n${chosen}`;
  if (chosen === null || heats.has(name) || looking !== null) return;
  looking = chosen;
  trigger("explain", { picture: chosen });
}

function see(heat) {
  if (!heat || !answer) return;
  looking = null;
  if (heat.key) heats.set(`${heat.key}\n${heat.picture}`, heat);
  else if (heat.picture === chosen) heats.set(`${answer.key}\n${chosen}`, heat);
  while (heats.size > 60) heats.delete(heats.keys().next().value);
  drawEvidence();
  look(); // another picture may have been chosen meanwhile
}

// --- drawing -------------------------------------------------------------------------------------

function draw() {
  drawScale();
  drawTiles();
  drawChosen();
  drawExamples();
  drawNotes();
  note();
  look();
}

function drawChosen() {
  drawAnswer();
  drawEvidence();
}

function drawNotes() {
  const say = data.words;
  const lines = [];
  if (answer.splinters) lines.push(fill(say.splinters, { model: answer.splinters }));
  if (answer.unread.length) lines.push(fill(say.unread, { labels: answer.unread.join(", ") }));
  parts.notes.replaceChildren(...lines.map((line) => make("p", { class: "trouble" }, line)));
}

function drawScale() {
  const own = step() === answer.own;
  parts.scale.max = answer.scales.length - 1;
  parts.scale.value = step();
  const worth = answer.scales[step()];
  const words = own ? data.words.scale_own : data.words.scale;
  const text = fill(words, { scale: decimal(worth, worth < 10 ? 2 : 1) });
  parts.scaleName.textContent = text;
  parts.scale.setAttribute("aria-valuetext", text);
  parts.mark.style.setProperty("--at", answer.own / (answer.scales.length - 1));
  parts.reset.hidden = own;
}

function drawTiles() {
  const say = data.words;
  const taught = new Set(answer.examples.map((example) => example.id));
  let changed = 0;
  data.tiles.forEach((tile, number) => {
    const { button, said, score, was } = parts.tiles[number];
    const { label, name, score: worth } = verdict(number);
    said.textContent = name;
    score.textContent = percent(worth);
    button.classList.toggle("none", label < 0);
    button.classList.toggle("taught", taught.has(tile.id));
    const before = labelAt(plain, number);
    const moved = before !== label;
    changed += moved;
    button.classList.toggle("moved", moved);
    was.textContent = moved ? fill(say.was, { label: nameOf(before) }) : "";
    const told = fill(say.tile, { number: number + 1, answer: `${name}, ${percent(worth)}` });
    button.setAttribute("aria-label", moved ? `${told}, ${was.textContent}` : told);
    const mine = tile.id === chosen;
    button.setAttribute("aria-pressed", String(mine));
    button.tabIndex = mine ? 0 : -1;
  });
  parts.changed.textContent = answer.weight === null ? "" : fill(say.changed, { count: changed });
}

function drawAnswer() {
  const say = data.words;
  const number = numberOf(chosen);
  parts.answer.hidden = parts.evidence.hidden = number < 0;
  if (number < 0) return;
  const tile = data.tiles[number];
  const all = scoresOf(number);
  const any = all.pop();
  const { label, name, score } = verdict(number);
  const shown = current(number);
  const { none, multi } = answer.question;

  parts.place.textContent = fill(say.picture, { number: number + 1, count: data.tiles.length });
  parts.seen.src = tile.thumb;
  parts.seen.classList.toggle("small", tile.small);
  parts.headline.textContent = name;
  parts.headScore.textContent = percent(score);

  const order = all.map((_, i) => i).sort((a, b) => all[b] - all[a]);
  const added = answer.added;
  parts.bars.classList.toggle("with-examples", added !== null);
  const right = answer.examples.find((example) => example.id === chosen);
  const rows = order.map((i) => {
    const text = answer.labels[i];
    const row = bar(text, all[i], i === label || (multi && label >= 0 && all[i] >= answer.threshold));
    const open = make(
      "button",
      {
        type: "button",
        class: "name",
        "data-label": text,
        "aria-pressed": String(i === shown),
        "aria-label": fill(say.show_label, { label: text }),
        title: text,
        on: { click: () => pin(text) },
      },
      text,
    );
    const told = right?.label === text;
    const really = make(
      "button",
      {
        type: "button",
        class: "really",
        "data-really": text,
        "aria-pressed": String(told),
        "aria-label": fill(told ? say.forget : say.really, { label: text }),
        title: fill(told ? say.forget : say.really, { label: text }),
        on: { click: () => teach(text, told) },
      },
      "✓",
    );
    const shift = added === null ? null : added[number][i];
    row.prepend(open);
    row.append(
      make("span", { class: "cosine" }, decimal(answer.cosines[number][i], 3)),
      ...(shift === null ? [] : [make("span", { class: "added" }, decimal(shift, 1, true))]),
      really,
    );
    return row;
  });
  if (none && !multi) {
    const row = bar(say.nothing, 1 - any, label < 0);
    row.classList.add("nothing");
    row.prepend(make("span", { class: "name" }, say.nothing));
    row.append(make("span", { class: "cosine" }), ...(added === null ? [] : [make("span")]));
    const before = rows.findIndex((_, at) => all[order[at]] < 1 - any);
    rows.splice(before < 0 ? rows.length : before, 0, row);
  }
  // What had the keyboard keeps it, though all rows are new.
  const held = document.activeElement?.dataset ?? {};
  const focus = held.really ? `[data-really="${CSS.escape(held.really)}"]` : null;
  const again = focus ?? (held.label ? `[data-label="${CSS.escape(held.label)}"]` : null);
  const inside = parts.bars.contains(document.activeElement);
  parts.bars.replaceChildren(head(added !== null), ...rows);
  if (inside && again) parts.bars.querySelector(again)?.focus();

  parts.kind.textContent = fill(
    answer.kind === "among_labels" && none ? say.kind_among_labels_none : say[`kind_${answer.kind}`],
    { count: answer.bank },
  );
  parts.known.hidden = !none;
  if (none) {
    const near = answer.near[number];
    const best = Math.max(...answer.cosines[number]);
    parts.known.textContent = `${fill(say.known, { share: percent(any) })} ${fill(
      any >= 0.5 ? say.known_more : say.known_less,
      {
        count: answer.bank,
        text: near.text,
        near: decimal(near.cosine, 3),
        best: decimal(best, 3),
      },
    )}${added === null ? "" : ` ${say.known_taught}`}`;
  }
}

function bar(text, share, on) {
  return make(
    "li",
    { class: on ? "on" : "" },
    make(
      "span",
      { class: "track" },
      make("i", { style: { width: `${(share * 100).toFixed(2)}%` } }),
    ),
    make("span", { class: "value" }, percent(share)),
  );
}

function head(withExamples) {
  const say = data.words;
  return make(
    "li",
    { class: "head" },
    make("span", {}, say.column_label),
    make("span", { class: "to-value" }, say.column_score),
    make("span", {}, say.column_cosine),
    ...(withExamples ? [make("span", {}, say.column_added)] : []),
    make("span", { class: "to-really" }, say.column_really),
  );
}

function drawEvidence() {
  const number = numberOf(chosen);
  if (number < 0) return;
  const say = data.words;
  const shown = current(number);
  parts.why.textContent = fill(say.why, { label: answer.labels[shown] });
  const heat = heats.get(`${answer.key}\n${chosen}`);
  const found = heat?.labels?.[shown];
  parts.maps.hidden = parts.wordsPart.hidden = !found;
  parts.waiting.hidden = Boolean(found);
  parts.waiting.textContent =
    heat === undefined ? say.waiting : (heat.reason ?? fill(say.no_why, { count: data.explained }));
  parts.untaught.hidden = !found || answer.weight === null;
  drawSentences(shown);
  if (!found) return;
  for (const name of ["relevance", "similarity"]) {
    const map = parts[name];
    map.frame.style.setProperty("--view", `url("${heat.view}")`);
    map.frame.style.setProperty("aspect-ratio", `${heat.size[0]} / ${heat.size[1]}`);
    map.frame.style.setProperty("image-rendering", heat.small ? "pixelated" : "auto");
    if (name === "similarity") spotlight(map.canvas, bytes(found[name]), heat.grid);
  }
  const place = `${answer.key}\n${chosen}\n${shown}`;
  if (spoken?.place !== place) spoken = null;
  const ofWord = spoken && wordMaps.get(`${place}\n${spoken.number}`);
  spotlight(parts.relevance.canvas, bytes(ofWord ?? found.relevance), heat.grid);
  const word = ofWord && { word: found.words[spoken.number].text };
  parts.relevance.title.textContent = word ? fill(say.word_map, word) : say.relevance;
  parts.relevance.note.textContent = word ? say.word_map_note : say.relevance_note;
  parts.range.textContent = found.range.map((x) => decimal(x, 2)).join(" … ");
  const peak = Math.max(...found.words.map((word) => word.relevance)) || 1;
  parts.words.replaceChildren(
    ...found.words.flatMap(({ text, relevance }, number) => [
      make(
        "button",
        {
          type: "button",
          class: "word",
          "aria-pressed": String(spoken?.number === number),
          style: { "--tint-share": Math.max(0, relevance / peak).toFixed(3) },
          on: { click: () => speak(place, shown, number) },
        },
        text,
      ),
      " ",
    ]),
  );
}

// A word that is pressed takes the map; pressed again, it gives it back to the label.
function speak(place, label, number) {
  spoken = spoken?.number === number ? null : { place, number };
  if (spoken && !wordMaps.has(`${place}\n${number}`))
    trigger("word", { picture: chosen, label, word: number });
  const at = document.activeElement?.classList.contains("word") ? number : -1;
  drawEvidence();
  parts.words.querySelectorAll(".word")[at]?.focus();
}

function hearWord(found) {
  if (!found?.relevance) return;
  wordMaps.set(`${found.key}\n${found.picture}\n${found.label}\n${found.word}`, found.relevance);
  while (wordMaps.size > 200) wordMaps.delete(wordMaps.keys().next().value);
  const at = [...parts.words.querySelectorAll(".word")].indexOf(document.activeElement);
  drawEvidence();
  parts.words.querySelectorAll(".word")[at]?.focus();
}

function drawSentences(label) {
  const say = data.words;
  const { some, count } = answer.sentences[label];
  const more = count - some.length;
  const lines = some.map(([text, cut]) =>
    make("li", {}, text, ...(cut ? [make("em", {}, say.cut)] : [])),
  );
  if (more > 0) lines.push(make("li", { class: "more" }, fill(say.and_more, { count: more })));
  parts.read.textContent = count === 1 ? say.read_one : fill(say.read, { count });
  parts.sentences.replaceChildren(...lines);
}

// The picture, dark where the values are low. The root lets small ones be seen beside a large one.
function spotlight(canvas, values, [rows, columns]) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  values.forEach((value, i) =>
    pixels.data.set([9, 11, 24, 224 * (1 - Math.sqrt(value / 255))], 4 * i),
  );
  context.putImageData(pixels, 0, 0);
}

function drawExamples() {
  const say = data.words;
  const { examples, weight } = answer;
  parts.examplesNote.textContent =
    weight === null ? say.no_examples : fill(say.examples_note, { weight: decimal(weight, 1) });
  parts.examples.replaceChildren(
    ...examples.map(({ id, thumb, small, label, used }) =>
      make(
        "li",
        { class: used ? "" : "asleep" },
        make("img", { src: thumb, alt: "", class: small ? "small" : "" }),
        make("span", {}, label, ...(used ? [] : [make("em", {}, say.asleep)])),
        make(
          "button",
          {
            type: "button",
            class: "forget",
            "aria-label": fill(say.forget, { label }),
            title: fill(say.forget, { label }),
            on: { click: () => send("forget", { picture: id }) },
          },
          "×",
        ),
      ),
    ),
  );
}

// --- what a visitor does -------------------------------------------------------------------------

function choose(id, focus = false) {
  if (id !== chosen) pinned = null;
  chosen = id;
  drawTiles();
  drawChosen();
  look();
  if (focus) parts.tiles[numberOf(id)].button.focus();
}

function pin(label) {
  pinned = label;
  drawChosen();
}

function teach(label, told) {
  pinned = null;
  if (told) send("forget", { picture: chosen });
  else send("teach", { picture: chosen, label });
}

function remove(id) {
  send("remove", { picture: id });
}

function slide(wanted) {
  scale = wanted === answer.own ? null : wanted;
  drawScale();
  drawTiles();
  drawAnswer();
}

function onKey(event) {
  const at = parts.tiles.findIndex(({ button }) => button === event.target);
  if (at < 0) return;
  const top = parts.tiles[at].button.getBoundingClientRect().top;
  const columns = parts.tiles.filter(
    ({ button }) => Math.abs(button.getBoundingClientRect().top - top) < 2,
  ).length;
  const last = parts.tiles.length - 1;
  const goes = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: 0,
    End: last,
  };
  if (event.key in goes) {
    const to = goes[event.key];
    if (to >= 0 && to <= last) choose(data.tiles[to].id, true);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    remove(data.tiles[at].id);
  } else {
    return;
  }
  event.preventDefault();
}

// Keep the address a link to what is asked; pictures and examples stay with the visitor.
function note() {
  const address = new URL(window.location.href);
  const { labels, template, none, multi } = answer.question;
  const noted = {
    model: data.model,
    labels: labels === data.opening ? null : labels,
    template: template === "default" ? null : template,
    none: none ? "1" : null,
    multi: multi ? "1" : null,
  };
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

// What is dropped or pasted anywhere on the page goes the way of the upload button.
function bring(event, files) {
  const input = document.querySelector("#zero_own input[type=file]");
  if (!element.isConnected || !input || !files || files.length === 0) return;
  event.preventDefault();
  const several = new DataTransfer();
  for (const file of files) several.items.add(file);
  input.files = several.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => bring(event, event.dataTransfer.files));
document.addEventListener("paste", (event) => bring(event, event.clipboardData.files));

// --- building ------------------------------------------------------------------------------------

function build() {
  const say = data.words;
  const button = (name, text, click) =>
    make("button", { type: "button", class: name, on: { click } }, text);
  parts = {};

  const { labels, template, none, multi } = data.answer.question;
  parts.labels = make("textarea", {
    id: "zero_labels",
    rows: 2,
    maxlength: data.limits.labels,
    spellcheck: "false",
    autocomplete: "off",
    "aria-describedby": "zero_labels_hint",
    on: {
      change: ask,
      keydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        ask();
      },
    },
  });
  parts.labels.value = labels;
  const own = !["default", "simple", "english", "korean", "nano"].includes(template);
  parts.own = make("input", {
    id: "zero_own_template",
    type: "text",
    maxlength: data.limits.template,
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": say.own_template,
    "aria-describedby": "zero_own_hint",
    on: {
      change: ask,
      keydown: (event) => {
        if (event.key === "Enter" && !event.isComposing) ask();
      },
    },
  });
  parts.own.value = own ? template : say.own_start;
  const ownPart = make(
    "div",
    { class: "own" },
    parts.own,
    make("p", { class: "note", id: "zero_own_hint" }, say.own_hint),
  );
  ownPart.hidden = !own;
  const options = {
    default: say.template_default,
    simple: say.template_simple,
    english: say.template_english,
    korean: say.template_korean,
    nano: say.template_nano,
    own: say.template_own,
  };
  parts.template = make(
    "select",
    {
      id: "zero_template",
      on: {
        change: () => {
          ownPart.hidden = parts.template.value !== "own";
          ask();
        },
      },
    },
    ...Object.entries(options).map(([value, text]) => make("option", { value }, text)),
  );
  parts.template.value = own ? "own" : template;
  const flag = (name, on) => {
    parts[name] = make("input", {
      type: "checkbox",
      role: "switch",
      id: `zero_${name}`,
      on: { change: ask },
    });
    parts[name].checked = on;
    return make("label", { class: "flag", for: `zero_${name}` }, parts[name], say[name]);
  };
  parts.scaleName = make("label", { class: "caption", for: "zero_scale" });
  parts.mark = make("i", { class: "mark", "aria-hidden": "true" });
  parts.scale = make("input", {
    id: "zero_scale",
    type: "range",
    min: 0,
    on: { input: (event) => slide(Number(event.target.value)) },
  });
  parts.reset = button("reset", say.scale_reset, () => slide(answer.own));
  parts.notes = make("div", { class: "troubles", "aria-live": "polite" });
  const question = make(
    "section",
    { class: "card question" },
    make(
      "div",
      { class: "asked" },
      make("label", { for: "zero_labels" }, say.labels),
      make("div", { class: "typed" }, parts.labels, button("ask", say.ask, ask)),
      make("p", { class: "note", id: "zero_labels_hint" }, say.labels_hint),
      parts.notes,
    ),
    make(
      "div",
      { class: "settings" },
      make(
        "div",
        { class: "line" },
        make("label", { class: "caption", for: "zero_template" }, say.template),
        parts.template,
      ),
      ownPart,
      make("div", { class: "flags" }, flag("none", none), flag("multi", multi)),
    ),
    make(
      "div",
      { class: "scale" },
      make("div", { class: "line" }, parts.scaleName, parts.reset),
      make("div", { class: "slider" }, parts.scale, parts.mark),
      make("p", { class: "note" }, say.scale_note),
    ),
  );

  parts.tiles = data.tiles.map((tile, number) => {
    const said = make("b", {});
    const score = make("span", { class: "score" });
    const was = make("span", { class: "was" });
    const face = make(
      "button",
      {
        type: "button",
        class: "tile",
        "data-picture": tile.id,
        on: { click: () => choose(tile.id) },
      },
      make("img", { src: tile.thumb, alt: "", class: tile.small ? "small" : "" }),
      said,
      score,
      was,
    );
    const away = make(
      "button",
      {
        type: "button",
        class: "away",
        tabindex: "-1", // the Delete key does the same
        "aria-label": `${say.remove} (${number + 1})`,
        title: say.remove,
        on: { click: () => remove(tile.id) },
      },
      "×",
    );
    return { button: face, said, score, was, frame: make("div", { class: "frame" }, face, away) };
  });
  const file = () => document.querySelector("#zero_own input[type=file]")?.click();
  const add = button("add", "", file);
  add.append(make("span", { "aria-hidden": "true" }, "+"), make("span", {}, say.add));
  parts.changed = make("p", { class: "note changed", "aria-live": "polite" });
  parts.pictures = make(
    "section",
    { class: "card pictures" },
    make(
      "div",
      { class: "line between" },
      make("h2", {}, say.pictures),
      button("restore", say.restore, () => send("restore", {})),
    ),
    make("p", { class: "note" }, data.tiles.length ? say.pictures_hint : say.no_pictures),
    make(
      "div",
      { class: "tiles", role: "group", "aria-label": say.pictures, on: { keydown: onKey } },
      ...parts.tiles.map(({ frame }) => frame),
      add,
    ),
    parts.changed,
  );
  parts.examples = make("ul", { class: "examples" });
  parts.examplesNote = make("p", { class: "note" });
  const examples = make(
    "section",
    { class: "card taught-ones" },
    make("h2", {}, say.examples),
    parts.examplesNote,
    parts.examples,
  );

  parts.place = make("span", { class: "caption" });
  parts.seen = make("img", { class: "seen", alt: "" });
  parts.headline = make("strong", {});
  parts.headScore = make("span", { class: "score" });
  parts.bars = make("ul", { class: "bars" });
  parts.kind = make("p", { class: "note kind" });
  parts.known = make("p", { class: "note known" });
  parts.answer = make(
    "section",
    { class: "card answer" },
    make("h2", {}, say.answer),
    make(
      "div",
      { class: "headline" },
      parts.seen,
      make("p", { "aria-live": "polite" }, parts.place, parts.headline, parts.headScore),
    ),
    parts.bars,
    parts.known,
    parts.kind,
    make("p", { class: "note" }, say.wrong),
  );

  const map = (name, text, note, ...more) => {
    const canvas = make("canvas", {});
    const frame = make("div", { class: "map" }, canvas);
    const title = make("b", {}, text);
    parts[name] = { canvas, frame, title, note };
    const caption = make("figcaption", {}, title, note, ...more);
    return make("figure", { class: name }, frame, caption);
  };
  parts.why = make("h2", {});
  parts.range = make("span", { class: "range" });
  parts.waiting = make("p", { class: "note waiting", "aria-live": "polite" });
  parts.untaught = make("p", { class: "note" }, say.zero_shot_only);
  parts.maps = make(
    "div",
    { class: "maps" },
    map("relevance", say.relevance, make("span", {}, say.relevance_note)),
    map("similarity", say.similarity, make("span", {}, say.similarity_note), parts.range),
  );
  parts.words = make("p", { class: "words" });
  parts.wordsPart = make(
    "div",
    { class: "words-part" },
    make("h3", {}, say.words),
    parts.words,
    make("p", { class: "note" }, say.words_note),
  );
  parts.read = make("summary", {});
  parts.sentences = make("ul", { class: "sentences" });
  parts.evidence = make(
    "section",
    { class: "card evidence" },
    parts.why,
    parts.waiting,
    parts.maps,
    parts.untaught,
    parts.wordsPart,
    make("details", {}, parts.read, parts.sentences),
  );
  host.lang = data.lang;
  host.replaceChildren(
    question,
    make("div", { class: "left" }, parts.pictures, examples),
    make("div", { class: "right" }, parts.answer, parts.evidence),
  );
}

function arrive() {
  if (!props.value) return;
  const before = data;
  data = props.value;
  if (before && before.model !== data.model) scale = null;
  looking = null;
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  // A picture that has come is looked at; where the chosen one is gone, its neighbour is.
  const known = new Set(before?.tiles.map((tile) => tile.id));
  const fresh = before && data.tiles.find((tile) => !known.has(tile.id));
  const at = before?.tiles.findIndex((tile) => tile.id === chosen) ?? 0;
  if (fresh) chosen = fresh.id;
  else if (numberOf(chosen) < 0) {
    chosen = data.tiles[Math.min(Math.max(at, 0), data.tiles.length - 1)]?.id ?? null;
  }
  const walking = parts.pictures?.contains(document.activeElement);
  build();
  hear(data.answer);
  if (walking && chosen !== null) parts.tiles[numberOf(chosen)].button.focus();
}

watch("value", arrive);
watch("answer", () => hear(props.answer));
watch("heat", () => see(props.heat));
watch("word", () => hearWord(props.word));
arrive();
