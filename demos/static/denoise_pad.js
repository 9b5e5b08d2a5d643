// Out of the Noise, the pad: a small picture drawn large, with a soft pen like the one of MNIST.
// Gradio hands in element, trigger, props, server, upload and watch to all three files, which are
// one script: the pad here, what is seen in denoise_show.js, the page in denoise_page.js.
//
// Marks are kept as lines, so that they can be undone, brought to the middle and drawn at any size.
// Places are shares of the pad's side.

const PEN = 1.2; // pixels of 28: half of a line's width
const SOFT = 0.9; // and half of its soft edge
const BRUSH = 2.7; // radius of what erases
const BOX = 20 / 28; // of the side, into which MNIST fits a digit

// Ten digits as a person might write them, in a box of 20 by 20: lines that are made smooth.
const DIGITS = [
  [[10.6, 1, 6, 2.6, 3.8, 8.4, 4.4, 14.6, 8, 18.8, 12.6, 17.8, 15.8, 12.8, 15.6, 6.2, 12.8, 1.8, 10.2, 1.2]],
  [[11.4, 1, 10.4, 10, 9, 19]],
  [
    [4.4, 5.4, 6.4, 1.9, 10.8, 1, 14.2, 3.8, 13.4, 8.4, 9.2, 13.6, 4, 18.4],
    [4, 18.4, 16.4, 18.2],
  ],
  [
    [4.8, 3, 8.8, 1, 13.2, 2.2, 13.8, 6.2, 9.4, 9.2],
    [9.4, 9.2, 14, 11, 14.9, 15, 11.4, 18.6, 6.6, 18.8, 3.8, 16.4],
  ],
  [
    [5.6, 1.8, 4.2, 11],
    [4.2, 11, 16.2, 10.4],
    [13.6, 2, 12.4, 19],
  ],
  [
    [15.2, 1.6, 6.6, 2],
    [6.6, 2, 5.4, 9],
    [5.4, 9, 10, 7.6, 14.6, 10.2, 14.6, 15.2, 10.4, 18.9, 4.4, 17.6],
  ],
  [[13.2, 1.2, 8.2, 4.6, 5, 10.8, 5.2, 16.2, 9.4, 19, 13.8, 16.6, 14, 12.4, 10.4, 10.2, 6.6, 12.6, 5.2, 15.6]],
  [
    [3.8, 2.8, 15.8, 2],
    [15.8, 2, 11.8, 9.8, 8.8, 19],
  ],
  [
    [13.8, 4, 10.4, 1.2, 6.4, 3, 6.8, 6.6, 10.2, 9.6, 14, 13, 13.6, 17.2, 9.8, 19, 6, 17, 6.2, 13, 10.2,
      9.6, 13.6, 6.8, 13.8, 4],
  ],
  [
    [14.4, 5.4, 11, 1.4, 6.6, 2.8, 5.4, 7, 8.8, 10, 13, 8.4, 14.4, 5.4],
    [14.4, 5.4, 13.4, 12, 12, 19],
  ],
];

const pad = {
  base: null, // what was brought: {size, ink, hidden}, one number a pixel
  marks: [], // {tool: "pen" | "eraser", points: [x, y, x, y, ...]}
  past: [], // what undo goes back to
  tool: "pen",
  at: [0.5, 0.5], // where the keyboard's pen is
  down: false, // whether it draws
  open: false, // whether the last mark is still being drawn
  digit: null, // the example that is on the pad, as long as nothing was changed
};

// --- drawing -------------------------------------------------------------------------------------

// A smooth line through points that lie far apart (Catmull and Rom 1974).
function smooth(points) {
  const at = (i) => {
    const n = Math.min(Math.max(i, 0), points.length / 2 - 1);
    return [points[2 * n], points[2 * n + 1]];
  };
  const line = [];
  for (let i = 0; i < points.length / 2 - 1; i++) {
    const [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    for (let t = 0; t < 1; t += 0.125) {
      for (const k of [0, 1]) {
        line.push(
          0.5 *
            (2 * b[k] +
              (c[k] - a[k]) * t +
              (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) * t * t +
              (3 * b[k] - a[k] - 3 * c[k] + d[k]) * t * t * t),
        );
      }
    }
  }
  return [...line, ...points.slice(-2)];
}

// The marks of a digit, in shares of the pad.
function digitMarks(digit) {
  return DIGITS[digit].map((points) => ({
    tool: "pen",
    points: smooth(points).map((place) => (place + 4) / 28),
  }));
}

// Call a function with each pixel near a line, and how far from it the pixel's middle lies.
function near(points, size, reach, each) {
  for (let i = 0; i < points.length; i += 2) {
    const last = i + 2 >= points.length;
    if (last && points.length > 2) break;
    const [ax, ay] = [points[i] * size, points[i + 1] * size];
    const [bx, by] = last ? [ax, ay] : [points[i + 2] * size, points[i + 3] * size];
    const [dx, dy] = [bx - ax, by - ay];
    const long = dx * dx + dy * dy;
    const from = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - reach));
    const to = (a, b) => Math.min(size - 1, Math.ceil(Math.max(a, b) + reach));
    for (let y = from(ay, by); y <= to(ay, by); y++) {
      for (let x = from(ax, bx); x <= to(ax, bx); x++) {
        const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
        const t = long > 0 ? Math.min(Math.max((px * dx + py * dy) / long, 0), 1) : 0;
        each(y * size + x, Math.hypot(px - t * dx, py - t * dy));
      }
    }
  }
}

