// The picture as patches, and who looks at whom.
// Gradio hands in element, trigger, props, server, upload and watch.
//
// An asker is a row of the data: first the tokens that are no patch, then the patches. The asker
// that is pointed at goes before the one that is pinned.

const host = element.querySelector(".stage");
const NEAREST = 5;

let data; // what the server sent for this picture and model
let layer, head, pinned, pointed, masking, keep;
let packs; // rows that have arrived, by layer, or by layer and asker
let tiles, parts, viewAddress;
let ticket = 0;
let lost = false;
let turn = 0; // of the questions about a mask; at most one of them is on its way
let asking = false;

// --- small tools -------------------------------------------------------------------------------

function make(tag, settings = {}, ...children) {
  const { on = {}, style = {}, ...attributes } = settings;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children);
  return node;
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function percent(share) {
  const digits = share < 0.1 ? 1 : 0;
  return new Intl.NumberFormat(data.lang, {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(share);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

const patches = () => data.grid[0] * data.grid[1];
const place = (patch) => ({
  row: Math.floor(patch / data.grid[1]) + 1,
  column: (patch % data.grid[1]) + 1,
});
const patchOf = (asker) => asker - data.askers.length; // negative: no patch

function nameOf(asker) {
  const patch = patchOf(asker);
  return patch < 0 ? data.askers[asker].long.split(":")[0] : fill(data.words.patch, place(patch));
}

// --- the rows ----------------------------------------------------------------------------------

function unpack(pack) {
  return {
    first: pack.first,
    count: pack.count,
    attention: bytes(pack.attention), // heads x askers x patches
    peaks: new Float32Array(bytes(pack.attention_peak).buffer), // heads x askers
    rollout: bytes(pack.rollout), // askers x patches
    alike: new Uint16Array(bytes(pack.alike).buffer), // askers x patches
  };
}

// One asker's rows. They are here already unless the picture has very many patches.
async function rowsOf(asker) {
  const name = data.rows ? `${layer}` : `${layer}/${asker}`;
  if (!packs.has(name)) {
    const question = { key: data.key, model: data.model, layer, asker: data.rows ? null : asker };
    packs.set(name, server.read(question).then((pack) => pack && unpack(pack)));
  }
  const pack = await packs.get(name);
  if (!pack) {
    packs.delete(name);
    if (!lost) trigger("lost");
    lost = true; // until the picture is here again
    return null;
  }
  const n = patches();
  const q = asker - pack.first;
  const heads = Array.from({ length: data.heads }, (_, h) => {
    const at = h * pack.count + q;
    const peak = pack.peaks[at] / 255;
    return Float32Array.from(pack.attention.subarray(at * n, (at + 1) * n), (x) => x * peak);
  });
  const average = Float32Array.from({ length: n }, (_, i) =>
    heads.reduce((sum, row) => sum + row[i] / heads.length, 0),
  );
  return {
    heads,
    average,
    rollout: Float32Array.from(pack.rollout.subarray(q * n, (q + 1) * n)),
    alike: Float32Array.from(pack.alike.subarray(q * n, (q + 1) * n), (x) => x / 32767.5 - 1),
  };
}

// --- painting ----------------------------------------------------------------------------------

async function look() {
  const mine = ++ticket;
  const asker = pointed ?? pinned;
  const rows = await rowsOf(asker);
  if (rows && mine === ticket) paint(asker, rows);
}

function paint(asker, rows) {
  const shares = head < 0 ? rows.average : rows.heads[head];
  const most = shares.indexOf(Math.max(...shares));
  const peak = shares[most] || 1;
  tiles.forEach((tile, patch) => {
    tile.style.setProperty("--heat", (shares[patch] / peak).toFixed(3));
    tile.style.setProperty("--light", light(shares[patch], peak).toFixed(3));
    tile.classList.toggle("asking", patch === patchOf(asker));
  });
  parts.askers.forEach((chip, number) => {
    chip.classList.toggle("on", number === asker);
    chip.setAttribute("aria-pressed", String(number === pinned));
  });
  parts.says.textContent = fill(data.words.says_most, {
    who: nameOf(asker),
    ...place(most),
    share: percent(shares[most]),
  });
  if (keep?.includes(0)) parts.says.textContent += ` ${data.words.of_whole}`;
  parts.heads.forEach(({ button, canvas, number }) => {
    button.setAttribute("aria-pressed", String(number === head));
    stain(canvas, number < 0 ? rows.average : rows.heads[number]);
  });
  spotlight(parts.rollout, rows.rollout, patchOf(asker), []);
  const own = patchOf(asker);
  const lowest = Math.min(...rows.alike);
  const order = [...rows.alike.keys()].filter((patch) => patch !== own);
  order.sort((a, b) => rows.alike[b] - rows.alike[a]);
  const silent = data.askers[asker]?.voiceless === true;
  const contrast = silent ? rows.alike.map(() => 1) : rows.alike.map((x) => x - lowest);
  spotlight(parts.alike, contrast, own, silent ? [] : order.slice(0, NEAREST));
  parts.alikeNote.textContent = silent ? data.words.no_alike : data.words.alike_note;
}

// How light a patch is drawn. The root lets small shares be seen beside one that has nearly all.
function light(weight, peak) {
  return Math.sqrt(Math.max(0, weight) / peak);
}

// A canvas of one pixel a patch, in the accent colour, as strong as the weight.
function stain(canvas, weights) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const [r, g, b] = getComputedStyle(host).getPropertyValue("--stain").split(",").map(Number);
  const peak = Math.max(...weights) || 1;
  weights.forEach((weight, i) => pixels.data.set([r, g, b, 255 * light(weight, peak)], 4 * i));
  context.putImageData(pixels, 0, 0);
}

// The picture, dark where the weights are low.
function spotlight(map, weights, own, ranked) {
  const context = map.canvas.getContext("2d");
  const pixels = context.createImageData(map.canvas.width, map.canvas.height);
  const peak = Math.max(...weights) || 1;
  weights.forEach((weight, i) =>
    pixels.data.set([9, 11, 24, 218 * (1 - light(weight, peak))], 4 * i),
  );
  context.putImageData(pixels, 0, 0);
  const [rows, columns] = data.grid;
  const at = (patch) => ({
    left: `${(((patch % columns) + 0.5) / columns) * 100}%`,
    top: `${((Math.floor(patch / columns) + 0.5) / rows) * 100}%`,
  });
  const marks = ranked.map((patch, rank) => {
    return make("span", { class: "rank", style: at(patch) }, `${rank + 1}`);
  });
  if (own >= 0) marks.push(make("span", { class: "own", style: at(own) }));
  map.marks.replaceChildren(...marks);
}

// --- the answer --------------------------------------------------------------------------------

function drawAnswer(answer) {
  if (!answer || !data) return;
  asking = false;
  if (!answer.failed && answer.keep !== marks()) {
    ask(); // the mask has changed while the model was thinking
    return;
  }
  parts.answer.removeAttribute("aria-busy");
  if (answer.failed) return;
  const whole = answer.kept === answer.total;
  const note = whole ? data.words.all_seen : data.words.some_seen;
  parts.answerNote.textContent = fill(note, answer);
  const likeness = Math.max(0, answer.likeness);
  const bars = answer.bars.length
    ? answer.bars
    : [{ label: data.words.likeness, whole: 1, now: likeness }];
  parts.noClasses.hidden = answer.bars.length > 0;
  const before = new Map([...parts.bars.children].map((bar) => [bar.dataset.label, bar]));
  parts.bars.replaceChildren(
    ...bars.map(({ label, whole, now }) => {
      const bar = before.get(label) ?? emptyBar(label);
      bar.style.setProperty("--whole", `${whole * 100}%`);
      // A new bar starts at the old value, so that it can be seen to move.
      requestAnimationFrame(() => bar.style.setProperty("--now", `${now * 100}%`));
      bar.querySelector(".value").textContent = percent(now);
      const change = now - whole;
      const moved = Math.abs(change) >= 0.005;
      const sign = change > 0 ? "+" : "−";
      bar.querySelector(".change").textContent = moved ? sign + percent(Math.abs(change)) : "";
      return bar;
    }),
  );
}

function emptyBar(label) {
  return make(
    "li",
    { "data-label": label },
    make("span", { class: "label", title: label }, label),
    make("span", { class: "track" }, make("i"), make("b")),
    make("span", { class: "value" }),
    make("span", { class: "change" }),
  );
}

const marks = () => keep.join("");

function ask() {
  parts.answer.setAttribute("aria-busy", "true");
  if (asking) return;
  asking = true;
  turn += 1; // an answer that equals the last one would not be noticed
  trigger("mask", { keep: marks(), turn });
}

function setMask(wanted) {
  if (wanted.every((kept) => kept === 0)) {
    parts.answerNote.textContent = data.words.none_left;
    return;
  }
  keep = wanted;
  tiles.forEach((tile, patch) => {
    tile.setAttribute("aria-pressed", String(keep[patch] === 0));
    const masked = keep[patch] === 0 ? `, ${data.words.masked}` : "";
    tile.setAttribute("aria-label", fill(data.words.patch, place(patch)) + masked);
  });
  ask();
  look(); // attention stays that of the whole picture, and says so
}

function toggle(patch) {
  setMask(keep.map((kept, i) => (i === patch ? 1 - kept : kept)));
}

async function maskMost() {
  const rows = await rowsOf(pinned);
  if (!rows) return;
  const shares = head < 0 ? rows.average : rows.heads[head];
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
  maskThese(order);
}

function maskRandom() {
  const order = [...keep.keys()].map((patch) => [Math.random(), patch]);
  maskThese(order.sort((a, b) => a[0] - b[0]).map(([, patch]) => patch));
}

function maskThese(order) {
  const gone = new Set(order.slice(0, Math.round(patches() / 4)));
  setMask(keep.map((_, patch) => (gone.has(patch) ? 0 : 1)));
}

// --- what a visitor does -----------------------------------------------------------------------

function pin(asker) {
  pinned = asker;
  const patch = patchOf(asker);
  if (patch >= 0) tiles.forEach((tile, i) => (tile.tabIndex = i === patch ? 0 : -1));
  note();
  look();
}

function point(asker) {
  pointed = asker;
  look();
}

function setLayer(wanted) {
  layer = wanted;
  parts.layerName.textContent = fill(data.words.layer, { layer: layer + 1, depth: data.depth });
  note();
  look();
}

function setHead(wanted) {
  head = wanted;
  note();
  look();
}

function setMode(wanted) {
  masking = wanted;
  host.classList.toggle("masking", masking);
  parts.modes.forEach(({ button, masks }) =>
    button.setAttribute("aria-pressed", String(masks === masking)),
  );
}

// Keep the address a link to what is seen.
function note() {
  const address = new URL(window.location.href);
  const patch = patchOf(pinned);
  const noted = {
    model: data.model,
    picture: data.picture,
    layer: layer + 1,
    head: head + 1,
    patch: patch + 1,
  };
  for (const [name, value] of Object.entries(noted)) {
    const worth = value === "yours" || (typeof value === "number" && value < 1) ? null : value;
    if (worth === null) address.searchParams.delete(name);
    else address.searchParams.set(name, worth);
  }
  window.history.replaceState(window.history.state, "", address);
  const language = document.getElementById("language");
  if (language) {
    address.searchParams.set("lang", language.lang);
    language.href = address.search;
  }
}

function onKey(event) {
  const patch = tiles.indexOf(event.target);
  if (patch < 0) return;
  const columns = data.grid[1];
  const column = patch % columns;
  const goes = {
    ArrowLeft: column > 0 ? patch - 1 : patch,
    ArrowRight: column < columns - 1 ? patch + 1 : patch,
    ArrowUp: patch - columns >= 0 ? patch - columns : patch,
    ArrowDown: patch + columns < tiles.length ? patch + columns : patch,
    Home: patch - column,
    End: patch - column + columns - 1,
  };
  if (event.key in goes) {
    pointed = null;
    pin(goes[event.key] + data.askers.length);
    tiles[goes[event.key]].focus();
  } else if (event.key === " ") {
    toggle(patch);
  } else if (event.key === "Enter") {
    pin(patch + data.askers.length);
  } else if (event.key === "Escape") {
    pointed = null;
    pin(data.summary);
  } else {
    return;
  }
  event.preventDefault();
}

// --- building ----------------------------------------------------------------------------------

function build() {
  const say = data.words;
  const [rows, columns] = data.grid;
  const [width, height] = data.pixels;
  // By a short address: the whole picture in every patch's style would take seconds to paint.
  if (viewAddress) URL.revokeObjectURL(viewAddress);
  const png = new Blob([bytes(data.view.split(",")[1])], { type: "image/png" });
  viewAddress = URL.createObjectURL(png);
  const view = `url("${viewAddress}")`;
  const shape = `${width} / ${height}`;
  const coarse = Math.max(width, height) <= 96 ? "pixelated" : "auto";
  parts = {};

  tiles = Array.from({ length: patches() }, (_, patch) => {
    const { row, column } = place(patch);
    const x = columns > 1 ? ((column - 1) / (columns - 1)) * 100 : 0;
    const y = rows > 1 ? ((row - 1) / (rows - 1)) * 100 : 0;
    return make("button", {
      type: "button",
      class: "patch",
      tabindex: patch === 0 ? "0" : "-1",
      "aria-pressed": "false",
      "aria-label": fill(say.patch, { row, column }),
      style: { "background-position": `${x}% ${y}%` },
    });
  });
  const grid = make(
    "div",
    {
      class: rows * columns > 100 ? "grid fine" : "grid",
      role: "group",
      "aria-label": say.grid_label,
      style: {
        "--view": view,
        "--columns": columns,
        "--cover": `${columns * 100}% ${rows * 100}%`,
        "aspect-ratio": shape,
        "image-rendering": coarse,
      },
      on: {
        keydown: onKey,
        pointerover: (event) => {
          const patch = tiles.indexOf(event.target);
          if (patch >= 0 && event.pointerType === "mouse") point(patch + data.askers.length);
        },
        pointerleave: () => point(null),
        click: (event) => {
          const patch = tiles.indexOf(event.target);
          if (patch < 0) return;
          if (masking) toggle(patch);
          else pin(patch + data.askers.length);
        },
      },
    },
    ...tiles,
  );

  parts.askers = data.askers.map((asker, number) =>
    make(
      "button",
      {
        type: "button",
        title: asker.long,
        on: {
          click: () => {
            pointed = null;
            pin(number);
          },
        },
      },
      asker.short,
    ),
  );
  parts.modes = [false, true].map((masks) => ({
    masks,
    button: make(
      "button",
      { type: "button", class: masks ? "to-mask" : "to-look", on: { click: () => setMode(masks) } },
      masks ? say.mask_mode : say.look_mode,
    ),
  }));
  const tool = (name, text, click) =>
    make("button", { type: "button", class: name, on: { click } }, text);
  parts.says = make("p", { class: "says", "aria-live": "polite" });

  const left = make(
    "section",
    { class: "card picture" },
    make("h2", {}, fill(say.cut, { width, height, count: patches() })),
    make(
      "div",
      { class: "line" },
      make("span", { class: "caption" }, say.asker),
      make("div", { class: "chips", role: "group", "aria-label": say.asker }, ...parts.askers),
    ),
    grid,
    parts.says,
    make(
      "div",
      { class: "line tools" },
      make(
        "div",
        { class: "switch", role: "group", "aria-label": say.mode },
        ...parts.modes.map(({ button }) => button),
      ),
      tool("mask-most", say.mask_top, maskMost),
      tool("mask-random", say.mask_random, maskRandom),
      tool("clear", say.clear, () => setMask(keep.map(() => 1))),
    ),
    make("p", { class: "note" }, say.keys),
  );

  parts.bars = make("ul", { class: "bars" });
  parts.answerNote = make("p", { class: "note", "aria-live": "polite" });
  parts.noClasses = make("p", { class: "note" }, say.no_classes);
  parts.answer = make(
    "section",
    { class: "card answer" },
    make("h2", {}, say.answer),
    parts.noClasses,
    parts.bars,
    parts.answerNote,
  );

  parts.layerName = make("label", { class: "caption", for: "layer" });
  const slider = make("input", {
    id: "layer",
    type: "range",
    min: 1,
    max: data.depth,
    value: layer + 1,
    on: { input: (event) => setLayer(Number(event.target.value) - 1) },
  });
  parts.heads = Array.from({ length: data.heads + 1 }, (_, i) => {
    const number = i - 1;
    const canvas = make("canvas", { width: columns, height: rows, style: { "aspect-ratio": shape } });
    const short = number < 0 ? say.average : `${number + 1}`;
    const long = number < 0 ? say.average : fill(say.head, { head: number + 1 });
    const button = make(
      "button",
      { type: "button", class: "head", "aria-label": long, on: { click: () => setHead(number) } },
      canvas,
      make("span", {}, short),
    );
    return { number, canvas, button };
  });
  const map = (name, text, noteNode) => {
    const canvas = make("canvas", { width: columns, height: rows });
    const marksNode = make("div", { class: "marks" });
    parts[name] = { canvas, marks: marksNode };
    const frame = make(
      "div",
      {
        class: "map",
        style: { "--view": view, "aspect-ratio": shape, "image-rendering": coarse },
      },
      canvas,
      marksNode,
    );
    return make("figure", { class: name }, frame, make("figcaption", {}, make("b", {}, text), noteNode));
  };
  parts.alikeNote = make("span", {}, say.alike_note);
  const inside = make(
    "section",
    { class: "card inside" },
    make("div", { class: "line layer" }, parts.layerName, slider),
    make("span", { class: "caption" }, say.heads),
    make(
      "div",
      { class: "heads", role: "group", "aria-label": say.heads },
      ...parts.heads.map(({ button }) => button),
    ),
    make(
      "div",
      { class: "maps" },
      map("rollout", say.rollout, make("span", {}, say.rollout_note)),
      map("alike", say.alike, parts.alikeNote),
    ),
  );
  host.lang = data.lang;
  host.replaceChildren(left, make("div", { class: "right" }, parts.answer, inside));
}

function arrive() {
  if (!props.value) return;
  const again = data && data.key === props.value.key && data.model === props.value.model;
  const samePicture = again && lost;
  data = props.value;
  lost = asking = false;
  packs = new Map();
  if (data.rows) packs.set(`${data.rows.layer}`, Promise.resolve(unpack(data.rows)));
  if (samePicture) {
    look(); // the server had forgotten the picture; nothing else has changed
    return;
  }
  // Another picture keeps the layer and the head that are being looked through.
  const [oldLayer, oldHead] = [layer, head];
  const first = oldLayer === undefined;
  layer = first || oldLayer >= data.depth ? data.layer : oldLayer;
  head = first || oldHead >= data.heads ? data.head : oldHead;
  pinned = data.patch >= 0 ? data.patch + data.askers.length : data.summary;
  pointed = null;
  keep = Array(patches()).fill(1);
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  build();
  setMode(masking ?? false);
  setLayer(layer);
  pin(pinned);
  drawAnswer(data.answer);
}

watch("value", arrive);
watch("answer", () => drawAnswer(props.answer));
arrive();
