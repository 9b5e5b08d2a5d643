// --- the flat map, and the gap between pictures and captions ------------------------------------

const space = { axes: "across", step: null, points: [], width: 0 };
const CURVES = ["pictures", "texts", "pile"];

function buildSpace() {
  const say = data.words;
  const { steps } = data.space;
  if (space.step === null) space.step = data.space.now;

  space.lines = data.pairs.map(() => draw("line", { class: "tie" }));
  space.means = [draw("g", { class: "mean pictures" }), draw("g", { class: "mean texts" })];
  for (const mean of space.means) mean.append(draw("path", { d: "M-7 0H7M0-7V7" }));
  space.bridge = draw("line", { class: "bridge" });
  space.points = [...data.texts.map((_, text) => textPoint(text)), ...data.pictures.map((_, p) => picturePoint(p))];
  space.points[0].node.setAttribute("tabindex", 0);
  space.svg = draw(
    "svg",
    {
      role: "group",
      "aria-label": say.map_label,
      on: {
        keydown: walkSpace,
        focusin: (event) => choosePoint(event.target, pin),
        click: (event) => choosePoint(event.target, pin),
        pointerover: (event) => event.pointerType === "mouse" && choosePoint(event.target, point),
        pointerleave: () => point(null),
      },
    },
    space.bridge,
    ...space.lines,
    ...space.means,
    ...space.points.map(({ node }) => node),
  );
  space.kept = make("p", { class: "kept" });
  const map = make(
    "section",
    { class: "card map" },
    make(
      "div",
      { class: "line" },
      make("h2", {}, say.map),
      choice(
        "axes",
        say.axes,
        ["across", "all", "within"].map((name) => [name, say[`axes_${name}`]]),
        space.axes,
        (name) => {
          space.axes = name;
          placePoints();
        },
      ),
    ),
    make("div", { class: "frame" }, space.svg),
    space.kept,
    make("p", { class: "note" }, say.map_keys),
  );

  const slider = make("input", {
    id: "mm-gap",
    type: "range",
    min: 0,
    max: steps.length - 1,
    value: space.step,
    on: { input: (event) => setStep(Number(event.target.value)) },
  });
  space.slider = slider;
  space.amount = make("label", { for: "mm-gap", class: "amount" });
  space.distance = make("p", { class: "says", "aria-live": "polite" });
  space.now = Object.fromEntries(CURVES.map((name) => [name, make("dd", {})]));
  const legend = make(
    "dl",
    { class: "curves" },
    ...CURVES.map((name) =>
      make(
        "div",
        { class: name },
        make("dt", {}, make("i", {}), say[`curve_${name}`]),
        space.now[name],
      ),
    ),
  );
  const { mean } = data.space;
  const means = [
    [say.mean_pairs, mean.pairs],
    [say.mean_pictures, mean.pictures],
    [say.mean_texts, mean.texts],
  ].filter(([, value]) => value !== null);
  space.cursor = draw("line", { class: "cursor", y1: 4, y2: 96 });
  const gap = make(
    "section",
    { class: "card gap" },
    make("h2", {}, say.gap),
    space.distance,
    space.amount,
    slider,
    make(
      "div",
      { class: "ends note" },
      ...["wide", "now", "closed", "crossed"].map((name, i) =>
        make("span", { style: { "--at": `${(i * 100) / 3}%` } }, say[`gap_${name}`]),
      ),
    ),
    data.pairs.length ? curves() : "",
    data.pairs.length ? legend : "",
    make("h3", {}, say.means),
    make(
      "ul",
      { class: "bars" },
      ...means.map(([words, value]) =>
        make("li", {}, make("span", {}, words), bar(value), make("b", {}, cosine(value))),
      ),
    ),
  );
  return make("div", { class: "pairs" }, map, gap);
}

