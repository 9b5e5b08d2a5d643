// The Meaning Map. Gradio hands in element, trigger, props, server, upload and watch.
//
// The files meaning_map_*.js are joined into one function, in the order that meaning_map.py names:
// tools, a file for each card, and page.js, which holds them together.

const host = element.querySelector(".mm");

let data; // what the server sent for this set and model
let pinned, pointed; // {picture, text}, either of them null: what is chosen, what is pointed at

const chosen = () => pointed ?? pinned;
const own = (picture, text) => data.together.has(`${picture} ${text}`);

function make(tag, settings = {}, ...children) {
  return dress(document.createElement(tag), settings, children);
}

function draw(tag, settings = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), settings, children);
}

function dress(node, { on = {}, style = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children);
  return node;
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function cosine(value, digits = 2) {
  const settings = {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: "negative", // no -0.00
  };
  return new Intl.NumberFormat(data.lang, settings).format(value).replace("-", "−");
}

function percent(share, digits = 0) {
  return new Intl.NumberFormat(data.lang, { style: "percent", maximumFractionDigits: digits }).format(
    share,
  );
}

// The picture as an element; small drawings keep their pixels.
function view(picture, alt = "") {
  const { view: src, coarse } = data.pictures[picture];
  return make("img", { src, alt, ...(coarse ? { class: "coarse" } : {}) });
}

function caption(text, tag = "span", settings = {}) {
  const { text: words, lang } = data.texts[text];
  return make(tag, { lang, dir: "auto", ...settings }, words);
}

// A picture's own caption, in the visitor's language if it has one in that.
function ownCaption(picture) {
  const own = data.pairs.filter(([one]) => one === picture).map(([, text]) => text);
  return own.find((text) => data.texts[text].lang === data.lang) ?? own[0] ?? null;
}

function spokenName(picture) {
  const text = ownCaption(picture);
  return text === null ? pictureName(picture) : data.texts[text].text;
}

const pictureName = (picture) => fill(data.words.picture_number, { number: picture + 1 });

// From the highest to the lowest.
const order = (values) => [...values.keys()].sort((a, b) => values[b] - values[a]);

function bar(share, kind = "") {
  const width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("span", { class: `bar ${kind}` }, make("i", { style: { width } }));
}

// Buttons of which one is pressed. `choices` are [value, words]; `choose` hears which.
function choice(name, label, choices, now, choose) {
  const buttons = choices.map(([value, words]) =>
    make(
      "button",
      {
        type: "button",
        "data-value": value,
        "aria-pressed": String(value === now),
        on: {
          click: () => {
            for (const button of buttons) {
              button.setAttribute("aria-pressed", String(button.dataset.value === value));
            }
            choose(value);
          },
        },
      },
      words,
    ),
  );
  return make("div", { class: `switch ${name}`, role: "group", "aria-label": label }, ...buttons);
}
