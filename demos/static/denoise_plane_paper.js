// --- paper --------------------------------------------------------------------------------------

// A clean sheet, measured in its own units: x to the right, y up, from -edge to edge.
function sheet(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const side = Math.max(1, Math.round(canvas.clientWidth * ratio));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const paper = canvas.getContext("2d");
  paper.setTransform(1, 0, 0, 1, 0, 0);
  paper.clearRect(0, 0, side, side);
  const scale = side / (2 * data.edge);
  paper.setTransform(scale, 0, 0, -scale, side / 2, side / 2);
  paper.pixel = ratio / scale; // of the page, in units of the paper
  paper.fine = Math.max(0.6, Math.min(1.15, side / ratio / 300)); // small papers have small dots
  return paper;
}

function dots(paper, spots, radius, fillStyle) {
  const size = radius * paper.pixel * paper.fine;
  paper.fillStyle = fillStyle;
  paper.beginPath();
  for (let at = 0; at < spots.length; at += 2) {
    paper.moveTo(spots[at] + size, spots[at + 1]);
    paper.arc(spots[at], spots[at + 1], size, 0, 2 * Math.PI);
  }
  paper.fill();
}

// Each arrow is a slim triangle whose tip says where it leads; fast ones grow no longer than a cell.
function arrows(paper, field, offset, other, part, fillStyle) {
  const { reach, across } = data.grid;
  const cell = (2 * reach) / (across - 1);
  const half = 1.6 * paper.pixel * paper.fine;
  paper.fillStyle = fillStyle;
  paper.beginPath();
  for (let at = 0; at < across * across; at++) {
    const x = -reach + (at % across) * cell;
    const y = -reach + Math.floor(at / across) * cell;
    const i = offset + 2 * at;
    const j = other + 2 * at;
    const vx = field[i] + (field[j] - field[i]) * part;
    const vy = field[i + 1] + (field[j + 1] - field[i + 1]) * part;
    const speed = Math.hypot(vx, vy);
    if (speed < 1e-3) continue;
    const length = (1.05 * cell * speed) / (speed + 1);
    const [dx, dy] = [vx / speed, vy / speed];
    paper.moveTo(x - dy * half, y + dx * half);
    paper.lineTo(x + dx * length, y + dy * length);
    paper.lineTo(x + dy * half, y - dx * half);
    paper.closePath();
  }
  paper.fill();
}

// The arrows at a time, between the two nearest times that were sent.
function arrowsAt(paper, walk, t, fillStyle) {
  const { times, field } = walk;
  const size = 2 * data.grid.across ** 2;
  const later = times.findIndex((time) => time <= t);
  if (later === 0) return arrows(paper, field, 0, 0, 0, fillStyle);
  const to = later < 0 ? times.length - 1 : later;
  const part = later < 0 ? 1 : (times[to - 1] - t) / (times[to - 1] - times[to]);
  arrows(paper, field, (to - 1) * size, to * size, part, fillStyle);
}

// Where all dots of a walk are, and how they came there.
function placesAt(walk, at) {
  const stop = Math.min(Math.floor(at * (walk.stops - 1)), walk.stops - 2);
  const part = at * (walk.stops - 1) - stop;
  const size = walk.path.length / walk.stops;
  const spots = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const here = walk.path[stop * size + i];
    spots[i] = here + (walk.path[(stop + 1) * size + i] - here) * part;
  }
  return { stop, size, spots };
}

function trails(paper, walk, { stop, size, spots }, strokeStyle) {
  paper.strokeStyle = strokeStyle;
  paper.lineWidth = paper.pixel;
  paper.lineJoin = "round";
  paper.beginPath();
  for (let i = 0; i < Math.min(2 * data.trails, size); i += 2) {
    paper.moveTo(walk.path[i], walk.path[i + 1]);
    for (let s = 1; s <= stop; s++) {
      paper.lineTo(walk.path[s * size + i], walk.path[s * size + i + 1]);
    }
    paper.lineTo(spots[i], spots[i + 1]);
  }
  paper.stroke();
}

// --- what is shown --------------------------------------------------------------------------------

const shownWalk = (panel) => (shows.formula && panel.exact ? panel.exact : panel.walk);

// Noise is at time 1, points are at 0; on the way back and there again it is at both ends points.
function timeAt(at) {
  if (!result?.back) return 1 - at;
  return at < 0.5 ? 2 * at : 2 - 2 * at;
}

function paint() {
  if (!parts.figures) return;
  const grey = colour("--plane-points");
  const faint = colour("--plane-arrows");
  const known = currentPoints();
  const t = timeAt(clock);
  panels.forEach((panel, at) => {
    if (!panel.canvas?.clientWidth) return;
    const paper = sheet(panel.canvas);
    const walk = shownWalk(panel);
    if (walk?.field && shows.arrows) arrowsAt(paper, walk, t, faint);
    dots(paper, known, 1.7, grey);
    const mine = own(at);
    if (walk?.path) {
      const now = placesAt(walk, clock);
      if (shows.trails) {
        paper.globalAlpha = 0.3;
        trails(paper, walk, now, mine);
        paper.globalAlpha = 1;
      }
      dots(paper, now.spots, 2.1, mine);
    } else {
      dots(paper, walk?.dots ?? noise, 2.1, mine);
    }
  });
  const share = percent(t);
  parts.slider.value = Math.round(1000 * clock);
  const said = fill(data.words.time_now, { percent: share });
  parts.slider.setAttribute("aria-valuetext", said);
  parts.now.textContent = said;
}

let asked = false;

function paintSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    paint();
  });
}

let last = 0;

function play() {
  if (!result) return;
  if (clock >= 1) clock = 0;
  playing = true;
  last = performance.now();
  nameButtons();
  requestAnimationFrame(move);
}

function pause() {
  playing = false;
  nameButtons();
}

function move(now) {
  if (!playing || !host.isConnected) return;
  const length = SECONDS * (result.back ? 2 : 1);
  clock = Math.min(1, clock + Math.max(0, now - last) / 1000 / length);
  last = now;
  paint();
  if (clock >= 1) pause();
  else requestAnimationFrame(move);
}
