// --- 2: what to try -----------------------------------------------------------------------------

function chooseExperiment(name) {
  experiment = name;
  if (name === "own") open = true;
  else {
    const chosen = data.experiments[name];
    wish.panels = chosen.panels.map((panel) => ({ ...panel }));
    wish.back = chosen.back;
    // Whoever has drawn points wants to see those.
    const drew = wish.shape === data.yours && drawn.length >= data.limits.least;
    if (!drew) {
      wish.shape = chosen.shape;
      wish.count = chosen.count;
    }
  }
  forget();
  drawTries();
  drawPoints();
}

function change(at, name, value) {
  wish.panels[at][name] = value;
  experiment = "own";
  forget();
  markTries();
}

// What is different between the panels, or else what matters most of a single one.
function different() {
  const keys = ["schedule", "objective", "sampler", "steps", "exact"];
  return keys.filter((key) => new Set(wish.panels.map((panel) => panel[key])).size > 1);
}

function valueOf(panel, key) {
  if (key === "steps") return stepsOf(panel.steps);
  if (key === "exact") return data.words[panel.exact ? "exact" : "learned"];
  return panel[key];
}

function nameOf(at) {
  const panel = wish.panels[at];
  const keys = different();
  const shown = keys.length ? keys : ["sampler", "steps"];
  return shown.map((key) => valueOf(panel, key)).join(" · ");
}

function wholeName(panel) {
  const asked = panel.exact ? data.words.exact : panel.objective;
  return [panel.schedule, asked, panel.sampler, stepsOf(panel.steps)].join(" · ");
}

// The question that can be asked before these panels are shown; null for none.
function question() {
  if (wish.panels.length < 2) return null;
  if (experiment !== "own") return data.experiments[experiment].asks;
  if (wish.back) return "back";
  const keys = different();
  if (!keys.length) return null;
  if (keys.includes("exact")) return "copies";
  return keys.includes("steps") ? "near" : "steps";
}

function markTries() {
  const say = data.words;
  for (const one of parts.tries.children) {
    one.setAttribute("aria-pressed", String(one.dataset.try === experiment));
  }
  parts.about.textContent = say[`try_${experiment}_note`];
}

function drawTries() {
  markTries();
  parts.back.checked = wish.back;
  parts.editor.open = open;
  parts.rows.replaceChildren(...wish.panels.map(editorRow));
  parts.add.disabled = wish.panels.length >= data.limits.panels;
}

function editorRow(panel, at) {
  const say = data.words;
  const field = (name, control) =>
    make("label", { class: `field ${name}` }, make("span", { class: "caption" }, say[name]), control);
  const select = (name, values, now, read) => {
    const control = make(
      "select",
      { "data-field": name, on: { change: () => change(at, name, read(control.value)) } },
      ...values.map(([value, words]) => make("option", { value }, words)),
    );
    control.value = now;
    return control;
  };
  const named = (name) =>
    select(name, data.names[name].map((value) => [value, value]), panel[name], (value) => value);
  const steps = make("input", {
    type: "number",
    min: 1,
    max: data.limits.steps,
    step: 1,
    value: panel.steps,
    inputmode: "numeric",
    "data-field": "steps",
    on: {
      change: () => {
        const wanted = Math.round(Number(steps.value)) || 1;
        steps.value = Math.max(1, Math.min(data.limits.steps, wanted));
        change(at, "steps", Number(steps.value));
      },
    },
  });
  const answers = [["learned", say.learned], ["exact", say.exact]];
  const letter = LETTERS[at];
  const remove = button("remove", "×", () => removePanel(at), {
    "aria-label": fill(say.remove, { letter }),
    title: fill(say.remove, { letter }),
  });
  remove.disabled = wish.panels.length < 2;
  return make(
    "li",
    { role: "group", "aria-label": fill(say.panel, { letter }), style: { "--own": `var(--plane-${at})` } },
    make("b", { class: "letter", "aria-hidden": "true" }, letter),
    field("schedule", named("schedule")),
    field("objective", named("objective")),
    field("sampler", named("sampler")),
    field("steps", steps),
    field(
      "answers",
      select("exact", answers, panel.exact ? "exact" : "learned", (value) => value === "exact"),
    ),
    remove,
  );
}

function addPanel() {
  const like = wish.panels.at(-1);
  const names = data.names.sampler;
  const sampler = names[(names.indexOf(like.sampler) + 1) % names.length];
  wish.panels.push({ ...like, sampler });
  experiment = "own";
  forget();
  drawTries();
}

function removePanel(at) {
  wish.panels.splice(at, 1);
  experiment = "own";
  forget();
  drawTries();
  parts.rows.children[Math.min(at, wish.panels.length - 1)].querySelector("select").focus();
}

function buildTries() {
  const say = data.words;
  const names = [...Object.keys(data.experiments), "own"];
  parts.tries = make(
    "div",
    { class: "tries", role: "group", "aria-label": say.tries_label },
    ...names.map((name) =>
      button("try", say[`try_${name}`], () => chooseExperiment(name), { "data-try": name }),
    ),
  );
  parts.about = make("p", { class: "about" });
  parts.rows = make("ul", { class: "rows" });
  parts.add = button("add", say.add, addPanel);
  parts.back = make("input", {
    type: "checkbox",
    id: "plane-back",
    on: {
      change: () => {
        wish.back = parts.back.checked;
        experiment = "own";
        forget();
        markTries();
      },
    },
  });
  parts.editor = make(
    "details",
    { class: "editor", on: { toggle: () => (open = parts.editor.open) } },
    make("summary", {}, say.change),
    parts.rows,
    make(
      "div",
      { class: "line" },
      parts.add,
      make("label", { class: "flag" }, parts.back, make("span", {}, say.back)),
    ),
  );
  return make(
    "section",
    { class: "card trying" },
    make("h3", {}, say.tries),
    parts.tries,
    parts.about,
    parts.editor,
  );
}
