// --- 3: watching --------------------------------------------------------------------------------

// What is shown is of other points or other ways: begin with noise again.
function forget() {
  if (running === "learning") stop();
  result = null;
  playing = false;
  guess = undefined;
  status = "before";
  clock = 0;
  if (parts.question) parts.question.hidden = true;
  newPanels();
  drawStage();
}

function newPanels() {
  panels = wish.panels.map((way) => ({ way, walk: null, exact: null, losses: [] }));
}

function press() {
  const asks = question();
  if (asks === null || result?.stopped) {
    start({ guessed: guess });
    return;
  }
  parts.question.replaceChildren(
    make("h4", {}, data.words[`ask_${asks}`]),
    make(
      "div",
      { class: "line" },
      ...wish.panels.map((panel, at) =>
        button("guess", `${LETTERS[at]} · ${nameOf(at)}`, () => start({ guessed: at }), {
          style: { "--own": `var(--plane-${at})` },
          "data-guess": at,
        }),
      ),
      button("guess same", data.words.same, () => start({ guessed: "same" }), {
        "data-guess": "same",
      }),
      button("guess skip", data.words.skip, () => start(), { "data-guess": "skip" }),
    ),
  );
  parts.question.hidden = false;
  parts.question.setAttribute("aria-label", data.words[`ask_${asks}`]);
  show(parts.question);
  parts.question.querySelector("button").focus({ preventScroll: true });
}

function show(part) {
  part.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
}

function start({ guessed, anew = false } = {}) {
  if (running) {
    next = true;
    stop();
    return;
  }
  guess = guessed;
  result = null;
  playing = false;
  running = "learning";
  status = "starting";
  clock = 0.5;
  parts.question.hidden = true;
  newPanels();
  drawStage();
  drawPoints();
  const drawnNow = wish.shape === data.yours ? drawn : [];
  trigger("go", { wish: { ...wish, drawn: drawnNow, formula: false }, anew });
  beThere();
  parts.stop.focus({ preventScroll: true });
  show(parts.watch);
}

function stop() {
  if (running !== "learning") return;
  running = "stopping";
  status = "stopping";
  trigger("halt", {});
  drawStage();
}

// Should an answer be lost, it is asked for again.
function beThere() {
  clearTimeout(patience);
  patience = setTimeout(() => {
    if (!running) return;
    trigger("work", {});
    beThere();
  }, 20000);
}

function hear() {
  const news = props.news;
  if (!news || !data || news.turn === heard || !running) return;
  heard = news.turn;
  beThere();
  // What comes after another thing was chosen is no longer of use.
  if (news.panels && news.panels.length === panels.length && running === "learning") {
    seeLearning(news.panels);
  }
  // Who presses Stop before the server has begun is not heard the first time.
  if (running === "stopping" && news.state === "learning") trigger("halt", {});
  if (!news.over) return;
  if (news.state === "learning") {
    trigger("work", {});
    return;
  }
  running = null;
  clearTimeout(patience);
  if (next) {
    next = false;
    start();
    return;
  }
  // Stopped because something else was chosen: there is nothing to show.
  const of = news.result?.panels.length === panels.length && status !== "before";
  if (of) arriveResult(news.result, news.state === "stopped");
  else if (news.state === "lost") status = "lost";
  else status = "before";
  drawStage();
  drawPoints();
  if (of && !calm.matches) play();
}

let quiet = 0; // when those who want little motion were last shown something

function seeLearning(news) {
  const now = performance.now();
  const before = status;
  const taught = news.every((one) => one.of === undefined || one.step >= one.of);
  status = taught ? "measuring" : "learning";
  news.forEach((one, at) => {
    const panel = panels[at];
    const spots = toPlaces(one.dots);
    panel.walk = { dots: spots, field: toField(one.field), times: data.times.few };
    panel.step = one.step ?? null;
    panel.of = one.of ?? null;
    if (one.loss !== undefined) {
      panel.loss = one.loss;
      panel.losses.push(one.loss);
    }
  });
  if (status !== before) drawStage();
  if (calm.matches && now - quiet < 600) return;
  quiet = now;
  drawFacts();
  paintSoon();
}