// What is on the pad: ink from 0 to 255 and what is erased, mark by mark in their order. A part
// that is erased has no ink, and what is drawn there later is known again.
function compose(size = data.size, { base, marks } = pad) {
  const ink = new Uint8Array(size * size);
  const hidden = new Uint8Array(size * size);
  if (base) {
    const whole = base.size === size ? base : resized(base, size);
    ink.set(whole.ink);
    if (whole.hidden) hidden.set(whole.hidden);
  }
  const scale = size / 28;
  const [pen, soft, brush] = [PEN * scale, SOFT * scale, BRUSH * scale];
  for (const { tool, points } of marks) {
    if (tool === "pen") {
      near(points, size, pen + soft, (pixel, away) => {
        const share = Math.min(Math.max((pen + soft - away) / (2 * soft), 0), 1);
        ink[pixel] = Math.max(ink[pixel], Math.round(255 * share * share * (3 - 2 * share)));
        if (share > 0.3) hidden[pixel] = 0;
      });
    } else {
      near(points, size, brush, (pixel, away) => {
        if (away > brush) return;
        ink[pixel] = 0;
        hidden[pixel] = 1;
      });
    }
  }
  return { ink, hidden, erased: hidden.includes(1) };
}

// A drawing as pixels of another size, or moved: through a canvas, which knows how.
function resized(base, size, place = null) {
  const one = (values, smoothly) => {
    const from = document.createElement("canvas");
    from.width = from.height = base.size;
    paint(from, values, 1);
    const to = document.createElement("canvas");
    to.width = to.height = size;
    const context = to.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = smoothly;
    context.imageSmoothingQuality = "high";
    const { left, top, side } = place ?? { left: 0, top: 0, side: size };
    context.drawImage(from, left, top, side, side);
    const pixels = context.getImageData(0, 0, size, size).data;
    return Uint8Array.from({ length: size * size }, (_, i) => pixels[4 * i]);
  };
  const hidden = base.hidden && one(base.hidden.map((on) => 255 * on), false);
  return {
    size,
    ink: one(base.ink, true),
    hidden: hidden ? hidden.map((value) => (value > 127 ? 1 : 0)) : null,
  };
}

// --- changing ------------------------------------------------------------------------------------

function remember() {
  pad.past.push({ base: pad.base, marks: [...pad.marks], digit: pad.digit });
  if (pad.past.length > 100) pad.past.shift();
  pad.digit = null;
}

function begin(x, y, tool = pad.tool) {
  remember();
  pad.marks.push({ tool, points: [x, y] });
  pad.open = true;
  padChanged();
}

function extend(x, y) {
  const { points } = pad.marks.at(-1);
  const [lastX, lastY] = points.slice(-2);
  if (Math.hypot(x - lastX, y - lastY) < 0.2 / 28) return;
  points.push(x, y);
  padChanged();
}

function finish() {
  if (!pad.open) return;
  pad.open = false;
  padSettled();
}

function undo() {
  lift();
  const before = pad.past.pop();
  if (!before) return;
  Object.assign(pad, before);
  padChanged();
  padSettled();
}

function put(base, marks, digit = null) {
  lift();
  remember();
  Object.assign(pad, { base, marks, digit });
  padChanged();
  padSettled();
}

const clear = () => put(null, []);
const takeDigit = (digit) => put(null, digitMarks(digit), digit);

