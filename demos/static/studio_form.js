// What a person chooses: a new training, and the one thing that is to be another. Put before
// studio.js, whose tools and state it uses.

// --- the form ---------------------------------------------------------------------------------------

function setForm(choice) {
  form = { ...data.opening, ...choice, all: choice.labels.length === 0 };
  buildForm();
}

function buildForm() {
  const say = data.words;
  const source = sourceOf(form.source) ?? data.sources[0];
  const held = parts.form.contains(document.activeElement) ? document.activeElement.dataset.at : null;
  const sources = make(
    "div",
    { class: "choices", role: "group", "aria-label": say.source },
    ...data.sources.map((one) =>
      button(
        "choice",
        one.name || say[`source_${one.id}`],
        () => {
          const minutes = data.opening_minutes[one.id];
          setForm({ ...form, source: one.id, labels: [], minutes });
        },
        { "aria-pressed": String(one.id === source.id), "data-at": `source ${one.id}` },
      ),
    ),
  );
  const about = say[`source_${source.id}_note`] ?? say.source_folder_note;
  const lines = [make("p", { class: "note" }, about)];
  if (!source.here) {
    const size = { mnist: 11, fashion: 30 }[source.id];
    lines.push(make("p", { class: "hint" }, fill(say.not_here, { size, name: source.id })));
  } else if (source.id === "digits" && !sourceOf("mnist").here) {
    lines.push(make("p", { class: "note" }, say.get_mnist));
  }
  const labelPart = source.labels.length ? labelToggles(source) : null;

  const minutes = make("output", { class: "value" });
  const nearest = (options, value) =>
    options.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));
  const slider = (name, options, output, told) => {
    const node = make("input", {
      type: "range",
      id: `studio_${name}`,
      min: 0,
      max: options.length - 1,
      step: 1,
      "data-at": name,
      on: {
        input: () => {
          form[name] = options[Number(node.value)];
          tell();
        },
      },
    });
    const tell = () => {
      put(output, told(form[name]));
      node.setAttribute("aria-valuetext", told(form[name]));
    };
    node.value = options.indexOf(nearest(options, form[name]));
    tell();
    const heading = make(
      "div",
      { class: "line between" },
      make("label", { class: "caption", for: `studio_${name}` }, say[name]),
      output,
    );
    return make("div", { class: "field" }, heading, node);
  };
  const rate = make("output", { class: "value" });
  const rateTold = (value) =>
    value === 1 ? say.rate_own : fill(say.rate_value, { times: number(value) });
  const select = (name) => {
    const node = make(
      "select",
      {
        id: `studio_${name}`,
        "data-at": name,
        on: { change: () => (form[name] = node.value) },
      },
      ...data.options[name].map((value) => make("option", { value }, say[`${name}_${value}`])),
    );
    node.value = form[name];
    const label = make("label", { class: "caption", for: `studio_${name}` }, say[name]);
    return make("div", { class: "field" }, label, node);
  };
  const dice = make("input", {
    type: "number",
    id: "studio_seed",
    min: 0,
    max: 2 ** 31 - 1,
    step: 1,
    "data-at": "seed",
    on: {
      change: () => {
        form.seed = Math.min(Math.max(Math.round(Number(dice.value) || 0), 0), 2 ** 31 - 1);
        dice.value = form.seed;
      },
    },
  });
  dice.value = form.seed;
  const changed = ["rate", "objective", "schedule", "size", "seed"].some(
    (name) => form[name] !== data.opening[name],
  );
  const more = make(
    "details",
    parts.more?.open || changed ? { open: "" } : {},
    make("summary", {}, say.more_settings),
    make(
      "div",
      { class: "fields" },
      slider("rate", data.options.rate, rate, rateTold),
      select("objective"),
      select("schedule"),
      select("size"),
      make(
        "div",
        { class: "field" },
        make("label", { class: "caption", for: "studio_seed" }, say.seed),
        dice,
      ),
    ),
  );
  parts.more = more;
  parts.form.replaceChildren(
    make("div", { class: "field" }, make("span", { class: "caption" }, say.source), sources, ...lines),
    ...(labelPart ? [labelPart] : []),
    slider("minutes", source.minutes, minutes, (value) => valueName("minutes", value)),
    more,
  );
  if (held) parts.form.querySelector(`[data-at="${CSS.escape(held)}"]`)?.focus();
}