function arriveResult(news, stopped) {
  const walkOf = (one) => ({
    ...one,
    path: toPlaces(one.path),
    field: toField(one.field),
    times: data.times.all,
  });
  result = { ...news, stopped };
  status = "done";
  news.panels.forEach((one, at) => {
    const panel = panels[at];
    panel.walk = walkOf(one);
    panel.exact = one.exact ? walkOf(one.exact) : null;
    panel.step = one.step;
    panel.of = one.of;
  });
  clock = calm.matches ? 1 : 0;
}

function nameButtons() {
  const say = data.words;
  parts.play.textContent = playing ? `❚❚ ${say.pause}` : `▶ ${say.play}`;
}

function drawStage() {
  if (!parts.figures) return;
  const say = data.words;
  const held = document.activeElement;
  if (panels.length !== parts.figures.children.length || panels.some((panel) => !panel.canvas)) {
    parts.figures.dataset.count = panels.length;
    parts.figures.replaceChildren(...panels.map(figure));
  }
  const lines = {
    before: say.before,
    starting: say.starting,
    stopping: say.stopping,
    lost: say.lost,
    measuring: say.measuring,
    saving: say.saving,
  };
  parts.status.textContent = lines[status] ?? "";
  parts.status.hidden = !parts.status.textContent;
  const finished = Boolean(result) && !running;
  const halted = Boolean(result?.stopped);
  parts.go.hidden = Boolean(running) || (finished && !halted);
  parts.go.textContent = halted ? say.go_on : say.go;
  parts.stop.hidden = !running;
  // Not disabled, which would lose the keyboard its place.
  parts.stop.setAttribute("aria-disabled", String(running === "stopping"));
  const taught = panels.some((panel) => !panel.way.exact);
  parts.anew.hidden = !finished || !taught;
  parts.other.hidden = !finished;
  parts.transport.hidden = !finished && !running;
  parts.play.disabled = !finished;
  parts.from.textContent = result?.back ? say.time_points : say.time_noise;
  parts.keep.hidden = !finished;
  parts.whose.hidden = !(finished && panels.some((panel) => panel.exact));
  for (const one of parts.whose.querySelectorAll("button")) {
    one.setAttribute("aria-pressed", String((one.dataset.whose === "exact") === shows.formula));
  }
  nameButtons();
  drawFacts();
  drawVerdict();
  if (held === parts.stop && parts.stop.hidden) {
    (finished ? parts.play : parts.go).focus({ preventScroll: true });
  }
  paintSoon();
}

function figure(panel, at) {
  const say = data.words;
  panel.canvas = make("canvas", { class: "paper", role: "img" });
  panel.said = make("p", { class: "said" });
  panel.curve = draw("svg", {
    class: "loss",
    viewBox: "0 0 100 24",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": say.loss_label,
  });
  panel.bar = make("i", {});
  panel.facts = make("dl", { class: "facts" });
  return make(
    "figure",
    { style: { "--own": `var(--plane-${at})` } },
    make(
      "figcaption",
      {},
      panels.length > 1 ? make("b", { class: "letter" }, LETTERS[at]) : null,
      panels.length > 1 ? make("span", { class: "name" }, nameOf(at)) : null,
      make("span", { class: "note" }, wholeName(panel.way)),
    ),
    panel.canvas,
    make("div", { class: "bar", "aria-hidden": "true" }, panel.bar),
    make("div", { class: "progress" }, panel.said, panel.curve),
    panel.facts,
  );
}