// Where the ink lies: its centre of gravity and its extent, in shares; null for an empty pad.
function gravity(ink, size) {
  let [sum, x, y] = [0, 0, 0];
  let [left, right, top, bottom] = [size, -1, size, -1];
  ink.forEach((value, i) => {
    if (value < 40) return;
    const [column, row] = [i % size, Math.floor(i / size)];
    sum += value;
    x += value * (column + 0.5);
    y += value * (row + 0.5);
    [left, right] = [Math.min(left, column), Math.max(right, column)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
  });
  if (!sum) return null;
  const extent = (Math.max(right - left, bottom - top) + 1) / size;
  return { x: x / sum / size, y: y / sum / size, extent };
}

// Whether a digit lies where the model, which has seen nothing else, will not look for it.
function isAskew(ink, size) {
  const found = gravity(ink, size);
  if (!found || ink.reduce((sum, value) => sum + value, 0) < 255 * 6) return false;
  const away = Math.max(Math.abs(found.x - 0.5), Math.abs(found.y - 0.5));
  return away > 2.6 / 28 || found.extent < 13 / 28 || found.extent > 24.5 / 28;
}

// Bring the drawing to the middle, as large as MNIST's digits are.
function centre() {
  const size = data.size;
  const found = gravity(compose().ink, size);
  if (!found) return;
  const pen = pad.base ? 0 : 2.4 / 28; // a line keeps its width, however long it gets
  const grow = Math.min(Math.max((BOX - pen) / Math.max(found.extent - pen, 0.01), 0.4), 6);
  const moved = (points) =>
    points.map((place, i) => (place - (i % 2 ? found.y : found.x)) * grow + 0.5);
  const marks = pad.marks.map(({ tool, points }) => ({ tool, points: moved(points) }));
  const place = {
    left: (0.5 - found.x * grow) * size,
    top: (0.5 - found.y * grow) * size,
    side: grow * size,
  };
  put(pad.base && resized(pad.base, size, place), marks);
}

// --- by mouse, touch and pen ---------------------------------------------------------------------

const within = (share) => Math.min(Math.max(share, 0), 1);

function placeOf(event) {
  const box = parts.pad.getBoundingClientRect();
  return [
    within((event.clientX - box.left) / box.width),
    within((event.clientY - box.top) / box.height),
  ];
}

function onPointerDown(event) {
  if (event.button !== 0) return;
  event.preventDefault();
  lift();
  parts.pad.setPointerCapture(event.pointerId);
  parts.pad.focus({ preventScroll: true });
  pad.at = placeOf(event);
  begin(...pad.at);
}

function onPointerMove(event) {
  if (!pad.open || pad.down) return;
  for (const each of event.getCoalescedEvents?.() ?? []) extend(...placeOf(each));
  pad.at = placeOf(event);
  extend(...pad.at);
  drawCursor();
}

function onPointerUp() {
  if (!pad.down) finish();
}

// --- by keyboard ---------------------------------------------------------------------------------

function lift() {
  pad.down = false;
  finish();
  drawCursor();
}

function onPadKey(event) {
  const stride = (event.shiftKey ? 4 : 1) / data.size;
  const goes = {
    ArrowLeft: [-stride, 0],
    ArrowRight: [stride, 0],
    ArrowUp: [0, -stride],
    ArrowDown: [0, stride],
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "z" && (event.ctrlKey || event.metaKey)) {
    undo();
  } else if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  } else if (key in goes) {
    const half = 0.5 / data.size;
    pad.at = pad.at.map((place, i) => {
      // From the middle of a pixel to that of another.
      const middle = Math.floor(Math.min(place, 1 - half) * data.size) / data.size + half;
      return Math.min(Math.max(middle + goes[key][i], half), 1 - half);
    });
    if (pad.down) extend(...pad.at);
    drawCursor();
    sayPlace();
  } else if (key === " ") {
    if (event.repeat) {
      event.preventDefault();
      return;
    }
    if (pad.down) {
      lift();
    } else {
      pad.down = true;
      begin(...pad.at);
    }
    drawCursor();
    sayPlace();
  } else if (key === "Escape") {
    lift();
    sayPlace();
  } else if (key === "Backspace") {
    undo();
  } else if (key === "Delete") {
    clear();
  } else if (key === "e" || key === "p") {
    takeTool(key === "e" ? "eraser" : "pen");
  } else {
    return;
  }
  event.preventDefault();
}

function sayPlace() {
  const [column, row] = pad.at.map((place) => Math.floor(place * data.size) + 1);
  const words = pad.down ? data.words.pen_down : data.words.pen_up;
  parts.place.textContent = fill(words, { column, row });
}

// --- what the pad shows --------------------------------------------------------------------------

function takeTool(tool) {
  lift();
  pad.tool = tool;
  for (const [name, button] of Object.entries(parts.tools)) {
    button.setAttribute("aria-pressed", String(name === tool));
  }
  parts.frame.classList.toggle("erasing", tool === "eraser");
  drawCursor();
}

function drawCursor() {
  if (!parts.cursor) return;
  const [x, y] = pad.at;
  parts.cursor.style.left = `${x * 100}%`;
  parts.cursor.style.top = `${y * 100}%`;
  parts.frame.classList.toggle("down", pad.down || pad.open);
}

// The drawing as it is, and where it was erased a chequered ground.
function drawPad({ ink, hidden, erased }) {
  const size = data.size;
  const context = parts.pad.getContext("2d");
  const pixels = context.createImageData(size, size);
  ink.forEach((value, i) => {
    const light = (i + Math.floor(i / size)) % 2;
    const colour = hidden[i] ? (light ? [92, 84, 190] : [68, 60, 156]) : [value, value, value];
    pixels.data.set([...colour, 255], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  const empty = !erased && ink.every((value) => value === 0);
  parts.invite.hidden = !empty;
  parts.undo.disabled = pad.past.length === 0;
  parts.clear.disabled = empty;
}
