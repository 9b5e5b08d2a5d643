// --- beginning ----------------------------------------------------------------------------------

function arrive() {
  if (!props.value) return;
  data = props.value;
  places = Object.fromEntries(
    Object.entries(data.shapes).map(([name, text]) => [name, toPlaces(text)]),
  );
  noise = toPlaces(data.noise);
  if (wish === null) {
    const first = data.experiments[experiment];
    const { shape, count, back } = first;
    wish = { shape, count, back, seed: 0, panels: first.panels.map((panel) => ({ ...panel })) };
    newPanels();
  }
  for (const panel of panels) delete panel.canvas; // in another language all is built anew
  host.lang = data.lang;
  parts = {};
  const tries = buildTries();
  const stage = buildStage();
  const points = buildPoints();
  host.replaceChildren(
    make("div", { class: "opening" }, make("h2", {}, data.words.heading), make("p", {}, data.words.intro)),
    make("div", { class: "both" }, points, make("div", { class: "right" }, tries, stage)),
    buildLessons(),
  );
  drawTries();
  drawStage();
  drawPoints();
}

// --- what is dropped ----------------------------------------------------------------------------

host.addEventListener("dragover", (event) => {
  event.preventDefault();
  event.stopPropagation();
});
host.addEventListener("drop", (event) => {
  event.preventDefault();
  event.stopPropagation();
  const input = opener();
  if (!input || !event.dataTransfer.files.length) return;
  const one = new DataTransfer();
  one.items.add(event.dataTransfer.files[0]);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

// Papers keep their size in pixels and their colours, so they are drawn anew when those change.
new ResizeObserver(() => {
  if (!data) return;
  drawPoints();
  paintSoon();
}).observe(host);
new MutationObserver(() => data && drawPoints()).observe(document.body, { attributeFilter: ["class"] });

watch("value", arrive);
watch("news", hear);
watch("restored", hearRestored);
watch("kept", hearKept);
arrive();