function drawFacts() {
  const say = data.words;
  panels.forEach((panel, at) => {
    if (!panel.canvas) return;
    const values = { step: number(panel.step ?? 0), of: number(panel.of ?? 0) };
    let said = "";
    if (panel.way.exact) said = running || result ? say.no_network : "";
    else if (running && panel.of) said = fill(say.learning, values);
    else if (result) said = fill(panel.step < panel.of ? say.halted : say.knows, values);
    panel.said.textContent = said;
    panel.bar.style.width = `${panel.of ? (100 * panel.step) / panel.of : 0}%`;
    panel.bar.parentElement.classList.toggle("off", !running || panel.way.exact);
    drawLoss(panel);
    const walk = result ? shownWalk(panel) : null;
    const facts = [];
    if (walk) {
      if (result.back) facts.push(["returned", short(walk.returned)]);
      facts.push(["distance", short(walk.distance)]);
      if (!result.back) {
        if (walk === panel.walk && result.enough !== null) {
          const more = fill(say.needs_more, { most: number(data.limits.steps) });
          facts.push(["needs", panel.walk.needs === null ? more : stepsOf(panel.walk.needs)]);
        }
        facts.push(["copies", percent(walk.copies)]);
      }
    }
    panel.facts.replaceChildren(
      ...facts.map(([name, value]) =>
        make(
          "div",
          { title: say[`${name}_title`], class: name },
          make("dt", {}, say[name]),
          make("dd", {}, value),
        ),
      ),
    );
    const spoken = [said, ...facts.map(([name, value]) => `${say[name]}: ${value}`)];
    const name = panels.length > 1 ? `${LETTERS[at]}, ${nameOf(at)}` : nameOf(at);
    panel.canvas.setAttribute(
      "aria-label",
      fill(say.panel_label, { name, facts: spoken.filter(Boolean).join(". ") }),
    );
  });
}

// How the loss fell, on a scale of logarithms.
function drawLoss(panel) {
  const some = panel.losses;
  panel.curve.toggleAttribute("hidden", some.length < 2);
  if (some.length < 2) return;
  const logs = some.map((value) => Math.log(Math.max(value, 1e-6)));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const points = logs.map((value, at) => {
    const x = (100 * at) / (logs.length - 1);
    return `${x.toFixed(1)},${(22 - (20 * (value - low)) / (high - low || 1)).toFixed(1)}`;
  });
  const title = draw("title", {}, data.words.loss_label);
  panel.curve.replaceChildren(title, draw("polyline", { points: points.join(" ") }));
}

function listed(names) {
  if (names.length < 2) return names.join("");
  const some = names.slice(0, -1).join(", ");
  return fill(data.words.and, { some, last: names.at(-1) });
}

function drawVerdict() {
  const say = data.words;
  const asks = question();
  const best = result?.best?.[asks];
  parts.verdict.hidden = !best;
  parts.chart.replaceChildren();
  parts.chartBox.hidden = !result || result.enough === null || panels.length < 2;
  if (!parts.chartBox.hidden) parts.chart.append(chart());
  if (!best) return;
  const values = {
    steps: (at) => stepsOf(panels[at].walk.needs),
    near: () => "",
    copies: (at) => percent(panels[at].walk.copies),
    back: (at) => short(panels[at].walk.returned),
  };
  const names = best.map((at) => `${LETTERS[at]} (${nameOf(at)})`);
  const many = best.length > 1;
  const won = fill(say[`${many ? "tied" : "won"}_${asks}`], {
    who: listed(names),
    value: values[asks](best[0]),
  });
  const lines = [make("b", {}, won)];
  if (guess !== undefined) {
    const hit = guess === "same" ? many : best.includes(guess) && !(many && best.length === panels.length);
    const named = guess === "same" ? say.same : `${LETTERS[guess]} (${nameOf(guess)})`;
    lines.push(
      make("span", { class: hit ? "right" : "wrong" }, hit ? say.right : fill(say.wrong, { guess: named })),
    );
  }
  const why = say[`why_${experiment}`];
  parts.verdict.replaceChildren(
    make("p", { class: "line" }, ...lines),
    ...(why ? [make("p", {}, why)] : []),
  );
}

