// --- the cosines of all captions with all pictures ----------------------------------------------

const matrix = { cells: [], at: [0, 0] };

function buildMatrix() {
  const say = data.words;
  const near = data.cosines; // picture by picture, caption by caption
  const all = near.flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const bestText = near.map((row) => order(row)[0]);
  const bestPicture = data.texts.map((_, text) => order(near.map((row) => row[text]))[0]);
  const asked = { pictures: new Set(), texts: new Set() };
  for (const [picture, text] of data.pairs) {
    asked.pictures.add(picture);
    asked.texts.add(text);
  }

  const head = data.pictures.map((_, picture) => {
    const missed = asked.pictures.has(picture) && !own(picture, bestText[picture]);
    const cell = make("th", { scope: "col", role: "columnheader" }, view(picture, pictureName(picture)));
    if (missed) {
      cell.className = "missed";
      cell.title = say.missed_picture;
    }
    return cell;
  });
  matrix.head = head;
  matrix.cells = data.texts.map((_, text) =>
    data.pictures.map((_, picture) => {
      const value = near[picture][text];
      const facts = [
        own(picture, text) && say.cell_own,
        bestText[picture] === text && say.cell_best_text,
        bestPicture[text] === picture && say.cell_best_picture,
      ].filter(Boolean);
      const share = 4 + 96 * (high > low ? (value - low) / (high - low) : 1);
      const name = fill(say.cell, {
        number: picture + 1,
        caption: data.texts[text].text,
        cosine: cosine(value),
      });
      const cell = make(
        "td",
        {
          role: "gridcell",
          tabindex: -1,
          class: `${own(picture, text) ? "own" : ""} ${share > 66 ? "strong" : ""}`,
          "aria-label": [name, ...facts].join(", "),
          style: { "--share": `${share.toFixed(1)}%` },
        },
        make("span", {}, cosine(value).replace(/^(−?)0(?=\D)/, "$1")),
      );
      if (bestText[picture] === text) cell.append(make("i", { class: "down" }));
      if (bestPicture[text] === picture) cell.append(make("i", { class: "side" }));
      return cell;
    }),
  );
  matrix.rows = matrix.cells.map((cells, text) => {
    const missed = asked.texts.has(text) && !own(bestPicture[text], text);
    const name = make("th", {
      scope: "row",
      role: "rowheader",
      title: data.texts[text].text + (missed ? ` · ${say.missed_text}` : ""),
      ...(missed ? { class: "missed" } : {}),
    });
    name.append(caption(text));
    return make("tr", { role: "row" }, name, ...cells);
  });
  const table = make(
    "table",
    {
      role: "grid",
      "aria-label": say.grid_label,
      "aria-rowcount": data.texts.length + 1,
      "aria-colcount": data.pictures.length + 1,
      on: {
        keydown: walkMatrix,
        focusin: (event) => chooseCell(event.target, pin),
        click: (event) => chooseCell(event.target, pin),
        pointerover: (event) => event.pointerType === "mouse" && chooseCell(event.target, point),
        pointerleave: () => point(null),
      },
    },
    make(
      "thead",
      {},
      make("tr", { role: "row" }, make("td", { class: "corner", role: "presentation" }), ...head),
    ),
    make("tbody", {}, ...matrix.rows),
  );
  matrix.at = [0, 0];
  matrix.cells[0][0].tabIndex = 0;
  matrix.readout = make("div", { class: "pair" });

  const legend = make(
    "p",
    { class: "legend note" },
    make("span", {}, cosine(low)),
    make("i", { class: "ramp" }),
    make("span", {}, cosine(high)),
    make("span", { class: "key" }, make("i", { class: "outlined" }), say.legend_own),
    make("span", { class: "key" }, make("i", { class: "down" }), say.legend_best_text),
    make("span", { class: "key" }, make("i", { class: "side" }), say.legend_best_picture),
  );
  return make(
    "section",
    { class: "card matrix" },
    make("h2", {}, say.matrix),
    make(
      "div",
      { class: "both" },
      make(
        "div",
        { class: "sheet" },
        make("div", { class: "scroll", style: { "--columns": data.pictures.length } }, table),
        legend,
        make("p", { class: "note" }, say.matrix_keys),
      ),
      make("div", { class: "aside" }, matrix.readout, foundWords()),
    ),
  );
}

