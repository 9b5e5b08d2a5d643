// Drawn from Words, the words: which of them each patch of a picture looked at, at every step.
//
// A look holds, for each word of a text, how much every patch took of it: levels from 0, the word's
// `least`, to 255, a `span` above that.

const DARK = "9, 11, 24"; // over patches that did not look
const DIM = 0.8; // and how much of it

let hovered = null; // what is pointed at: {word, pane} or {patch}; null: nothing
let pinned = null; // what was pressed, and stays
const cursor = { patch: null }; // where the keyboard stands on the pictures

// --- numbers -------------------------------------------------------------------------------------

// What the panes' pictures looked at, at the position of the scrubber; undefined before that.
const lookAt = (number) => run?.frames[Math.min(run.at, run.total - 1)]?.looks[number];

const places = ({ grid }) => grid[0] * grid[1];

// How much a patch took of a word; of all patches together their mean.
function shareOf(look, word, patch) {
  const count = places(look);
  const levels = look.levels.subarray(word * count, (word + 1) * count);
  const level = patch === null ? levels.reduce((sum, n) => sum + n, 0) / count : levels[patch];
  return look.least[word] + (level / 255) * look.span[word];
}

// The word of the other text that a word of this one is held against: of the same place where both
// texts are equally long, else the same word.
function counterpart(pane, word) {
  const [mine, theirs] = [run.words[pane], run.words[1 - pane]];
  if (!theirs) return null;
  if (mine.length === theirs.length) return word;
  const found = theirs.findIndex(({ text }) => text === mine[word].text);
  return found < 0 ? null : found;
}

// Words that the other text does not have.
function isChanged(pane, { text }) {
  const other = run.words[1 - pane];
  return Boolean(other) && !other.some((word) => word.text === text);
}

// --- pointing ------------------------------------------------------------------------------------

const same = (a, b) => a?.patch === b?.patch && a?.word === b?.word && a?.pane === b?.pane;

function point(target) {
  if (same(hovered, target)) return;
  hovered = target;
  drawLooks();
}

// A press keeps it, a second one lets go: for fingers, which don't hover.
function pin(target) {
  pinned = same(pinned, target) ? null : target;
  hovered = null;
  drawLooks();
}

function letGo() {
  hovered = pinned = null;
}

function patchUnder(event) {
  const look = lookAt(0);
  if (!look) return null;
  const [rows, columns] = look.grid;
  const box = event.currentTarget.getBoundingClientRect();
  const within = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
  const column = within((event.clientX - box.left) / box.width, columns);
  const row = within((event.clientY - box.top) / box.height, rows);
  return row * columns + column;
}

function onPatchMove(event) {
  const patch = patchUnder(event);
  if (event.pointerType === "mouse" && patch !== null) point({ patch });
}

function onPatchPress(event) {
  const patch = patchUnder(event);
  if (patch === null) return;
  cursor.patch = patch;
  pin({ patch });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function onPatchKey(event) {
  const look = lookAt(0);
  if (!look || event.ctrlKey || event.metaKey || event.altKey) return;
  const [rows, columns] = look.grid;
  const step = ARROWS[event.key];
  if (step) {
    const at = startingPatch(look);
    const row = Math.min(Math.max(Math.floor(at / columns) + step[0], 0), rows - 1);
    const column = Math.min(Math.max((at % columns) + step[1], 0), columns - 1);
    cursor.patch = row * columns + column;
    point({ patch: cursor.patch });
    parts.spoken.textContent = parts.says.textContent;
  } else if (event.key === " " || event.key === "Enter") {
    pin({ patch: startingPatch(look) });
  } else {
    return;
  }
  event.preventDefault();
}

// Where the keyboard stands: in the middle, before it has gone anywhere.
function startingPatch({ grid: [rows, columns] }) {
  const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  return cursor.patch !== null && cursor.patch < rows * columns ? cursor.patch : middle;
}

function onEscape(event) {
  if (event.key !== "Escape" || !(hovered || pinned)) return;
  letGo();
  drawLooks();
}

// --- drawing -------------------------------------------------------------------------------------

// The words of the texts as buttons; what they show is drawn anew with each step.
function drawWords() {
  const say = data.words;
  const told = run?.words ?? [];
  parts.panes.forEach((pane, number) => {
    pane.tiles = (told[number] ?? []).map(({ text, unread }, word) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const fillBar = make("i", {});
      const value = make("span", { class: "value" });
      const target = { word, pane: number };
      const button = make(
        "button",
        {
          type: "button",
          class: `word${isChanged(number, { text }) ? " changed" : ""}`,
          title: unread ? say.unread : null,
          "aria-pressed": "false",
          disabled: unread ? "" : null,
          on: {
            pointerenter: (event) => event.pointerType === "mouse" && point(target),
            pointerleave: (event) => event.pointerType === "mouse" && point(null),
            focus: (event) => event.target.matches(":focus-visible") && point(target),
            blur: () => point(null),
            click: () => pin(target),
          },
        },
        canvas,
        make("span", { class: "said" }, text),
        make("span", { class: "bar", "aria-hidden": "true" }, fillBar),
        value,
      );
      return { button, canvas, fillBar, value };
    });
    pane.words.replaceChildren(...pane.tiles.map(({ button }) => button));
  });
  const words = told.flat();
  const notes = [];
  const spelled = [...new Set(words.filter((word) => word.spelled).map((word) => word.text))];
  if (spelled.length) notes.push(fill(say.spelled, { words: spelled.join(", ") }));
  if (words.some((word) => word.unread)) notes.push(say.unread_note);
  parts.wordsNote.textContent = notes.join(" ");
  parts.wordsNote.hidden = notes.length === 0;
}