// How many find each other, over all settings of the gap.
function curves() {
  const { steps } = data.space;
  const x = (step) => (step / (steps.length - 1)) * 300;
  const lines = CURVES.map((name, number) => {
    const points = steps.map((step, i) => {
      const [found, asked] = step[name];
      // Lines that coincide are laid side by side.
      return `${x(i).toFixed(1)},${(92 - (found / asked) * 80 + (number - 1) * 2.5).toFixed(1)}`;
    });
    return draw("polyline", { class: name, points: points.join(" ") });
  });
  return draw(
    "svg",
    { class: "chart", viewBox: "-2 0 304 100", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("line", { class: "zero", x1: x(data.space.now), x2: x(data.space.now), y1: 4, y2: 96 }),
    ...lines,
    space.cursor,
  );
}

function textPoint(text) {
  const label = draw("text", { lang: data.texts[text].lang }, data.texts[text].text);
  const node = draw(
    "g",
    { class: "point text", role: "button", tabindex: -1, "aria-label": data.texts[text].text },
    draw("circle", { class: "halo", r: 11 }),
    draw("circle", { class: "dot", r: 5 }),
    label,
  );
  return { node, label, choice: { picture: null, text } };
}

function picturePoint(picture) {
  const half = data.pictures.length > 12 ? 13 : 17;
  const { view: src, captions, coarse } = data.pictures[picture];
  const box = { x: -half, y: -half, width: 2 * half, height: 2 * half };
  const image = draw("image", { ...box, href: src, ...(coarse ? { class: "coarse" } : {}) });
  const name = captions ? `${pictureName(picture)}: ${captions}` : pictureName(picture);
  const node = draw(
    "g",
    { class: "point picture", role: "button", tabindex: -1, "aria-label": name },
    draw("rect", { class: "halo", x: -half - 4, y: -half - 4, width: 2 * half + 8, height: 2 * half + 8, rx: 5 }),
    image,
    draw("rect", { class: "edge", ...box, rx: 2 }),
  );
  return { node, half, choice: { picture, text: null } };
}

// Where all lie for one setting, in pixels. The scale is that of all settings, so that moving the
// slider moves the points and not the paper; it is the same across and down.
function layout() {
  const { steps } = data.space;
  const width = space.width;
  const height = Math.round(width * (width < 480 ? 0.95 : 0.66));
  const everywhere = steps.flatMap((step) => step.places[space.axes]);
  const [xs, ys] = [0, 1].map((axis) => everywhere.map((place) => place[axis]));
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  const pad = width < 480 ? 22 : 30;
  const scale = Math.min(
    (width - 2 * pad) / (right - left || 1),
    (height - 2 * pad) / (top - bottom || 1),
  );
  const toX = (x) => width / 2 + (x - (left + right) / 2) * scale;
  const toY = (y) => height / 2 - (y - (bottom + top) / 2) * scale;
  const places = steps[space.step].places[space.axes].map(([x, y]) => [toX(x), toY(y)]);
  const n = data.pictures.length;
  return { width, height, pictures: places.slice(0, n), texts: places.slice(n) };
}

function placePoints() {
  if (!space.width) return;
  const { width, height, pictures, texts } = layout();
  const at = ({ picture, text }) => (picture === null ? texts[text] : pictures[picture]);
  space.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const { node, choice: who } of space.points) {
    const [x, y] = at(who);
    node.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }
  data.pairs.forEach(([picture, text], i) => join(space.lines[i], pictures[picture], texts[text]));
  const middles = [pictures, texts].map((kind) =>
    [0, 1].map((axis) => kind.reduce((sum, place) => sum + place[axis], 0) / kind.length),
  );
  middles.forEach(([x, y], i) => (space.means[i].style.transform = `translate(${x}px, ${y}px)`));
  join(space.bridge, ...middles);
  placeLabels(width, height, pictures, texts);
  const kept = data.space.steps[space.step].kept[space.axes];
  const [across, up] = kept.map((share) => percent(share));
  space.kept.textContent = fill(data.words.kept, {
    both: percent(kept[0] + kept[1]),
    rest: percent(1 - kept[0] - kept[1]),
    across,
    up,
  });
}

function join(line, [x1, y1], [x2, y2]) {
  for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) {
    line.setAttribute(name, value.toFixed(1));
  }
}

