// A folder of pictures: indexed while one watches, then searched and sorted.
// Gradio hands in element, trigger, props, server, upload and watch.
//
// A picture is a number in the album that the server holds. Indexing is asked for a moment at a
// time, again and again, so that stopping is no more than asking no longer. Thumbnails come after
// what they belong to, a few at a time.

const host = element.querySelector(".photos");

let data; // words and limits
let place; // where we are: folders, how much is indexed
let album = 0; // which album the numbers of pictures belong to
let progress = null; // of the indexing that runs
let working = false;
let patience = null; // the timer that runs out if nothing is heard
let way = "search"; // or "sort"
let found = null; // what the last search gave
let answers = null; // what the last sorting gave
let like = null; // the picture that a search begins with
let only = null; // which answers are shown: a label's number, "none", "checked"; null: all
let order = "uncertain";
let thumbs = new Map(); // id -> address; empty: it is gone
let wanted = []; // thumbnails to ask for
let fetching = null; // the timer of those on their way
let shown = { found: new Map(), answers: new Map() }; // id -> its tile's parts
let open = null; // the picture in the dialog: {which, id}
let large = null; // the one that has arrived
let typed = { text: null, minus: null, labels: null, none: false, multi: false };
let parts = {};

// --- small tools -------------------------------------------------------------------------------

