// The plane: noise is led to points on paper, by networks that learn while one watches.
// Gradio hands in element, trigger, props, server, upload and watch.
//
// The server teaches and walks the ways; what it sends are small arrays of whole numbers. All that
// moves is drawn here from what has come, on canvases whose unit is that of the paper. Learning is
// asked for a moment at a time, so that stopping is no more than asking no longer.
//
// The files denoise_plane_*.js are joined into one function, in the order that denoise_plane.py names.

const host = element.querySelector(".plane");
const LETTERS = "ABCDEF";
const SECONDS = 4; // that a way takes
const SPACING = 0.1; // between points that are drawn in one stroke
const PEN = 0.15; // how far an arrow key moves the pen
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

let data; // words, limits, shapes, things to try
let places = {}; // a shape's name -> its points
let noise;
let wish = null; // what the controls say, as the server reads it
let experiment = "one";
let drawn = []; // the visitor's own points
let strokes = []; // how many points there were before each stroke
let pen = [0, 0]; // where the keyboard has it
let panels = []; // what each panel shows
let result = null;
let guess; // a panel's number, "same", or undefined for none
let running = null; // "learning" or "stopping", while the server works
let next = false; // whether to set out anew when it has stopped
let status = "before";
let clock = 0; // from the beginning of the ways, 0, to their end, 1
let playing = false;
let shows = { arrows: true, trails: true, formula: false };
let open = false; // whether the panels are being changed
let heard = null;
let patience = null; // the timer that runs out if nothing is heard
let parts = {};

// --- small tools -------------------------------------------------------------------------------

function make(tag, settings = {}, ...children) {
  return dress(document.createElement(tag), settings, children);
}

function draw(tag, settings = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), settings, children);
}

function dress(node, { on = {}, style = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const button = (name, text, click, more = {}) =>
  make("button", { type: "button", class: name, on: { click }, ...more }, text);

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const number = (value, settings = {}) => new Intl.NumberFormat(data.lang, settings).format(value);
const percent = (share) => number(share, { style: "percent", maximumFractionDigits: 0 });
const short = (value) =>
  number(value, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const colour = (name) => getComputedStyle(host).getPropertyValue(name).trim();
const own = (at) => colour(`--plane-${at % data.colours}`);
const stepsOf = (steps) =>
  steps === 1 ? data.words.one_step : fill(data.words.many_steps, { steps: number(steps) });

function unpack(text, scale) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (value) => value / scale);
}

const toPlaces = (text) => unpack(text, data.scales.place);
const toField = (text) => unpack(text, data.scales.speed);