// Each label is a button; what is pressed shall be drawn. With all pressed, none is named.
function labelToggles(source) {
  const say = data.words;
  const is = (label) => form.all || form.labels.includes(label);
  const toggle = (label) => {
    const pressed = source.labels.filter((one) => (one === label ? !is(one) : is(one)));
    form.all = pressed.length === source.labels.length;
    form.labels = form.all ? [] : pressed;
    buildForm();
  };
  return make(
    "div",
    { class: "field" },
    make(
      "div",
      { class: "line between" },
      make("span", { class: "caption" }, say.labels),
      button("all", say.all_labels, () => setForm({ ...form, labels: [] }), {
        "aria-pressed": String(form.all),
        "data-at": "all",
      }),
    ),
    make(
      "div",
      { class: "toggles", role: "group", "aria-label": say.labels },
      ...source.labels.map((label) =>
        button("toggle", label, () => toggle(label), {
          "aria-pressed": String(is(label)),
          "data-at": `label ${label}`,
        }),
      ),
    ),
  );
}

// --- changing one thing -----------------------------------------------------------------------------

const CHANGED = ["rate", "objective", "schedule", "size", "seed"];

function drawChange() {
  if (view.run === null) return;
  const run = inShort(view.run);
  const fits = Boolean(run && !run.broken && sheetsOf(view.run));
  parts.changing.hidden = !fits;
  if (!fits) return;
  const of = JSON.stringify([view.run, run.choice]); // it may have been given more minutes meanwhile
  if (parts.changing.dataset.of === of) return;
  parts.changing.dataset.of = of;
  change ??= { field: "rate", value: null, guess: null };
  buildChange(run);
}

function buildChange(run) {
  const say = data.words;
  const inside = parts.changeForm.contains(document.activeElement);
  const held = inside ? document.activeElement.dataset.at : null;
  const old = run.choice[change.field];
  const what = make(
    "select",
    {
      id: "studio_change",
      "data-at": "what",
      on: {
        change: () => {
          change = { ...change, field: what.value, value: null };
          buildChange(run);
        },
      },
    },
    ...CHANGED.map((field) => make("option", { value: field }, say[field])),
  );
  what.value = change.field;
  const values =
    change.field === "seed"
      ? [0, 1, 2, 3, 4, 5, 6, 7]
      : change.field === "rate"
        ? [0.03, 0.1, 0.3, 3, 10, 30].map((times) => Number((old * times).toPrecision(3)))
        : data.options[change.field];
  if (change.value === old) change.value = null;
  // One that a picture brought may be none of these.
  const own = change.value === null || values.includes(change.value) ? [] : [change.value];
  const others = [...values, ...own].filter(
    (value) => value !== old && (change.field !== "rate" || (value >= 0.001 && value <= 100)),
  );
  change.value ??= others[change.field === "rate" ? others.findIndex((v) => v > old) : 0];
  const value = make(
    "select",
    {
      id: "studio_change_value",
      "data-at": "value",
      on: { change: () => (change.value = others[value.selectedIndex]) },
    },
    ...others.map((one) => make("option", {}, valueName(change.field, one))),
  );
  value.selectedIndex = Math.max(0, others.indexOf(change.value));
  const guesses = data.guesses.map((guess) =>
    button("guess", say[`guess_${guess}`], () => {
      change.guess = guess;
      buildChange(run);
    }, { "aria-pressed": String(change.guess === guess), "data-at": guess }),
  );
  const start = button("go first", say.begin_change, () => beginChange(run), { "data-at": "start" });
  start.disabled = change.guess === null;
  parts.starts[1] = start;
  parts.changeForm.replaceChildren(
    make(
      "div",
      { class: "pair" },
      make(
        "div",
        { class: "field" },
        make("label", { class: "caption", for: "studio_change" }, say.change_what),
        what,
      ),
      make(
        "div",
        { class: "field" },
        make("label", { class: "caption", for: "studio_change_value" }, say.change_value),
        value,
      ),
    ),
    make("p", { class: "note" }, fill(say.change_to, { old: valueName(change.field, old) })),
    make(
      "div",
      { class: "field" },
      make("b", { class: "question" }, say.guess),
      make("div", { class: "guesses", role: "group", "aria-label": say.guess }, ...guesses),
    ),
    start,
    ...(change.guess === null ? [make("p", { class: "note" }, say.first_guess)] : []),
  );
  if (held) parts.changeForm.querySelector(`[data-at="${CSS.escape(held)}"]`)?.focus();
}

function beginChange(run) {
  if (isAsking()) return;
  const { field, value, guess } = change;
  parts.starts[1].setAttribute("aria-busy", "true");
  send("begin", {
    choice: { ...wishOf(run.choice), [field]: value },
    like: run.name,
    changed: field,
    guess,
  });
}

