// What the pages that draw have in common: how parts are made, how files come and go. It is one
// script with those that it is put before.

function make(tag, settings = {}, ...children) {
  const { on = {}, ...attributes } = settings;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const button = (name, text, click, more = {}) =>
  make("button", { type: "button", class: name, on: { click }, ...more }, text);

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// What was asked for is taken away as a file.
function hearKept(kept) {
  if (!kept?.data) return;
  const address = URL.createObjectURL(new Blob([bytes(kept.data)], { type: kept.type }));
  make("a", { href: address, download: kept.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// A file goes the way of an upload button, as if it had been chosen there.
function giveTo(input, file) {
  const one = new DataTransfer();
  one.items.add(file);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}
