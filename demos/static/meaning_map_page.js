// --- what a visitor chooses ---------------------------------------------------------------------

function pin(choice) {
  pointed = null;
  pinned = { from: null, ...choice };
  mark();
}

function point(choice) {
  pointed = choice && { from: null, ...choice };
  mark();
}

let marked = "";

function mark() {
  const now = JSON.stringify([chosen(), Boolean(pointed)]);
  if (now === marked) return;
  marked = now;
  markMatrix();
  markSpace();
}

// Keep the address a link to the set and the model, and the link to the other language too.
function note() {
  const address = new URL(window.location.href);
  for (const [name, value] of Object.entries({ model: data.model, set: data.set })) {
    if (value === "yours") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  window.history.replaceState(window.history.state, "", address);
  const language = document.getElementById("language");
  if (language) {
    address.searchParams.set("lang", language.lang);
    language.href = address.search;
  }
}

// --- building -----------------------------------------------------------------------------------

function arrive() {
  if (!props.value) return;
  const before = data;
  data = props.value;
  data.together = new Set(data.pairs.map(([picture, text]) => `${picture} ${text}`));
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const views = (all) => all.pictures.map((picture) => picture.view);
  const samePictures = before && same(views(before), views(data)) && before.lang === data.lang;
  // Someone who adds pictures wants to caption them.
  const added = before && before.lang === data.lang && data.pictures.length > before.pictures.length;
  if (added && data.set === "yours") editor.open = true;

  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  host.lang = data.lang;
  host.removeAttribute("aria-busy");
  if (!samePictures || data.set !== "yours") editor.sent = null;
  // What is being typed is not written over.
  const typed = samePictures && data.set === "yours" && editor.box;
  if (typed) countSet();
  else buildEditor();

  pinned = firstPair();
  pointed = null;
  marked = "";
  const cards = [buildMatrix(), buildSpace(), make("div", { class: "pairs" }, buildSums(), buildRivals())];
  [...host.children].filter((card) => card !== editor.box).forEach((card) => card.remove());
  if (!editor.box.isConnected) host.prepend(editor.box);
  host.append(...cards);
  measure();
  setStep(space.step);
  mark();
  note();
  refocus();
}

function firstPair() {
  const [picture] = data.pairs[0] ?? [0];
  return { picture, text: ownCaption(picture) ?? 0, from: null };
}

function measure() {
  const frame = space.svg?.parentElement;
  const width = frame?.clientWidth ?? 0;
  if (!width || width === space.width) return;
  space.width = width;
  for (const { label } of space.points) if (label) delete label.size;
  placePoints();
}

new ResizeObserver(measure).observe(host);
watch("value", arrive);
watch("answer", () => hearSum(props.answer));
watch("done", () => {
  if (props.done !== editor.turn) return;
  host.removeAttribute("aria-busy");
  editor.sent = null; // it was refused; the same may be sent again
});
arrive();