// Light up what is pointed at: of a word the patches that looked at it, of a patch its words.
function drawLooks() {
  const say = data.words;
  const shown = Boolean(lookAt(0));
  const focus = shown ? (hovered ?? pinned) : null;
  const patch = focus?.patch ?? null;
  parts.wordsWait.hidden = shown || parts.panes[0].tiles.length > 0;
  parts.says.hidden = !shown;
  parts.keys.hidden = !shown;
  parts.panes.forEach((pane, number) => {
    const look = lookAt(number);
    pane.screen.tabIndex = look ? 0 : -1;
    pane.screen.classList.toggle("pointable", Boolean(look));
    const word = look && focus?.word !== undefined ? wordOf(focus, number) : null;
    paintHeat(pane.heat, look, word);
    placeCursor(pane.cursor, look, patch);
    if (look) drawTiles(pane, number, look, word, patch);
  });
  parts.says.textContent = shown ? says(focus) : "";
  parts.stage.dataset.pointed = patch !== null ? `patch ${patch}` : focus ? `word ${focus.word}` : "";
  if (shown) parts.scope.textContent = patch === null ? say.scope_whole : placeName(patch);
}

const wordOf = (focus, number) =>
  focus.pane === number ? focus.word : counterpart(focus.pane, focus.word);

function drawTiles(pane, number, look, word, patch) {
  const shares = pane.tiles.map((_, i) => shareOf(look, i, patch));
  const most = Math.max(...shares, 1e-6);
  const picture = pictureAt(run.at, number);
  pane.tiles.forEach(({ button, canvas, fillBar, value }, i) => {
    paintThumb(canvas, picture, look, i);
    fillBar.style.width = `${(100 * shares[i]) / most}%`;
    value.textContent = percent(shares[i]);
    const held = pinned?.word !== undefined && pinned.pane === number && pinned.word === i;
    button.setAttribute("aria-pressed", String(held));
    button.classList.toggle("lit", i === word || (patch !== null && shares[i] === most));
  });
}

// Dark where a patch looked least at the word; nothing where no word is pointed at.
function paintHeat(canvas, look, word) {
  canvas.hidden = !look || word === null;
  if (!canvas.hidden) canvas.getContext("2d").putImageData(heat(canvas, look, word), 0, 0);
}

function heat(canvas, look, word) {
  const [rows, columns] = look.grid;
  const context = sized(canvas, columns, rows);
  const pixels = context.createImageData(columns, rows);
  const [r, g, b] = DARK.split(",").map(Number);
  for (let i = 0; i < rows * columns; i++) {
    // The root lets small shares be seen beside one that has nearly all.
    const light = Math.sqrt(look.levels[word * rows * columns + i] / 255);
    pixels.data.set([r, g, b, 255 * DIM * (1 - light)], 4 * i);
  }
  return pixels;
}

const scratch = document.createElement("canvas");

// The same, small: the picture and what of it looked at the word.
function paintThumb(canvas, picture, look, word) {
  paint(canvas, picture, run.channels);
  scratch.getContext("2d").putImageData(heat(scratch, look, word), 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
}

function placeCursor(node, look, patch) {
  node.hidden = !look || patch === null;
  if (node.hidden) return;
  const [rows, columns] = look.grid;
  node.style.width = `${100 / columns}%`;
  node.style.height = `${100 / rows}%`;
  node.style.left = `${(100 * (patch % columns)) / columns}%`;
  node.style.top = `${(100 * Math.floor(patch / columns)) / rows}%`;
}

// --- what it says --------------------------------------------------------------------------------

function placeName(patch) {
  const [, columns] = lookAt(0).grid;
  const place = { row: Math.floor(patch / columns) + 1, column: (patch % columns) + 1 };
  return fill(data.words.scope_patch, place);
}

const quoted = ({ text }) => `“${text}”`;

// What is pointed at, in words.
function says(focus) {
  const say = data.words;
  if (!focus) return say.says_nothing;
  if (focus.word !== undefined) {
    const word = run.words[focus.pane][focus.word];
    const share = percent(shareOf(lookAt(focus.pane), focus.word, null));
    return fill(say.says_word, { word: quoted(word), share });
  }
  const told = parts.panes.flatMap((pane, number) => {
    const look = lookAt(number);
    if (!look) return [];
    const best = run.words[number]
      .map((word, i) => [word, shareOf(look, i, focus.patch)])
      .sort(([, a], [, b]) => b - a)
      .slice(0, 2)
      .map(([word, share]) => `${quoted(word)} ${percent(share)}`);
    return [best.join(", ")];
  });
  return fill(say.says_patch, { place: placeName(focus.patch), words: told.join(" · ") });
}
