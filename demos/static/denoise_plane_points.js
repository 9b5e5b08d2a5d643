// --- 1: the points ------------------------------------------------------------------------------

function currentPoints() {
  if (wish.shape === data.yours) return Float32Array.from(drawn.flat());
  return places[wish.shape].subarray(0, 2 * wish.count);
}

function chooseShape(shape) {
  wish.shape = shape;
  forget();
  drawPoints();
}

// Whoever draws on a shape's paper wants a clean one.
function beginStroke() {
  if (wish.shape !== data.yours) {
    wish.shape = data.yours;
    drawn = [];
    strokes = [];
  }
  strokes.push(drawn.length);
  forget();
}

function addPoint(x, y) {
  if (drawn.length >= data.limits.most) return false;
  const inside = (value) => Math.max(-data.edge, Math.min(data.edge, value));
  drawn.push([inside(x), inside(y)].map((value) => Math.round(value * 1000) / 1000));
  return true;
}

function undo() {
  if (wish.shape !== data.yours || !strokes.length) return;
  drawn.length = strokes.pop();
  forget();
  drawPoints();
}

function clear() {
  if (wish.shape !== data.yours) wish.shape = data.yours;
  drawn = [];
  strokes = [];
  forget();
  drawPoints();
  parts.pad.focus();
}

function placeOf(event) {
  const box = parts.pad.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 2 - 1;
  const y = 1 - ((event.clientY - box.top) / box.height) * 2;
  return [x * data.edge, y * data.edge];
}

let stroke = null; // where it is, while a stroke is drawn

function onPenDown(event) {
  if (event.button || running) return;
  event.preventDefault();
  parts.pad.focus();
  parts.pad.setPointerCapture(event.pointerId);
  beginStroke();
  stroke = placeOf(event);
  addPoint(...stroke);
  drawPoints();
}

// A quick stroke comes in long leaps: points are put evenly between.
function onPenMove(event) {
  if (!stroke) return;
  const [x, y] = placeOf(event);
  let far = Math.hypot(x - stroke[0], y - stroke[1]);
  while (far >= SPACING) {
    const share = SPACING / far;
    stroke = [stroke[0] + (x - stroke[0]) * share, stroke[1] + (y - stroke[1]) * share];
    // A little beside the line, as a hand would dot it.
    const beside = () => (Math.random() - 0.5) * 0.08;
    if (!addPoint(stroke[0] + beside(), stroke[1] + beside())) break;
    far = Math.hypot(x - stroke[0], y - stroke[1]);
  }
  pen = [x, y];
  drawPoints();
}

function onPenUp() {
  stroke = null;
}

function onPadKey(event) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const way = ways[event.key];
  if (!way && ![" ", "Enter", "Backspace"].includes(event.key)) return;
  event.preventDefault();
  if (way) {
    const far = event.shiftKey ? 4 * PEN : PEN;
    pen = pen.map((value, i) => Math.max(-data.edge, Math.min(data.edge, value + way[i] * far)));
  } else if (running) {
    return;
  } else if (event.key === "Backspace") {
    undo();
  } else {
    beginStroke();
    addPoint(...pen);
  }
  drawPoints();
}

function drawPoints() {
  const say = data.words;
  const yours = wish.shape === data.yours;
  const points = currentPoints();
  const count = points.length / 2;
  for (const [name, each] of Object.entries(parts.shapes)) {
    each.button.setAttribute("aria-pressed", String(name === wish.shape));
    each.button.classList.toggle("empty", name === data.yours && !drawn.length);
    const some = name === data.yours ? Float32Array.from(drawn.flat()) : places[name].subarray(0, 240);
    if (each.canvas.clientWidth) dots(sheet(each.canvas), some, 1.6, colour("--ink"));
  }
  if (parts.pad.clientWidth) {
    const paper = sheet(parts.pad);
    dots(paper, points, 2.2, colour("--ink"));
    if (document.activeElement === parts.pad) {
      paper.strokeStyle = colour("--accent");
      paper.lineWidth = 1.5 * paper.pixel;
      const size = 9 * paper.pixel;
      paper.beginPath();
      paper.moveTo(pen[0] - size, pen[1]);
      paper.lineTo(pen[0] + size, pen[1]);
      paper.moveTo(pen[0], pen[1] - size);
      paper.lineTo(pen[0], pen[1] + size);
      paper.stroke();
    }
  }
  const said = fill(say.points_now, { count: number(count) });
  parts.pad.setAttribute("aria-label", fill(say.pad_label, { count: number(count) }));
  parts.countNow.textContent = said;
  parts.count.hidden = yours;
  parts.count.value = wish.count;
  parts.count.setAttribute("aria-valuetext", said);
  parts.countLabel.hidden = yours;
  parts.undo.disabled = !yours || !strokes.length || Boolean(running);
  parts.clear.disabled = (yours && !drawn.length) || Boolean(running);
  const few = yours && count < data.limits.least;
  const full = yours && count >= data.limits.most;
  parts.padSays.textContent = few
    ? fill(say.too_few, { least: data.limits.least })
    : full
      ? fill(say.full, { most: number(data.limits.most) })
      : "";
  parts.go.disabled = few;
  paintSoon();
}

function buildPoints() {
  const say = data.words;
  parts.shapes = {};
  const names = [...Object.keys(data.shapes), data.yours];
  const tiles = names.map((name) => {
    const canvas = make("canvas", { class: "tiny", "aria-hidden": "true" });
    const one = button("shape", "", () => chooseShape(name), { "data-shape": name });
    one.append(canvas, make("span", {}, say[`shape_${name}`]));
    parts.shapes[name] = { button: one, canvas };
    return one;
  });
  parts.pad = make("canvas", {
    class: "pad",
    id: "plane-pad",
    role: "application",
    tabindex: 0,
    on: {
      pointerdown: onPenDown,
      pointermove: onPenMove,
      pointerup: onPenUp,
      pointercancel: onPenUp,
      keydown: onPadKey,
      focus: drawPoints,
      blur: drawPoints,
    },
  });
  parts.countNow = make("span", { class: "amount" });
  parts.countLabel = make("label", { for: "plane-count" }, say.count);
  parts.count = make("input", {
    id: "plane-count",
    type: "range",
    min: 10,
    max: data.limits.most,
    step: 10,
    on: {
      input: (event) => {
        wish.count = Number(event.target.value);
        forget();
        drawPoints();
      },
    },
  });
  parts.undo = button("undo", say.undo, undo);
  parts.clear = button("clear", say.clear, clear);
  parts.padSays = make("p", { class: "says", "aria-live": "polite" });
  return make(
    "section",
    { class: "card points" },
    make("h3", {}, say.points),
    make("p", { class: "note" }, say.points_note),
    make("div", { class: "shapes", role: "group", "aria-label": say.points }, ...tiles),
    make("div", { class: "line amount-line" }, parts.countLabel, parts.count, parts.countNow),
    parts.pad,
    make("div", { class: "line" }, parts.undo, parts.clear, parts.padSays),
    make("p", { class: "note" }, say.pad_note),
  );
}