// Recall@1 both ways, in words.
function foundWords() {
  const say = data.words;
  const lines = ["pictures", "texts"].map((kind) => {
    const [found, asked] = data.found[kind];
    const words = fill(say[`found_${kind}`], { found, asked });
    return make("li", { class: found < asked ? "missed" : "" }, words);
  });
  const none = data.pairs.length === 0;
  return make(
    "div",
    { class: "found" },
    make("h3", {}, say.recall),
    none ? make("p", {}, say.found_none) : make("ul", {}, ...lines),
  );
}

function placeOf(cell) {
  const row = matrix.cells.findIndex((cells) => cells.includes(cell));
  return row < 0 ? null : [row, matrix.cells[row].indexOf(cell)];
}

function chooseCell(target, choose) {
  const place = placeOf(target.closest("td"));
  if (place) choose({ text: place[0], picture: place[1] });
}

function walkMatrix(event) {
  const place = placeOf(event.target);
  if (!place) return;
  const [row, column] = place;
  const [last, end] = [matrix.cells.length - 1, matrix.head.length - 1];
  const goes = {
    ArrowLeft: [row, Math.max(0, column - 1)],
    ArrowRight: [row, Math.min(end, column + 1)],
    ArrowUp: [Math.max(0, row - 1), column],
    ArrowDown: [Math.min(last, row + 1), column],
    Home: [event.ctrlKey ? 0 : row, 0],
    End: [event.ctrlKey ? last : row, end],
  };
  if (!(event.key in goes)) return;
  event.preventDefault();
  point(null);
  const [to, at] = goes[event.key];
  matrix.cells[to][at].focus();
}

function markMatrix() {
  const { picture, text } = chosen();
  matrix.head.forEach((cell, i) => cell.classList.toggle("on", i === picture));
  matrix.rows.forEach((row, i) => row.classList.toggle("on", i === text));
  if (picture !== null && text !== null && !pointed) {
    matrix.cells[matrix.at[0]][matrix.at[1]].tabIndex = -1;
    matrix.at = [text, picture];
    matrix.cells[text][picture].tabIndex = 0;
  }
  drawPair(picture, text);
}

// The picture and the caption that are chosen, or whichever of them is.
function drawPair(picture, text) {
  const say = data.words;
  const parts = [];
  if (picture !== null) {
    parts.push(make("figure", {}, view(picture), make("figcaption", {}, pictureName(picture))));
  }
  const facts = make("div", { class: "facts" });
  if (text !== null) facts.append(caption(text, "p", { class: "said" }));
  if (picture !== null && text !== null) {
    const row = data.cosines[picture];
    const column = data.cosines.map((values) => values[text]);
    const together = own(picture, text);
    facts.append(
      make(
        "p",
        { class: "big" },
        make("span", { class: "note" }, say.cosine),
        make("b", {}, cosine(row[text], 3)),
        make("span", { class: together ? "tag own" : "tag" }, together ? say.together : say.apart),
      ),
      make(
        "p",
        { class: "note" },
        fill(say.rank_text, { rank: order(row).indexOf(text) + 1, count: row.length }),
      ),
      make(
        "p",
        { class: "note" },
        fill(say.rank_picture, { rank: order(column).indexOf(picture) + 1, count: column.length }),
      ),
    );
  } else {
    facts.append(make("p", { class: "note" }, say.choose_pair));
  }
  matrix.readout.replaceChildren(...parts, facts);
}