// The distance to the points over the number of steps, a line for each panel.
function chart() {
  const curves = panels.map((panel) => panel.walk.curve);
  // As wide as there is room, so that its words keep their size.
  const wide = Math.max(260, Math.min(640, parts.watch.clientWidth - 40));
  const [tall, left, foot] = [220, 44, 26];
  const floor = 1e-3;
  const all = [...curves.flat(), result.enough].map((value) => Math.max(value, floor));
  const [low, high] = [Math.log(Math.min(...all)) - 0.15, Math.log(Math.max(...all)) + 0.15];
  const x = (at) => left + ((wide - left - 30) * at) / (data.numbers.length - 1);
  const y = (value) =>
    8 + ((tall - foot - 8) * (high - Math.log(Math.max(value, floor)))) / (high - low);
  const ticks = [0.001, 0.01, 0.1, 1, 10].filter(
    (value) => Math.log(value) >= low && Math.log(value) <= high,
  );
  // Letters at the ends of the lines, moved apart where lines end together.
  const ends = curves
    .map((curve, at) => ({ at, y: y(curve.at(-1)) }))
    .sort((one, other) => one.y - other.y);
  ends.forEach((end, i) => {
    if (i) end.y = Math.max(end.y, ends[i - 1].y + 14);
  });
  const spill = Math.max(0, (ends.at(-1)?.y ?? 0) - (tall - foot));
  return draw(
    "svg",
    { viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": data.words.chart },
    ...ticks.map((value) =>
      draw("line", { class: "tick", x1: left, x2: wide - 24, y1: y(value), y2: y(value) }),
    ),
    ...ticks.map((value) =>
      draw("text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, number(value, { maximumFractionDigits: 3 })),
    ),
    ...data.numbers.map((steps, at) =>
      draw("text", { x: x(at), y: tall - 6, "text-anchor": "middle" }, number(steps)),
    ),
    draw("line", {
      class: "enough",
      x1: left,
      x2: wide - 24,
      y1: y(result.enough),
      y2: y(result.enough),
    }),
    ...curves.map((curve, at) =>
      draw(
        "g",
        { style: { "--own": `var(--plane-${at})` } },
        draw("polyline", { points: curve.map((value, i) => `${x(i)},${y(value)}`).join(" ") }),
        ...curve.map((value, i) => draw("circle", { cx: x(i), cy: y(value), r: 3 })),
      ),
    ),
    ...ends.map(({ at, y: place }) =>
      draw(
        "text",
        { class: "end", x: wide - 18, y: place + 4 - spill, style: { "--own": `var(--plane-${at})` } },
        LETTERS[at],
      ),
    ),
  );
}

// Where Gradio takes files; it stands hidden below.
const opener = () => document.querySelector("#plane-own input[type=file]");

function keep(what) {
  status = "saving";
  drawStage();
  const moment = clock * (result.back ? 2 : 1);
  trigger("keep", { what, moment, formula: shows.formula });
}

function hearKept() {
  const news = props.kept;
  if (!news || !data) return;
  if (status === "saving") status = news.data ? "done" : "lost";
  drawStage();
  if (!news.data) return;
  const bytes = Uint8Array.from(atob(news.data), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: `image/${news.kind}` }));
  const link = make("a", { href: address, download: `plane-${experiment}.${news.kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// The settings of a picture that was saved: set all, and set out.
function hearRestored() {
  const news = props.restored;
  if (!news || !data) return;
  const { drawn: points, formula, ...rest } = news.wish;
  if (running) stop();
  wish = { ...rest };
  drawn = points;
  strokes = points.length ? [0] : [];
  const sorted = (one) => JSON.stringify([one.back, one.panels.map(inOrder)]);
  experiment =
    Object.keys(data.experiments).find((name) => sorted(data.experiments[name]) === sorted(wish)) ??
    "own";
  shows.formula = formula;
  forget();
  drawTries();
  drawPoints();
  start();
}

const inOrder = ({ schedule, objective, sampler, steps, exact }) => ({
  schedule,
  objective,
  sampler,
  steps,
  exact,
});

function buildStage() {
  const say = data.words;
  parts.go = button("go first", say.go, press);
  parts.stop = button("halt", say.stop, stop);
  parts.anew = button("anew", say.anew, () => start({ anew: true }));
  parts.other = button("other", say.other_noise, () => {
    wish.seed = (wish.seed + 1) % 10000;
    forget();
    start();
  });
  parts.status = make("p", { class: "status", "aria-live": "polite" });
  parts.question = make("div", { class: "question", role: "group", hidden: "" });
  parts.figures = make("div", { class: "figures" });
  parts.verdict = make("div", { class: "verdict", "aria-live": "polite" });
  parts.chart = make("div", { class: "chart" });
  parts.chartBox = make(
    "div",
    { class: "chart-box" },
    make("h4", {}, say.chart),
    parts.chart,
    make("p", { class: "note" }, say.chart_note),
  );
  parts.play = button("play", say.play, () => (playing ? pause() : play()));
  parts.from = make("span", { class: "caption" });
  parts.to = make("span", { class: "caption" }, say.time_points);
  parts.now = make("output", { class: "now", for: "plane-time" });
  parts.slider = make("input", {
    id: "plane-time",
    type: "range",
    min: 0,
    max: 1000,
    "aria-label": say.time,
    on: {
      input: (event) => {
        playing = false;
        nameButtons();
        clock = Number(event.target.value) / 1000;
        paintSoon();
      },
    },
  });
  const flag = (name) => {
    const box = make("input", {
      type: "checkbox",
      "data-show": name,
      on: {
        change: () => {
          shows[name] = box.checked;
          paintSoon();
        },
      },
    });
    box.checked = shows[name];
    return make("label", { class: "flag" }, box, make("span", {}, say[name]));
  };
  parts.transport = make(
    "div",
    { class: "line transport" },
    parts.play,
    make("span", { class: "way" }, parts.from, parts.slider, parts.to),
    parts.now,
    flag("arrows"),
    flag("trails"),
  );
  const whose = (name) =>
    button("whose", say[`whose_${name}`], () => {
      shows.formula = name === "exact";
      drawStage();
    }, { "data-whose": name });
  parts.whose = make(
    "div",
    { class: "line whose-line", role: "group", "aria-label": say.whose },
    make("span", { class: "caption" }, say.whose),
    make("span", { class: "switch" }, whose("learned"), whose("exact")),
  );
  parts.keep = make(
    "div",
    { class: "line keep" },
    button("png", say.save_png, () => keep("png")),
    button("gif", say.save_gif, () => keep("gif")),
  );
  parts.open = button("open", say.open_saved, () => opener()?.click());
  parts.watch = make(
    "section",
    { class: "card watching" },
    make("div", { class: "line head" }, make("h3", {}, say.watch), parts.go, parts.stop, parts.anew, parts.other),
    parts.status,
    parts.question,
    parts.verdict,
    parts.figures,
    parts.transport,
    parts.whose,
    make("p", { class: "note" }, say.legend),
    parts.chartBox,
    make("div", { class: "line" }, parts.keep, parts.open),
    make("p", { class: "note" }, say.drop_note),
  );
  return parts.watch;
}

function buildLessons() {
  const say = data.words;
  return make(
    "section",
    { class: "lessons-box" },
    make("h3", {}, say.lessons),
    make(
      "div",
      { class: "lessons" },
      ...["arrows", "exact", "bend"].map((name) =>
        make(
          "section",
          {},
          make("h4", {}, say[`lesson_${name}`]),
          make("p", {}, say[`lesson_${name}_text`]),
        ),
      ),
    ),
  );
}
