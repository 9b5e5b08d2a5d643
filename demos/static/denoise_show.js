// Out of the Noise, what is seen: three pictures a step, a scrubber, and what came back before.

const AMBER = [255, 176, 66];
const BLUE = [96, 152, 255];

let guesses = { right: 0, all: 0 };

// --- painting ------------------------------------------------------------------------------------

// How the light changes: amber where it goes, blue where it comes, black where all stays.
function paintChange(canvas, values) {
  const size = Math.round(Math.sqrt(values.length));
  const context = sized(canvas, size);
  const pixels = context.createImageData(size, size);
  values.forEach((value, i) => {
    const colour = value > 0 ? AMBER : BLUE;
    const share = Math.abs(value) / 127;
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = colour[c] * share;
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}

// --- a way that is walked ------------------------------------------------------------------------

function begun() {
  status(data.words.walking);
}

const unpacked = ({ noisy, x0, removed, ...rest }) => ({
  noisy: bytes(noisy),
  x0: bytes(x0),
  removed: new Int8Array(bytes(removed).buffer),
  ...rest,
});

function goBack() {
  run = null;
}

function arrived() {
  run.playing = false;
  if (run.live) {
    shelve();
    if (run.guess !== null && run.result) {
      run.right = (run.result[0] === run.target) === run.guess;
      guesses.all += 1;
      guesses.right += run.right ? 1 : 0;
    }
  }
  drawAll();
}

// --- what it says --------------------------------------------------------------------------------

// A or an, for languages that care.
const a = (name) => (/^[8aeiou]/i.test(name) ? "an" : "a");

function verdict({ result, guess, right }) {
  if (!result) return "";
  const say = data.words;
  const [digit, sure] = result;
  const words = sure >= 0.7 ? say.came_back : say.came_unsure;
  const said = fill(words, { a: a(digit), digit, share: percent(sure) });
  if (guess === null) return said;
  return `${said} ${right ? say.right : say.wrong} ${fill(say.tally, guesses)}`;
}

function readWords(reads) {
  if (!reads) return "";
  const [digit, sure] = reads;
  return ` ${fill(data.words.reads, { a: a(digit), digit, share: percent(sure) })}`;
}

// How a way was asked for, in a line.
function summary({ asked, filled }) {
  const say = data.words;
  const named = (label) => label ?? say.nothing;
  const told = [fill(say.sum_noise, { share: percent(asked.noise) })];
  if (data.labels.length) {
    told.push(
      asked.switch_at === null
        ? fill(say.sum_told, { label: named(asked.label) })
        : fill(say.sum_switched, {
            label: named(asked.label),
            after: named(asked.label_after),
            share: percent(asked.switch_at),
          }),
    );
  }
  if (filled) told.push(say.sum_filled);
  const counted = asked.steps === 1 ? say.sum_one_step : say.sum_steps;
  told.push(fill(counted, { steps: asked.steps, sampler: samplerName(asked.sampler) }));
  const later = asked.switch_at !== null && asked.label_after !== null;
  if (asked.label !== null || later) {
    told.push(fill(say.sum_guidance, { guidance: asked.guidance }));
  }
  told.push(fill(say.sum_seed, { seed: asked.seed }));
  return told.join(" · ");
}

const samplerName = (sampler) => (data.words[`sampler_${sampler}`] ?? sampler).split(":")[0];

// --- showing -------------------------------------------------------------------------------------

// The three pictures at the position of the scrubber, or the drawing under its noise.
function drawShown() {
  const say = data.words;
  const waiting = !run || run.at < 0;
  parts.triptych.classList.toggle("waiting", waiting);
  parts.after.hidden = waiting;
  if (waiting) {
    drawPreview();
    return;
  }
  const end = run.at === run.total;
  const frame = run.frames[end ? run.total - 1 : run.at];
  const noisy = end ? run.end : frame.noisy;
  paint(parts.noisy.canvas, noisy, run.channels);
  paint(parts.thought.canvas, frame.x0, run.channels);
  paintChange(parts.removed.canvas, frame.removed);
  parts.triptych.dataset.shown = Number(parts.triptych.dataset.shown ?? 0) + 1;

  const told = frame.label === null ? say.told_nothing : fill(say.told_label, frame);
  parts.noisy.title.textContent = end ? say.result : say.noisy;
  parts.noisy.text.textContent = end
    ? say.result_text
    : `${fill(say.noisy_text, { ...stepShown(), share: percent(frame.share) })}${
        data.labels.length ? ` ${told}` : ""
      }`;
  parts.thought.text.textContent = (end ? say.thought_end : say.thought_text) + readWords(frame.reads);
  parts.removed.text.textContent = `${say.removed_text}${run.fresh ? ` ${say.removed_fresh}` : ""}`;
  parts.verdict.textContent = run.done && end ? verdict(run) : "";
  parts.verdict.classList.toggle("right", run.done && run.right === true);
  drawPlace();
}

// The drawing under as much noise as is chosen, mixed as the server will mix them.
function drawPreview() {
  const say = data.words;
  const { ink, erased } = compose();
  const share = noiseNow(erased);
  const size = data.straight ? 1 : Math.hypot(share, 1 - share);
  const [alpha, sigma] = [(1 - share) / size, share / size];
  const mixed = Uint8ClampedArray.from({ length: ink.length * data.channels }, (_, i) => {
    const drawn = ink[Math.floor(i / data.channels)] / 127.5 - 1;
    return (alpha * drawn + sigma * ((noise?.[i] ?? 0) / 32) + 1) * 127.5;
  });
  paint(parts.noisy.canvas, mixed, data.channels);
  const black = new Uint8Array(mixed.length);
  paint(parts.thought.canvas, black, data.channels);
  paint(parts.removed.canvas, black, data.channels);
  parts.noisy.title.textContent = say.noisy;
  const words = erased ? say.preview_fill : share === 1 ? say.preview_all : say.preview;
  parts.noisy.text.textContent = fill(words, { share: percent(share) });
  parts.thought.text.textContent = say.thought_wait;
  parts.removed.text.textContent = say.removed_wait;
}

function drawShelf() {
  parts.shelf.hidden = runs.length === 0;
  const tiles = runs.map((one) => {
    const called = fill(data.words.sum_noise, { share: percent(one.asked.noise) });
    return tile(one, one.end, called, summary(one), look);
  });
  parts.before.replaceChildren(...tiles);
}

function look(one) {
  if (run?.live) return;
  if (run) run.playing = false;
  const at = runs.indexOf(one);
  run = one;
  run.at = run.total;
  drawAll();
  parts.before.children[at]?.focus();
}