function make(tag, settings = {}, ...children) {
  const { on = {}, style = {}, ...attributes } = settings;
  const node = document.createElement(tag);
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

function percent(share) {
  const digits = share < 0.0995 || share >= 0.9945 ? 1 : 0;
  // Never 0 or 100 %: nothing here is certain.
  return number(Math.min(Math.max(share, 0.001), 0.999), {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

const cosine = (value) =>
  number(value, { minimumFractionDigits: 3, maximumFractionDigits: 3 });

function duration(seconds) {
  const say = data.words;
  const whole = Math.max(1, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours) return fill(say.hours, { hours, minutes });
  if (whole >= 60) return fill(say.minutes, { minutes, seconds: whole % 60 });
  return fill(say.seconds, { seconds: whole });
}

const count = (one, many, amount) =>
  amount === 1 ? data.words[one] : fill(data.words[many], { count: number(amount) });

const shortName = (name) => name.split("/").pop();

// --- the folder and its index --------------------------------------------------------------------

function go(step) {
  if (working) trigger("halt", {});
  parts.folder.setAttribute("aria-busy", "true");
  parts.state.textContent = data.words.looking;
  trigger("enter", step);
}

// Should an answer be lost, it is asked for once more, before the server ends what nobody watches
// (PATIENCE in photos_job.py); two who ask watch the same work.
function keepWorking() {
  clearTimeout(patience);
  patience = setTimeout(() => {
    if (!working) return;
    trigger("work", {});
    keepWorking();
  }, 15000);
}

function work() {
  working = true;
  keepWorking();
  progress = { state: "running", ready: false, done: 0, total: 0, failed: [], failures: 0 };
  drawIndex();
  trigger("work", {});
}

function halt() {
  progress = { ...progress, stopping: true };
  drawIndex();
  trigger("halt", {});
}

function hearProgress(news) {
  if (!news || !data || !working) return;
  keepWorking();
  progress = { ...news, stopping: news.stopping || progress?.stopping };
  if (!news.over) {
    drawIndex();
    return;
  }
  if (news.state === "running") {
    trigger("work", {});
    drawIndex();
    return;
  }
  working = false;
  if (news.place) arrivePlace(news.place);
  else drawIndex();
}

// Another album: the numbers of pictures mean something else, so what was found is asked for anew.
function arrivePlace(news) {
  const same = place && place.here === news.here && place.inside.join("/") === news.inside.join("/");
  const again = same ? { found: found !== null, answers: answers !== null } : {};
  place = news;
  album = news.turn;
  thumbs = new Map();
  wanted = [];
  found = answers = like = open = large = null;
  only = null;
  if (!same) {
    progress = null;
    working = false;
    offer();
  }
  if (parts.dialog?.open) parts.dialog.close();
  drawPlace();
  drawIndex();
  drawFound();
  drawAnswers();
  if (place.examples && !place.indexed && place.total && !working && progress === null) work();
  else if (place.working && !working) work();
  else if (place.indexed) {
    if (again.found || (place.examples && !again.answers && way === "search")) search();
    if (again.answers) sort();
  }
}

// What the fields hold at first: for the examples, something that can be found among them.
function offer() {
  const opening = place.examples ? data.opening : { text: "", minus: "", labels: "" };
  typed = { ...typed, ...opening };
  if (!parts.text) return;
  for (const name of ["text", "minus", "labels"]) parts[name].value = typed[name];
}

function drawPlace() {
  const say = data.words;
  parts.folder.removeAttribute("aria-busy");
  const focus = parts.folder.contains(document.activeElement);
  parts.places.replaceChildren(
    ...place.places.map((name, at) =>
      button("place", name, () => go({ root: at }), {
        "aria-pressed": String(at === place.here),
        "data-root": at,
      }),
    ),
  );
  const steps = [place.places[place.here], ...place.inside];
  parts.trail.hidden = steps.length < 2;
  parts.trail.replaceChildren(
    ...steps.flatMap((name, at) => {
      const last = at === steps.length - 1;
      const step = last
        ? make("b", { "aria-current": "location" }, name)
        : button("step", name, () => go({ up: at }), { "data-up": at });
      return at ? [make("span", { "aria-hidden": "true" }, "›"), step] : [step];
    }),
  );
  parts.inside.hidden = !place.folders.length;
  parts.inside.replaceChildren(
    make("span", { class: "caption" }, say.folders),
    ...place.folders.map((name, at) =>
      button("into", name, () => go({ into: at }), { "data-into": at }),
    ),
    ...(place.more
      ? [make("span", { class: "note" }, fill(say.more_folders, { count: number(place.more) }))]
      : []),
  );
  parts.note.textContent = place.examples
    ? `${data.examples} ${say.index_note_examples}`
    : say.index_note;
  if (focus) parts.places.querySelector("[aria-pressed=true]")?.focus();
}

// Why a file cannot be read, in the visitor's language where it is one of the usual reasons.
function reason(why) {
  const known = data.words.reasons.split("|").map((pair) => pair.split("="));
  return known.find(([start]) => start && why.includes(start))?.[1] ?? why;
}

function drawIndex() {
  const say = data.words;
  const running = working && progress;
  const done = running ? progress.done : place.indexed;
  const total = running && progress.ready ? progress.total : place.total;
  const failed = running ? progress.failed : place.failed;
  const failures = running ? progress.failures : place.failures;
  // Folders that cannot be listed fail too, but they are no pictures that wait.
  const waiting = place.total - place.indexed - place.unread;
  const finished = !running && !waiting;

  parts.bar.hidden = !total;
  parts.bar.max = Math.max(total, 1);
  // While it looks for what has changed, what is known of the folder is shown.
  const value = running && !progress.ready ? place.indexed : done;
  parts.bar.value = finished ? total : value;
  const lines = [];
  if (!total) lines.push(say.no_pictures);
  else if (running && !progress.ready) lines.push(say.starting);
  else if (finished) {
    const some = place.indexed ? "rest_unreadable" : "all_unreadable";
    const name = place.unread ? some : "all_indexed";
    lines.push(fill(say[name], { done: number(done), total: number(total) }));
  } else lines.push(fill(say.indexed, { done: number(value), total: number(total) }));
  if (running && progress.ready && !progress.stopping) {
    if (progress.speed) {
      const digits = progress.speed < 10 ? 1 : 0;
      lines.push(fill(say.speed, { speed: number(progress.speed, { maximumFractionDigits: digits }) }));
    }
    if (progress.left > 0.5) lines.push(fill(say.left, { time: duration(progress.left) }));
  }
  if (running && progress.stopping) lines.push(say.stopping);
  if (!running && progress?.state === "stopped") lines.push(say.stopped);
  parts.state.textContent = lines.join(" · ");
  // A screen reader is told of beginning and end, not of every step between.
  parts.told.textContent = running ? say.starting : lines.join(" · ");

  parts.go.hidden = Boolean(running) || !total;
  parts.halt.hidden = !running;
  parts.halt.disabled = Boolean(running && progress.stopping);
  const name = !waiting ? "again" : place.indexed ? "go_on" : waiting === 1 ? "index_one" : "index";
  parts.go.textContent = fill(say[name], { count: number(waiting) });
  parts.go.classList.toggle("first", waiting > 0);

  parts.failed.hidden = !failures;
  if (failures) {
    parts.failedCount.textContent =
      failures === 1
        ? say.unreadable_one
        : fill(say.unreadable_many, { count: number(failures) });
    const more = failures - failed.length;
    parts.failedList.replaceChildren(
      ...failed.map(([path, why]) => make("li", {}, make("b", {}, path), ` ${reason(why)}`)),
      ...(more > 0 ? [make("li", {}, fill(say.unreadable_more, { count: number(more) }))] : []),
    );
  }
  const nothing = !place.indexed;
  parts.first.hidden = !nothing || Boolean(running);
  for (const part of [parts.searchGo, parts.sortGo]) part.disabled = nothing;
}

// --- searching -----------------------------------------------------------------------------------

function search() {
  typed.text = parts.text.value;
  typed.minus = parts.minus.value;
  if (!place.indexed) return;
  parts.search.setAttribute("aria-busy", "true");
  trigger("search", { text: typed.text, minus: typed.minus, like });
}

function searchLike(id) {
  like = id;
  // The words that were asked before would pull elsewhere.
  parts.text.value = parts.minus.value = "";
  choose("search");
  search();
  parts.search.scrollIntoView({ block: "start", behavior: "smooth" });
}

function hearFound(news) {
  if (!news || !data || news.turn < found?.turn) return;
  parts.search.removeAttribute("aria-busy");
  if (news.failed) {
    drawFound();
    return;
  }
  found = news;
  like = news.wish.like;
  drawFound();
}

function drawFound() {
  const say = data.words;
  parts.like.hidden = like === null;
  if (like !== null) {
    const picture = make("img", { alt: "", "data-thumb": like });
    dress(picture, like);
    parts.like.replaceChildren(
      picture,
      make("span", {}, say.like),
      button("away", "×", dropLike, { "aria-label": say.like_away, title: say.like_away }),
    );
  }
  drawNotes(parts.foundNotes, found?.notes);
  parts.foundAbout.textContent = "";
  shown.found = new Map();
  parts.foundTiles.replaceChildren();
  parts.found.hidden = found === null;
  if (found === null) return;
  addTiles("found", found.tiles);
  parts.foundBy.textContent = found.by;
}

function dropLike() {
  like = null;
  if (parts.text.value.trim()) search();
  else {
    found = null;
    drawFound();
    parts.text.focus();
  }
}

// --- sorting -------------------------------------------------------------------------------------

function sort() {
  typed.labels = parts.labels.value;
  typed.none = parts.none.checked;
  typed.multi = parts.multi.checked;
  if (!place.indexed) return;
  parts.sort.setAttribute("aria-busy", "true");
  trigger("sort", { labels: typed.labels, none: typed.none, multi: typed.multi });
}

function hearAnswers(news) {
  if (!news || !data || news.turn < answers?.turn) return;
  parts.sort.removeAttribute("aria-busy");
  if (news.failed) return;
  answers = news;
  only = null;
  order = "uncertain";
  drawAnswers();
}

const nothing = () => (answers.question.none ? data.words.nothing : data.words.no_label);
const labelled = (labels) =>
  labels.length ? labels.map((label) => answers.labels[label]).join(", ") : nothing();
const same = (one, other) => one.length === other.length && one.every((x) => other.includes(x));

function drawAnswers() {
  parts.answers.hidden = answers === null;
  shown.answers = new Map();
  parts.answerTiles.replaceChildren();
  drawNotes(parts.answerNotes, answers?.notes);
  if (answers === null) return;
  const say = data.words;
  const { none, multi } = answers.question;
  parts.order.value = order;
  drawCounts();
  addTiles("answers", answers.tiles);
  parts.answerBy.textContent = answers.by;
  const kind = `kind_${answers.kind}${none && !multi ? "_none" : ""}`;
  parts.kind.textContent = say[kind] ?? say[`kind_${answers.kind}`];
}

function drawCounts() {
  const say = data.words;
  const total = answers.total ?? (answers.total = answers.count);
  const held = parts.counts.contains(document.activeElement)
    ? document.activeElement.dataset.only
    : null;
  const chip = (what, name, amount) =>
    button("count", name, () => filter(what), {
      "aria-pressed": String(only === what),
      "data-only": String(what),
    });
  const rows = [
    [null, say.every, total],
    ...answers.labels.map((name, label) => [label, name, answers.counts[label]]),
    ...(answers.nothing || answers.question.none ? [["none", nothing(), answers.nothing]] : []),
    ["checked", say.corrected, answers.checked],
  ];
  parts.counts.replaceChildren(
    ...rows.map(([what, name, amount]) => {
      const one = chip(what, name, amount);
      one.append(make("span", { class: "amount" }, number(amount)));
      return one;
    }),
  );
  if (held !== null) parts.counts.querySelector(`[data-only="${held}"]`)?.focus();
  parts.checked.textContent = answers.checked
    ? fill(say.checked, { checked: number(answers.checked), changed: number(answers.changed) })
    : "";
}

function filter(what) {
  only = what;
  drawCounts();
  parts.answerTiles.setAttribute("aria-busy", "true");
  trigger("more", { which: "answers", start: 0, only, order, album });
}

// Should the answer be lost, it is asked for once more.
function askMore(which, wish) {
  const list = which === "found" ? found : answers;
  const heard = list?.listed;
  const ask = () => trigger("more", { which, start: shown[which].size, ...wish, album });
  ask();
  setTimeout(() => {
    const now = which === "found" ? found : answers;
    if (list && now === list && list.listed === heard) ask();
  }, 2500);
}

function hearMore(news) {
  if (!news || !data) return;
  const { which, tiles, start } = news;
  const list = which === "found" ? found : answers;
  if (!list || news.turn < list.listed) return;
  if (start > 0 && start !== shown[which].size) return; // it was heard already
  list.listed = news.turn;
  list.count = news.count;
  if (which === "answers" && start === 0) {
    parts.answerTiles.removeAttribute("aria-busy");
    shown.answers = new Map();
    parts.answerTiles.replaceChildren();
  }
  const first = addTiles(which, tiles);
  if (start > 0) first?.focus();
}

// It shows at once; the server keeps it, and counts anew.
function correct(id, labels) {
  const part = shown.answers.get(id);
  part.tile = { ...part.tile, right: labels };
  drawTile("answers", part);
  if (open?.id === id) drawDialog();
  trigger("correct", { picture: id, labels });
}

function hearChecked(news) {
  // Of several that were sent quickly, the newest knows of all of them.
  if (!news || !answers || news.turn < answers.turn) return;
  const { turn, counts, nothing: none, checked, changed } = news;
  answers = { ...answers, turn, counts, nothing: none, checked, changed };
  drawCounts();
}

function save(news) {
  if (!news) return;
  const address = URL.createObjectURL(new Blob([news.text], { type: "text/csv" }));
  make("a", { href: address, download: "mmfm-photos.csv" }).click();
  URL.revokeObjectURL(address);
}

// --- tiles ---------------------------------------------------------------------------------------

// The pictures of a list, added to those that are there; gives back the first of the new ones.
function addTiles(which, tiles) {
  const say = data.words;
  const grid = which === "found" ? parts.foundTiles : parts.answerTiles;
  const fresh = tiles.filter((tile) => !shown[which].has(tile.id));
  const made = fresh.map((tile) => {
    const part = { tile };
    part.image = make("img", { alt: "", "data-thumb": tile.id });
    part.open = button("open", "", () => look(which, tile.id), {
      "aria-label": fill(say.open, { name: tile.name }),
      title: tile.name,
      "data-picture": tile.id,
      tabindex: "-1",
    });
    part.open.append(part.image);
    part.says = make("div", { class: "says" });
    part.frame = make("li", { class: "tile" }, part.open, part.says);
    shown[which].set(tile.id, part);
    dress(part.image, tile.id);
    drawTile(which, part);
    return part;
  });
  grid.append(...made.map((part) => part.frame));
  if (!grid.querySelector(".open[tabindex='0']")) {
    grid.querySelector(".open")?.setAttribute("tabindex", "0");
  }
  const list = which === "found" ? found : answers;
  const there = shown[which].size;
  const left = list.count - there;
  const [more, end] = which === "found" ? [parts.foundMore, parts.foundEnd] : [parts.more, parts.end];
  const full = there >= data.limits.shown;
  more.hidden = left <= 0 || full || !tiles.length;
  more.textContent = fill(say.show_more, { count: number(Math.min(left, data.limits.page)) });
  end.textContent =
    full && left > 0 ? fill(say.shown_most, { most: number(data.limits.shown) }) : "";
  if (which === "found") {
    const values = { shown: number(there), count: number(place.indexed) };
    parts.foundAbout.textContent = fill(say.found, values);
  }
  fetchThumbs();
  return made[0]?.open;
}

function drawTile(which, part) {
  const say = data.words;
  const { tile } = part;
  const name = make("span", { class: "name" }, shortName(tile.name));
  if (which === "found") {
    part.says.replaceChildren(make("span", { class: "score" }, cosine(tile.score)), name);
    return;
  }
  const now = tile.right ?? tile.said;
  const changed = tile.right !== null && !same(tile.right, tile.said);
  const held = part.says.contains(document.activeElement)
    ? document.activeElement.className
    : null;
  part.frame.classList.toggle("checked", tile.right !== null);
  part.frame.classList.toggle("changed", changed);
  part.frame.classList.toggle("empty", !now.length);
  const score = tile.said.length
    ? tile.scores.find(([label]) => label === tile.said[0])?.[1] ?? 0
    : tile.none;
  const line = make("b", { class: "label" }, labelled(now));
  if (changed) line.append(" ", make("s", {}, labelled(tile.said)));
  else line.append(" ", make("span", { class: "score" }, percent(score)));
  const actions = make("div", { class: "actions" });
  if (tile.right === null) {
    const right = fill(say.right, { label: labelled(tile.said) });
    actions.append(
      button("yes", "✓", () => correct(tile.id, tile.said), { "aria-label": right, title: right }),
    );
    const rival = swapped(tile);
    if (rival) {
      const text = rival.length ? fill(say.or, { label: labelled(rival) }) : say.or_none;
      const long = fill(say.is_right, { label: labelled(rival) });
      actions.append(
        button("no", text, () => correct(tile.id, rival), { "aria-label": long, title: long }),
      );
    }
  } else {
    actions.append(button("back", say.take_back, () => correct(tile.id, null)));
  }
  part.says.replaceChildren(line, name, actions);
  if (held !== null) (actions.querySelector(`.${held}`) ?? actions.firstChild)?.focus();
}

// The answer that is most likely right if the first is wrong.
function swapped(tile) {
  if (answers.question.multi) {
    const without = tile.said.filter((label) => label !== tile.rival);
    return without.length < tile.said.length ? without : [...tile.said, tile.rival];
  }
  if (tile.rival < 0) return answers.question.none && tile.said.length ? [] : null;
  return tile.said.includes(tile.rival) ? null : [tile.rival];
}

function dress(image, id) {
  const address = thumbs.get(id);
  if (address === undefined) {
    if (!wanted.includes(id)) wanted.push(id);
    return;
  }
  if (address === "") {
    image.closest(".tile")?.classList.add("gone");
    image.alt = data.words.gone;
    return;
  }
  image.src = address;
  image.classList.toggle("coarse", address.startsWith("data:image/png"));
}

function fetchThumbs() {
  if (fetching || !wanted.length) return;
  const pictures = wanted.splice(0, 18);
  const of = album;
  trigger("thumbs", { pictures, album });
  // Should the answer be lost, they are asked for once more.
  fetching = setTimeout(() => {
    fetching = null;
    if (of === album) wanted.push(...pictures.filter((id) => !thumbs.has(id)));
    fetchThumbs();
  }, 15000);
}

function hearThumbs(news) {
  if (!news || !data) return;
  clearTimeout(fetching);
  fetching = null;
  if (news.album === album) {
    for (const [id, address] of Object.entries(news.small)) {
      thumbs.set(Number(id), address);
      host.querySelectorAll(`img[data-thumb="${id}"]`).forEach((image) => dress(image, Number(id)));
    }
  }
  fetchThumbs();
}

function onKey(which, event) {
  const tiles = [...shown[which].values()];
  const at = tiles.findIndex(({ open: face }) => face === event.target);
  if (at < 0) return;
  const top = tiles[at].frame.offsetTop;
  const columns = tiles.filter(({ frame }) => Math.abs(frame.offsetTop - top) < 2).length;
  const goes = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: 0,
    End: tiles.length - 1,
  };
  const to = goes[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (tiles[to]) walk(which, tiles[to]);
}

function walk(which, part) {
  for (const { open: face } of shown[which].values()) face.tabIndex = -1;
  part.open.tabIndex = 0;
  part.open.focus();
}

// --- one picture ---------------------------------------------------------------------------------

function look(which, id) {
  open = { which, id };
  drawDialog();
  if (!parts.dialog.open) parts.dialog.showModal();
  if (large?.picture !== id) trigger("look", { picture: id });
}

function step(by) {
  const ids = [...shown[open.which].keys()];
  const next = ids[ids.indexOf(open.id) + by];
  if (next !== undefined) look(open.which, next);
}

function hearLarge(news) {
  if (!news) return;
  large = news;
  if (open) drawDialog();
}

function drawDialog() {
  const say = data.words;
  const part = shown[open.which].get(open.id);
  if (!part) return;
  const { tile } = part;
  const ids = [...shown[open.which].keys()];
  const at = ids.indexOf(open.id);
  const mine = large?.picture === open.id;
  const address = mine && large.data ? large.data : thumbs.get(open.id);
  parts.seen.classList.toggle("waiting", !mine);
  if (address) parts.seen.src = address;
  else parts.seen.removeAttribute("src");
  parts.seen.classList.toggle("coarse", Boolean(address?.startsWith("data:image/png")));
  parts.seen.alt = mine && !large.data ? say.gone : "";
  parts.seenName.textContent = tile.name;
  const list = open.which === "found" ? found : answers;
  const values = { number: number(at + 1), count: number(list.count) };
  parts.seenPlace.textContent = fill(say.place_of, values);
  parts.previous.disabled = at <= 0;
  parts.next.disabled = at >= ids.length - 1;
  const sorting = open.which === "answers";
  parts.which.hidden = !sorting;
  parts.seenScore.hidden = sorting;
  if (!sorting) {
    parts.seenScore.textContent = fill(say.cosine, { cosine: cosine(tile.score) });
    return;
  }
  const { multi, none } = answers.question;
  const now = tile.right ?? tile.said;
  parts.whichName.textContent = multi ? say.which_several : say.which;
  const choices = tile.scores.map(([label, score]) => ({ label, score }));
  if (none || !now.length) {
    const before = choices.findIndex(({ score }) => score < tile.none);
    choices.splice(before < 0 ? choices.length : before, 0, { label: -1, score: tile.none });
  }
  const held = parts.choices.contains(document.activeElement)
    ? document.activeElement.dataset.label
    : null;
  parts.choices.replaceChildren(
    ...choices.map(({ label, score }, key) => {
      const on = label < 0 ? !now.length : now.includes(label);
      const name = label < 0 ? nothing() : answers.labels[label];
      const pressed = String(on && tile.right !== null);
      const choice = button("choice", "", () => say_so(tile, label), {
        "aria-pressed": pressed,
        "data-label": label,
        class: on ? "choice on" : "choice",
        "aria-label": `${fill(say.is_right, { label: name })} (${percent(score)})`,
      });
      choice.append(
        make("kbd", { "aria-hidden": "true" }, key < 9 ? String(key + 1) : ""),
        make("span", { class: "label" }, name),
        make("span", { class: "track" }, make("i", { style: { width: `${score * 100}%` } })),
        make("span", { class: "score" }, percent(score)),
      );
      return choice;
    }),
  );
  if (held !== null) parts.choices.querySelector(`[data-label="${held}"]`)?.focus();
  parts.saysModel.textContent =
    tile.right !== null ? fill(say.says, { label: labelled(tile.said) }) : "";
  parts.takeBack.hidden = tile.right === null;
}

// What a person says of the picture in the dialog; where several apply, a label more or less.
function say_so(tile, label) {
  const { multi } = answers.question;
  const now = tile.right ?? tile.said;
  if (label < 0) correct(tile.id, []);
  else if (!multi) correct(tile.id, [label]);
  else correct(tile.id, now.includes(label) ? now.filter((x) => x !== label) : [...now, label]);
}

function onDialogKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
  else if (/^[1-9]$/.test(event.key) && open?.which === "answers") {
    parts.choices.children[Number(event.key) - 1]?.click();
  } else return;
  event.preventDefault();
}

// --- building ------------------------------------------------------------------------------------

function drawNotes(node, notes) {
  node.replaceChildren(...(notes ?? []).map((line) => make("p", { class: "trouble" }, line)));
}

function choose(wanted_way, focus = false) {
  way = wanted_way;
  for (const name of ["search", "sort"]) {
    const on = name === way;
    parts.tabs[name].setAttribute("aria-selected", String(on));
    parts.tabs[name].tabIndex = on ? 0 : -1;
    parts[name].hidden = !on;
  }
  if (focus) parts.tabs[way].focus();
}

// Keep the address a link to this model in the other language; what is in a folder stays here.
function note() {
  const address = new URL(window.location.href);
  address.searchParams.set("model", data.model);
  window.history.replaceState(window.history.state, "", address);
  const language = document.getElementById("language");
  if (language) {
    address.searchParams.set("lang", language.lang);
    language.href = address.search;
  }
}

function build() {
  const say = data.words;
  parts = {};

  parts.places = make("div", { class: "places", role: "group", "aria-label": say.folder });
  parts.trail = make("nav", { class: "trail", "aria-label": say.folder });
  parts.inside = make("div", { class: "inside", role: "group", "aria-label": say.folders });
  parts.bar = make("progress", { "aria-label": say.index.replace("{count} ", "") });
  parts.state = make("p", { class: "state" });
  parts.told = make("p", { class: "unseen", "aria-live": "polite" });
  parts.go = button("go", "", work);
  parts.halt = button("halt", say.stop, halt);
  parts.note = make("p", { class: "note" });
  parts.failedCount = make("summary", {});
  parts.failedList = make("ul", {});
  parts.failed = make("details", { class: "failed" }, parts.failedCount, parts.failedList);
  parts.folder = make(
    "section",
    { class: "card folder" },
    make("h2", {}, say.folder),
    parts.places,
    parts.trail,
    parts.inside,
    make(
      "div",
      { class: "index" },
      make("div", { class: "gauge" }, parts.state, parts.bar),
      parts.go,
      parts.halt,
    ),
    parts.told,
    parts.failed,
    parts.note,
  );

  const onEnter = (action) => (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    action();
  };
  const field = (name, hint, action) => {
    parts[name] = make("input", {
      id: `photos_${name}`,
      type: "text",
      maxlength: data.limits.text,
      placeholder: hint,
      spellcheck: "false",
      autocomplete: "off",
      on: { keydown: onEnter(action) },
    });
    parts[name].value = typed[name] ?? "";
    return make(
      "div",
      { class: `field ${name}` },
      make("label", { for: `photos_${name}` }, say[name]),
      parts[name],
    );
  };
  parts.like = make("div", { class: "like" });
  parts.searchGo = button("ask", say.search, search);
  parts.foundNotes = make("div", { class: "troubles", "aria-live": "polite" });
  parts.foundAbout = make("p", { class: "about", "aria-live": "polite" });
  parts.foundTiles = make("ul", {
    class: "tiles",
    on: { keydown: (event) => onKey("found", event) },
  });
  parts.foundMore = button("more", "", () => askMore("found", {}));
  parts.foundEnd = make("p", { class: "note" });
  parts.foundBy = make("p", { class: "note by" });
  parts.found = make(
    "div",
    { class: "results" },
    parts.foundAbout,
    parts.foundTiles,
    parts.foundMore,
    parts.foundEnd,
    make("p", { class: "note" }, say.found_note),
    parts.foundBy,
  );
  const textField = field("text", say.text_hint, search);
  const minusField = field("minus", say.minus_hint, search);
  parts.search = make(
    "div",
    { class: "panel", role: "tabpanel", id: "photos_search_panel", "aria-labelledby": "tab_search" },
    make("div", { class: "asking" }, parts.like, textField, minusField, parts.searchGo),
    parts.foundNotes,
    parts.found,
  );

  parts.labels = make("textarea", {
    id: "photos_labels",
    rows: 2,
    maxlength: data.limits.labels,
    spellcheck: "false",
    autocomplete: "off",
    "aria-describedby": "photos_labels_hint",
    on: { keydown: onEnter(sort) },
  });
  parts.labels.value = typed.labels ?? "";
  const flag = (name) => {
    parts[name] = make("input", { type: "checkbox", role: "switch", id: `photos_${name}` });
    parts[name].checked = typed[name];
    return make("label", { class: "flag", for: `photos_${name}` }, parts[name], say[name]);
  };
  const flags = make("div", { class: "flags" }, flag("none"), flag("multi"));
  parts.sortGo = button("ask", say.sort, sort);
  parts.answerNotes = make("div", { class: "troubles", "aria-live": "polite" });
  parts.counts = make("div", { class: "counts", role: "group", "aria-label": say.show });
  parts.order = make(
    "select",
    {
      id: "photos_order",
      on: {
        change: () => {
          order = parts.order.value;
          filter(only);
        },
      },
    },
    ...["uncertain", "sure", "folder"].map((value) =>
      make("option", { value }, say[`order_${value}`]),
    ),
  );
  parts.export = button("export", say.export, () => trigger("export", {}));
  parts.checked = make("p", { class: "checked", "aria-live": "polite" });
  parts.answerTiles = make("ul", {
    class: "tiles",
    on: { keydown: (event) => onKey("answers", event) },
  });
  parts.more = button("more", "", () =>
    askMore("answers", { only, order }),
  );
  parts.end = make("p", { class: "note" });
  parts.kind = make("p", { class: "note" });
  parts.answerBy = make("p", { class: "note by" });
  parts.answers = make(
    "div",
    { class: "results" },
    parts.counts,
    make(
      "div",
      { class: "line tools" },
      make("label", { class: "caption", for: "photos_order" }, say.order),
      parts.order,
      parts.checked,
      parts.export,
    ),
    make("p", { class: "note" }, say.answers_note),
    parts.answerTiles,
    parts.more,
    parts.end,
    parts.kind,
    parts.answerBy,
  );
  parts.sort = make(
    "div",
    { class: "panel", role: "tabpanel", id: "photos_sort_panel", "aria-labelledby": "tab_sort" },
    make(
      "div",
      { class: "asking" },
      make(
        "div",
        { class: "field labels" },
        make("label", { for: "photos_labels" }, say.labels),
        parts.labels,
        make("p", { class: "note", id: "photos_labels_hint" }, say.labels_hint),
      ),
      make("div", { class: "field" }, flags, parts.sortGo),
    ),
    parts.answerNotes,
    parts.answers,
  );
  parts.first = make("p", { class: "first-of-all" }, say.first_index);
  parts.tabs = {};
  for (const name of ["search", "sort"]) {
    parts.tabs[name] = button("tab", say[`way_${name}`], () => choose(name), {
      role: "tab",
      id: `tab_${name}`,
      "aria-controls": `photos_${name}_panel`,
    });
  }
  const ways = make(
    "section",
    { class: "card ways" },
    make(
      "div",
      {
        class: "tabs",
        role: "tablist",
        "aria-label": say.ways,
        on: {
          keydown: (event) => {
            if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
            event.preventDefault();
            choose(way === "search" ? "sort" : "search", true);
          },
        },
      },
      parts.tabs.search,
      parts.tabs.sort,
    ),
    parts.first,
    parts.search,
    parts.sort,
  );

  parts.seen = make("img", { class: "seen", alt: "" });
  parts.seenName = make("p", { class: "path" });
  parts.seenPlace = make("span", { class: "caption" });
  parts.seenScore = make("p", { class: "cosine" });
  parts.previous = button("previous", "‹", () => step(-1), {
    "aria-label": say.previous,
    title: say.previous,
  });
  parts.next = button("next", "›", () => step(1), { "aria-label": say.next, title: say.next });
  parts.whichName = make("h3", {});
  parts.choices = make("div", { class: "choices", role: "group" });
  parts.saysModel = make("span", { class: "note" });
  parts.takeBack = button("back", say.take_back, () => correct(open.id, null));
  parts.which = make(
    "div",
    { class: "which" },
    parts.whichName,
    parts.choices,
    make("div", { class: "line" }, parts.takeBack, parts.saysModel),
    make("p", { class: "note keys" }, say.keys),
  );
  parts.dialog = make(
    "dialog",
    {
      "aria-label": say.open.replace("{name}", "").trim(),
      on: {
        keydown: onDialogKey,
        close: () => {
          const part = open && shown[open.which].get(open.id);
          const which = open?.which;
          open = null;
          if (part) walk(which, part);
        },
        click: (event) => {
          if (event.target === parts.dialog) parts.dialog.close();
        },
      },
    },
    make(
      "div",
      { class: "box" },
      make("div", { class: "view" }, parts.seen),
      make(
        "div",
        { class: "side" },
        make(
          "div",
          { class: "line" },
          parts.previous,
          parts.seenPlace,
          parts.next,
          button("close", "×", () => parts.dialog.close(), {
            "aria-label": say.close,
            title: say.close,
          }),
        ),
        parts.seenName,
        parts.seenScore,
        parts.which,
        button("like-this", say.more_like, () => {
          const { id } = open;
          parts.dialog.close();
          searchLike(id);
        }),
      ),
    ),
  );
  host.lang = data.lang;
  host.replaceChildren(parts.folder, ways, parts.dialog);
  choose(way);
}

function arrive() {
  if (!props.value) return;
  const before = data;
  data = props.value;
  document.documentElement.lang = data.lang;
  document.title = data.words.title;
  if (before) {
    for (const name of ["text", "minus", "labels"]) typed[name] = parts[name].value;
    for (const name of ["none", "multi"]) typed[name] = parts[name].checked;
    // What nobody has changed is offered in the other language.
    for (const name of ["text", "minus", "labels"]) {
      if (typed[name] === before.opening[name]) typed[name] = data.opening[name];
    }
  }
  const other = !before || before.model !== data.model;
  if (other) progress = null;
  build();
  note();
  const kept = { found: data.found, answers: data.answers };
  const first = place === undefined;
  if (first || other) {
    place = undefined;
    arrivePlace(data.place);
    return;
  }
  // The same folder in another language: what was found stays.
  place = data.place;
  drawPlace();
  drawIndex();
  found = kept.found;
  answers = kept.answers;
  if (answers) only = null;
  drawFound();
  drawAnswers();
}

watch("value", arrive);
watch("place", () => props.place && arrivePlace(props.place));
watch("progress", () => hearProgress(props.progress));
watch("found", () => hearFound(props.found));
watch("answers", () => hearAnswers(props.answers));
watch("more", () => hearMore(props.more));
watch("thumbs", () => hearThumbs(props.thumbs));
watch("large", () => hearLarge(props.large));
watch("checked", () => hearChecked(props.checked));
watch("table", () => save(props.table));
arrive();