// A caption is written beside its dot where there is room; the others wait to be pointed at.
function placeLabels(width, height, pictures, texts) {
  const half = (space.points.at(-1).half ?? 17) + 1;
  const taken = [
    ...pictures.map(([x, y]) => [x - half, y - half, x + half, y + half]),
    ...texts.map(([x, y]) => [x - 5, y - 5, x + 5, y + 5]),
  ];
  const free = (box) =>
    box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height &&
    taken.every((o) => box[2] <= o[0] || box[0] >= o[2] || box[3] <= o[1] || box[1] >= o[3]);
  for (const { label, choice: who } of space.points) {
    if (!label) continue;
    const [x, y] = texts[who.text];
    const size = (label.size ??= label.getComputedTextLength() * 1.12 + 2);
    const right = { box: [x + 8, y - 8, x + 8 + size, y + 8], x: 9, y: 4.5, anchor: "start" };
    const left = { box: [x - 8 - size, y - 8, x - 8, y + 8], x: -9, y: 4.5, anchor: "end" };
    // First where no line to a picture runs.
    const sides = partnersLieRight(who.text, x, pictures) ? [left, right] : [right, left];
    const tries = [
      sides[0],
      sides[1],
      { box: [x - size / 2, y - 23, x + size / 2, y - 7], x: 0, y: -11, anchor: "middle" },
      { box: [x - size / 2, y + 7, x + size / 2, y + 23], x: 0, y: 20, anchor: "middle" },
    ];
    const found = tries.find(({ box }) => free(box));
    label.classList.toggle("waits", !found);
    // One that waits is at least not written beyond the edge.
    const inside = ({ box }) => box[0] >= 0 && box[2] <= width;
    const pushed = Math.max(size / 2, Math.min(width - size / 2, x)) - x;
    const place = found ?? tries.find(inside) ?? { ...tries[2], x: pushed };
    label.setAttribute("x", place.x);
    label.setAttribute("y", place.y);
    label.setAttribute("text-anchor", place.anchor);
    if (found) taken.push(found.box);
  }
}

function partnersLieRight(text, x, pictures) {
  const partners = data.pairs.filter(([, one]) => one === text).map(([picture]) => pictures[picture]);
  return partners.some((place) => place[0] > x + 30);
}

function choosePoint(target, choose) {
  const node = target.closest(".point");
  const found = space.points.find((one) => one.node === node);
  if (found) choose(withPartner(found.choice));
}

// Beside a picture its nearest caption is shown, beside a caption its nearest picture.
function withPartner({ picture, text }) {
  if (text === null) return { picture, text: order(data.cosines[picture])[0], from: "picture" };
  return { picture: order(data.cosines.map((row) => row[text]))[0], text, from: "text" };
}

// Left and right walk through all points as they lie from left to right, up and down likewise.
function walkSpace(event) {
  const axis = { ArrowLeft: 0, ArrowRight: 0, ArrowUp: 1, ArrowDown: 1 }[event.key];
  const here = space.points.findIndex(({ node }) => node === event.target);
  if (here < 0) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choosePoint(event.target, pin);
    return;
  }
  if (axis === undefined) return;
  event.preventDefault();
  point(null);
  const { pictures, texts } = layout();
  const at = ({ choice: { picture, text } }) => (picture === null ? texts[text] : pictures[picture])[axis];
  const line = [...space.points.keys()].sort((a, b) => at(space.points[a]) - at(space.points[b]) || a - b);
  const step = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
  const next = line[Math.max(0, Math.min(line.length - 1, line.indexOf(here) + step))];
  space.points[here].node.setAttribute("tabindex", -1);
  space.points[next].node.setAttribute("tabindex", 0);
  space.points[next].node.focus();
}

function setStep(step) {
  const say = data.words;
  space.step = step;
  const now = data.space.steps[step];
  const share = percent(now.amount);
  space.amount.textContent = fill(say.gap_amount, { share });
  space.slider.setAttribute("aria-valuetext", share);
  space.distance.textContent = fill(say.gap_distance, { distance: cosine(now.gap) });
  for (const name of CURVES) {
    const [found, asked] = now[name];
    space.now[name].textContent = fill(say.of, { found, asked });
  }
  const x = (step / (data.space.steps.length - 1)) * 300;
  space.cursor.setAttribute("x1", x);
  space.cursor.setAttribute("x2", x);
  placePoints();
}

function markSpace() {
  const { picture, text, from } = chosen();
  for (const { node, choice: who } of [...space.points].reverse()) {
    const on = who.text === null ? who.picture === picture : who.text === text;
    const asks = from === (who.text === null ? "picture" : "text");
    node.classList.toggle("on", on);
    node.classList.toggle("asks", on && asks);
    // What is chosen is drawn over all others, captions over pictures; but what the keyboard is on
    // stays where it is.
    if (on && node !== document.activeElement) space.svg.append(node);
  }
  data.pairs.forEach(([p, t], i) =>
    space.lines[i].classList.toggle("on", p === picture && t === text),
  );
}
