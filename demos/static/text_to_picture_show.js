// Drawn from Words, what is seen: pictures that come out of noise, a scrubber, what was drawn before.
// One script with way.js; words and patches are in text_to_picture_looks.js, the page in
// text_to_picture_page.js.

let view = "noisy"; // or "thought": what the model is shown, or what it believes is there

// --- painting ------------------------------------------------------------------------------------

// One of several pictures whose bytes lie one behind the other.
function one(values, number) {
  const area = run.size * run.size * run.channels;
  return values.subarray(number * area, (number + 1) * area);
}

// What is shown of a picture at a step, or at the end behind the last one.
function pictureAt(position, number) {
  if (position >= run.total) return one(run.end, number);
  const frame = run.frames[position];
  return one(view === "thought" && frame.x0 ? frame.x0 : frame.noisy, number);
}

// --- a way that is walked ------------------------------------------------------------------------

function begun(news) {
  run.words = news.words;
  status(data.words.drawing);
  drawWords();
}

const unpacked = ({ noisy, x0, share, looks }) => ({
  noisy: bytes(noisy),
  x0: x0 && bytes(x0),
  share,
  looks: looks.map((look) => ({ ...look, levels: bytes(look.levels) })),
});

function arrived() {
  run.playing = false;
  if (run.live) shelve();
  drawAll();
}

// What was shown before that which came to nothing.
function goBack() {
  run = run.before;
  drawWords();
}

// --- what it says --------------------------------------------------------------------------------

const handName = (hand) =>
  hand === null ? data.words.hand_none : (data.words[`hand_${hand}`] ?? hand.replaceAll("_", " "));

// How a drawing was asked for, in a line.
function summary({ asked, model, sampler }) {
  const say = data.words;
  const told = [];
  if (asked.hand !== null) told.push(fill(say.sum_hand, { hand: handName(asked.hand) }));
  const counted = asked.steps === 1 ? say.sum_one_step : say.sum_steps;
  told.push(fill(counted, { sampler, steps: asked.steps }));
  told.push(fill(say.sum_guidance, { guidance: asked.guidance }));
  told.push(fill(say.sum_seed, { seed: asked.seed }));
  told.push(model);
  return told.join(" · ");
}

// What a drawing shows, in a line.
function called({ asked }) {
  const { mode, text, other } = asked;
  return mode === "one" ? text : `${text} → ${other}`;
}

// --- showing -------------------------------------------------------------------------------------

// The pictures at the position of the scrubber, or the noise that they will come from.
function drawShown() {
  const say = data.words;
  const waiting = !run || run.at < 0;
  const mode = run ? run.asked.mode : settings.mode;
  parts.stage.dataset.mode = mode;
  parts.stage.classList.toggle("waiting", waiting);
  parts.panes[1].pane.hidden = mode !== "change";
  parts.way.hidden = mode !== "between";
  parts.after.hidden = waiting;
  parts.views.hidden = waiting || mode === "between";
  if (waiting) {
    drawPreview();
    return;
  }
  run.before = null; // something is seen of this one
  const end = run.at === run.total;
  parts.panes.forEach(({ canvas }, number) => {
    if (number > 0 && mode !== "change") return;
    paint(canvas, pictureAt(run.at, mode === "between" ? run.stop : number), run.channels);
  });
  if (mode === "between") drawWay();
  drawLooks();
  parts.stage.dataset.shown = Number(parts.stage.dataset.shown ?? 0) + 1;

  const { share } = run.frames[Math.min(run.at, run.total - 1)];
  parts.moment.textContent = end
    ? say.result_text
    : fill(view === "thought" && mode !== "between" ? say.thought_text : say.noisy_text, {
        share: percent(share),
      });
  drawPlace();
  drawCaptions();
}

function drawPreview() {
  const black = new Uint8Array(data.size * data.size * data.channels);
  for (const { canvas } of parts.panes) paint(canvas, noise ?? black, data.channels);
  if (settings.mode === "between") drawWay();
  drawLooks();
  drawCaptions();
}

// What each picture is of.
function drawCaptions() {
  const say = data.words;
  const { mode, text, other } = run ? run.asked : settings;
  const waiting = !run || run.at < 0;
  const texts = mode === "between" ? [null] : [text, other];
  parts.panes.forEach(({ caption, screen }, number) => {
    const said = texts[number];
    caption.textContent = waiting ? say.preview : (said ?? "");
    caption.classList.toggle("note", waiting);
    caption.hidden = !waiting && mode === "between";
    screen.setAttribute("aria-label", fill(say.picture_of, { text: said ?? `${text} → ${other}` }));
  });
  parts.from.textContent = text;
  parts.to.textContent = other;
}

// The pictures on the way from one text to another; the chosen one is shown large.
function drawWay() {
  const waiting = !run || run.at < 0;
  const stop = run ? run.stop : Math.floor(data.stops / 2);
  parts.walker.value = stop;
  const words = fill(data.words.way_at, { share: percent(stop / (data.stops - 1)) });
  parts.walker.setAttribute("aria-valuetext", words);
  parts.walkerName.textContent = words;
  parts.walker.disabled = waiting;
  parts.stops.forEach((button, number) => {
    const [canvas] = button.children;
    const black = new Uint8Array(3);
    if (waiting) paint(canvas, noise ?? black, noise ? data.channels : 3);
    else paint(canvas, pictureAt(run.at, number), run.channels);
    button.disabled = waiting;
    button.setAttribute("aria-pressed", String(!waiting && number === stop));
  });
}

function walkTo(number) {
  if (!run) return;
  run.stop = number;
  drawShown();
}

function drawShelf() {
  parts.shelf.hidden = runs.length < 2;
  const tiles = runs.map((each) => {
    const area = each.size * each.size * each.channels;
    const number = each.asked.mode === "one" ? 0 : each.asked.mode === "change" ? 1 : each.stop;
    const values = each.end.subarray(number * area, (number + 1) * area);
    return tile(each, values, called(each), `${called(each)} · ${summary(each)}`, lookAgain);
  });
  parts.before.replaceChildren(...tiles);
}

function lookAgain(each) {
  if (run?.live) return;
  clearTimeout(waiting); // what was set before would be drawn in its place
  if (run) run.playing = false;
  const at = runs.indexOf(each);
  run = each;
  run.at = run.total;
  Object.assign(settings, each.asked);
  fitSettings();
  drawSettings();
  letGo();
  drawWords();
  drawAll();
  note();
  parts.before.children[at]?.focus();
}
