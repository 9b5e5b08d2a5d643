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

function hearNews(news) {
  if (!news || !run || news.turn !== run.turn || run.stopped) return;
  if (news.failed) {
    run = null;
    status(data.words.failed);
    drawAll();
    return;
  }
  if (!run.heard) status(data.words.walking);
  run.heard = true;
  run.total = news.total;
  run.pace = Math.min(Math.max(WHOLE / news.total, FASTEST), SLOWEST);
  news.frames.forEach((frame, i) => {
    run.frames[news.first + i] ??= {
      noisy: bytes(frame.noisy),
      x0: bytes(frame.x0),
      removed: new Int8Array(bytes(frame.removed).buffer),
      share: frame.share,
      label: frame.label,
      reads: frame.reads,
    };
  });
  if (news.over) {
    run.over = true;
    run.end = bytes(news.end);
    run.result = news.result;
  }
}

function arrived() {
  run.playing = false;
  if (run.live) {
    run.live = false;
    run.done = true;
    if (run.guess !== null && run.result) {
      run.right = (run.result[0] === run.target) === run.guess;
      guesses.all += 1;
      guesses.right += run.right ? 1 : 0;
    }
    runs = [run, ...runs].slice(0, SHELF);
    status(data.words.done);
  }
  drawAll();
}

// Stop: at once for whoever looks, and for the model after the step that it thinks about.
function stop() {
  if (!run?.live) return;
  if (!run.over) trigger("halt", { turn: run.turn });
  run.stopped = true;
  run.playing = run.live = false;
  if (run.at < 0) run = null; // nothing was seen yet
  status(data.words.stopped);
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
  told.push(fill(say.sum_steps, { steps: asked.steps, sampler: samplerName(asked.sampler) }));
  const later = asked.switch_at !== null && asked.label_after !== null;
  if (asked.label !== null || later) {
    told.push(fill(say.sum_guidance, { guidance: asked.guidance }));
  }
  told.push(fill(say.sum_seed, { seed: asked.seed }));
  return told.join(" · ");
}

const samplerName = (sampler) => (data.words[`sampler_${sampler}`] ?? sampler).split(":")[0];

// --- showing -------------------------------------------------------------------------------------

function show(position) {
  run.at = position;
  run.seen = Math.max(run.seen, position);
  drawShown();
}

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

  const place = { step: Math.min(run.at + 1, run.total), steps: run.total };
  const told = frame.label === null ? say.told_nothing : fill(say.told_label, frame);
  parts.noisy.title.textContent = end ? say.result : say.noisy;
  parts.noisy.text.textContent = end
    ? say.result_text
    : `${fill(say.noisy_text, { ...place, share: percent(frame.share) })}${
        data.labels.length ? ` ${told}` : ""
      }`;
  parts.thought.text.textContent = (end ? say.thought_end : say.thought_text) + readWords(frame.reads);
  parts.removed.text.textContent = `${say.removed_text}${run.fresh ? ` ${say.removed_fresh}` : ""}`;

  const words = end ? say.at_end : fill(say.at_step, place);
  parts.scrubber.max = lastSeen();
  parts.scrubber.value = run.at;
  parts.scrubber.setAttribute("aria-valuetext", words);
  parts.position.textContent = words;
  parts.scrubber.disabled = run.live;
  parts.replay.disabled = run.live || lastSeen() < 1;
  parts.replay.textContent = run.playing && !run.live ? say.pause : say.replay;
  parts.verdict.textContent = run.done && end ? verdict(run) : "";
  parts.verdict.classList.toggle("right", run.done && run.right === true);
  parts.summary.textContent = run.summary ??= summary(run);
  parts.keep.hidden = !run.done;
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

// What came back before, to look at it again.
function drawShelf() {
  const say = data.words;
  parts.shelf.hidden = runs.length === 0;
  parts.before.replaceChildren(
    ...runs.map((one) => {
      const canvas = make("canvas", {});
      paint(canvas, one.end, one.channels);
      const words = fill(say.sum_noise, { share: percent(one.asked.noise) });
      return make(
        "button",
        {
          type: "button",
          class: "again",
          title: summary(one),
          "aria-label": summary(one),
          "aria-pressed": String(one === run),
          on: { click: () => look(one) },
        },
        canvas,
        make("span", {}, words),
      );
    }),
  );
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
