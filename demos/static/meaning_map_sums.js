// --- sums of meaning ----------------------------------------------------------------------------

const adding = { step: null, turn: 0, answer: null };
const SHOWN = 5;

function buildSums() {
  const say = data.words;
  if (adding.step === null) adding.step = data.strengths.indexOf(1);
  adding.answer = data.answer;
  const { start, minus, plus } = data.sum;
  adding.start = make(
    "select",
    { id: "mm-start", on: { change: ask } },
    ...data.pictures.map((_, picture) => {
      const words = ownCaption(picture) === null ? "" : ` · ${spokenName(picture)}`;
      return make("option", { value: picture }, pictureName(picture) + words);
    }),
  );
  adding.start.value = start;
  adding.view = make("span", { class: "start" });
  const word = (name, value) => {
    const field = make("input", {
      id: `mm-${name}`,
      type: "text",
      value,
      dir: "auto",
      autocomplete: "off",
      maxlength: data.letters,
    });
    adding[name] = field;
    return field;
  };
  const form = make(
    "form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          ask();
        },
      },
    },
    adding.view,
    make("div", { class: "field" }, make("label", { for: "mm-start" }, say.sum_start), adding.start),
    make("div", { class: "field" }, make("label", { for: "mm-minus" }, `− ${say.sum_minus}`), word("minus", minus)),
    make("div", { class: "field" }, make("label", { for: "mm-plus" }, `+ ${say.sum_plus}`), word("plus", plus)),
    make("button", { type: "submit", class: "go" }, say.sum_go),
  );
  adding.strength = make("label", { for: "mm-strength", class: "amount" });
  adding.slider = make("input", {
    id: "mm-strength",
    type: "range",
    min: 0,
    max: data.strengths.length - 1,
    value: adding.step,
    on: {
      input: (event) => {
        adding.step = Number(event.target.value);
        drawSum();
      },
    },
  });
  adding.lists = { pictures: make("ol", { class: "near" }), texts: make("ol", { class: "near" }) };
  adding.says = make("p", { class: "says", "aria-live": "polite" });
  adding.card = make(
    "section",
    { class: "card sums" },
    make("h2", {}, say.sums),
    form,
    make("div", { class: "line strength" }, adding.strength, adding.slider),
    adding.says,
    make(
      "div",
      { class: "halves" },
      make("div", {}, make("h3", {}, say.near_pictures), adding.lists.pictures),
      make("div", {}, make("h3", {}, say.near_texts), adding.lists.texts),
    ),
    make("p", { class: "note" }, say.sum_note),
  );
  drawSum();
  return adding.card;
}

function ask() {
  adding.turn += 1; // an answer that equals the last one would not be noticed
  adding.card.setAttribute("aria-busy", "true");
  trigger("reckon", {
    start: Number(adding.start.value),
    minus: adding.minus.value,
    plus: adding.plus.value,
    turn: adding.turn,
  });
}

function hearSum(answer) {
  if (!answer || !adding.card || answer.turn !== adding.turn) return; // a later one is on its way
  adding.card.removeAttribute("aria-busy");
  if (answer.failed) return;
  adding.answer = answer;
  drawSum();
}

function drawSum() {
  const say = data.words;
  const { start, minus, plus } = adding.answer;
  const strength = data.strengths[adding.step];
  const times = cosine(strength, 1);
  adding.strength.textContent = fill(say.strength, { strength: times });
  adding.slider.setAttribute("aria-valuetext", times);
  adding.view.replaceChildren(view(start));
  const pictures = adding.answer.pictures[adding.step];
  const texts = adding.answer.texts[adding.step];
  const row = (value, isStart, ...shown) =>
    make(
      "li",
      { class: isStart ? "began" : "" },
      ...shown,
      bar(value),
      make("b", {}, cosine(value)),
    );
  adding.lists.pictures.replaceChildren(
    ...order(pictures)
      .slice(0, SHOWN)
      .map((picture) => {
        const began = picture === start;
        const words = spokenName(picture);
        const name = make("span", { class: "name", dir: "auto", title: words }, words);
        if (began) name.append(make("em", {}, say.began));
        return row(pictures[picture], began, view(picture), name);
      }),
  );
  adding.lists.texts.replaceChildren(
    ...order(texts)
      .slice(0, SHOWN)
      .map((text) => row(texts[text], false, caption(text, "span", { class: "name", title: data.texts[text].text }))),
  );
  // Where a sum ends is told by its nearest picture, and by the nearest that it did not begin with.
  const [first, second] = order(pictures);
  const way = [minus && `− ${minus}`, plus && `+ ${plus}`].filter(Boolean).join(" ");
  const other = first === start ? second : first;
  adding.says.textContent = fill(first === start ? say.sum_stays : say.sum_arrives, {
    way: way ? ` ${way}` : "",
    start: pictureName(start),
    other: spokenName(other),
    cosine: cosine(pictures[other]),
  });
}
