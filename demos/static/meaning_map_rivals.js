// --- the hardest negatives ----------------------------------------------------------------------

const hard = { kind: "pictures", list: null };

function buildRivals() {
  const say = data.words;
  hard.list = make("ol", { class: "rivals" });
  hard.says = make("p", { class: "says" });
  const card = make(
    "section",
    { class: "card hard" },
    make(
      "div",
      { class: "line" },
      make("h2", {}, say.rivals),
      choice(
        "asking",
        say.rivals_ask,
        [
          ["pictures", say.pictures_ask],
          ["texts", say.texts_ask],
        ],
        hard.kind,
        (kind) => {
          hard.kind = kind;
          drawRivals();
        },
      ),
    ),
    hard.says,
    hard.list,
    make("p", { class: "note" }, say.rivals_note),
  );
  drawRivals();
  return card;
}

function drawRivals() {
  const say = data.words;
  const rivals = data.rivals[hard.kind];
  const lost = rivals.filter(({ margin }) => margin >= 0).length;
  hard.says.textContent = rivals.length
    ? fill(say.rivals_lost, { lost, count: rivals.length })
    : say.found_none;
  const asksPicture = hard.kind === "pictures";
  const answer = (number, value, kind, mark) =>
    make(
      "span",
      { class: `answer ${kind}` },
      make("span", { class: "mark", "aria-hidden": "true" }, mark),
      asksPicture ? caption(number, "span", { class: "name" }) : view(number, pictureName(number)),
      bar(value, kind),
      make("b", {}, cosine(value)),
    );
  hard.list.replaceChildren(
    ...rivals.map((rival) => {
      const { question, wrong, right, margin } = rival;
      const button = make(
        "button",
        {
          type: "button",
          class: margin >= 0 ? "lost" : "",
          on: {
            click: () =>
              pin(asksPicture ? { picture: question, text: wrong } : { picture: wrong, text: question }),
          },
        },
        asksPicture
          ? view(question, pictureName(question))
          : caption(question, "span", { class: "asks" }),
        make(
          "span",
          { class: "answers" },
          answer(right, rival.right_cosine, "right", "✓"),
          answer(wrong, rival.wrong_cosine, "wrong", "✗"),
        ),
        make(
          "span",
          { class: "margin" },
          make("b", {}, (margin >= 0 ? "+" : "") + cosine(margin, Math.abs(margin) < 0.001 ? 4 : Math.abs(margin) < 0.01 ? 3 : 2)),
          make("span", {}, say.margin),
        ),
      );
      return make("li", {}, button);
    }),
  );
}
