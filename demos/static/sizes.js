// What other patch sizes would cost. Gradio hands in element, props and watch among others.

const host = element.querySelector(".sizes");

function make(tag, settings = {}, ...children) {
  const { on = {}, style = {}, ...attributes } = settings;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children);
  return node;
}

function number(value) {
  const digits = value >= 1000 ? 4 : 3;
  return new Intl.NumberFormat(document.documentElement.lang || "en", {
    maximumSignificantDigits: digits,
  }).format(value);
}

function work(gigaflop) {
  const units = [[1e3, "T"], [1, "G"], [1e-3, "M"], [1e-6, "k"]];
  const [worth, unit] = units.find(([least]) => gigaflop >= least) ?? units.at(-1);
  return `${number(gigaflop / worth)} ${unit}`;
}

function draw() {
  const data = props.value;
  if (!data) return;
  const say = data.words;
  const [width, height] = data.pixels;
  const lines = make("div", { class: "lines" });
  const sheet = make(
    "div",
    {
      class: "sheet",
      style: {
        "--view": `url("${data.view}")`,
        "aspect-ratio": `${width} / ${height}`,
        "image-rendering": Math.max(width, height) <= 96 ? "pixelated" : "auto",
      },
    },
    lines,
  );

  // Logarithmic bars: from the lowest power of ten of a column to its highest.
  const scale = (name) => {
    const logs = data.rows.map((row) => Math.log10(Math.max(row[name], 1e-9)));
    const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
    const decades = Math.max(high - low, 1);
    return { decades, of: (value) => (Math.log10(Math.max(value, 1e-9)) - low) / decades };
  };
  const columns = ["tokens", "attention", "total"].map((name) => [name, scale(name)]);

  const choose = (row) => {
    lines.style.setProperty("--rows", row.grid[0]);
    lines.style.setProperty("--columns", row.grid[1]);
    // Lines closer than four pixels would only grey the picture out.
    lines.classList.toggle("dense", Math.max(...row.grid) > 64);
    bodies.forEach((body) => body.classList.toggle("on", Number(body.dataset.size) === row.size));
  };
  const bodies = data.rows.map((row) => {
    const radio = make("input", {
      type: "radio",
      name: "patch-size",
      value: row.size,
      "aria-label": `${row.size} × ${row.size}`,
      on: { change: () => choose(row) },
    });
    radio.checked = row.size === data.patch_size;
    const own = row.size === data.patch_size;
    const cells = columns.map(([name, { decades, of }]) =>
      make(
        "td",
        {},
        make("span", {}, name === "tokens" ? number(row[name]) : work(row[name])),
        make("i", { style: { "--share": `${of(row[name]) * 100}%`, "--decades": decades } }),
      ),
    );
    const label = make("label", {}, radio, ` ${row.size} × ${row.size}`);
    if (own) label.append(make("em", {}, say.this_model));
    return make("tr", { "data-size": row.size }, make("th", { scope: "row" }, label), ...cells);
  });
  const heads = [say.size_column, say.tokens_column, say.attention_column, say.total_column];
  const table = make(
    "table",
    { "aria-label": say.sizes_label },
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...bodies),
  );
  host.replaceChildren(
    make(
      "section",
      { class: "card" },
      make("h2", {}, say.sizes),
      make("p", { class: "note" }, say.sizes_note),
      make("div", { class: "pair" }, sheet, make("div", {}, table, make("p", { class: "note" }, say.unit))),
    ),
  );
  choose(data.rows.find((row) => row.size === data.patch_size) ?? data.rows[0]);
}

watch("value", draw);
draw();
