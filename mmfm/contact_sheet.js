// The program of the pages that contact_sheet.py writes: draws, filters, orders, keeps corrections.
// All that a user named is set as text, never as HTML. Rows are drawn as one scrolls to them.
"use strict";
(() => {
  const data = (id) => JSON.parse(document.getElementById(id).textContent);
  const page = data("page");
  const rows = data("rows");
  const failed = data("failed");
  const thumbnails = new Map();
  for (const part of document.querySelectorAll("script.thumbnails")) {
    for (const [row, small] of Object.entries(JSON.parse(part.textContent))) {
      thumbnails.set(Number(row), small);
    }
  }

  // What stands where in a row; thumbnails and corrections go by the number of the row.
  const [FOLDER, NAME] = [0, 1];
  const [MARGIN, RIVAL, ANSWERS, BARS] = [2, 3, 4, 5]; // of an answer
  const [SCORE, BYTES, WIDE, TALL, CHANGED, GROUP] = [2, 3, 4, 5, 6, 7]; // of a hit
  const answers = page.kind === "answers";
  const LINK = answers ? 6 : 8; // only where the name is no text
  const NONE = 0; // the number of "none of these" among the labels
  const PORTION = 60;
  const FEW = 24; // labels that are shown at once
  const IN_CARD = 3; // bars
  const IN_LARGE = 12;

  let words = page.words[navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en"];
  const count = (n) => n.toLocaleString("en");
  const say = (key, values = {}) =>
    words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  // --- one row -----------------------------------------------------------------------------------

  const path = (row) => page.folders[row[FOLDER]] + row[NAME];
  const link = (row) =>
    row[NAME] && page.links[row[FOLDER]] + (row[LINK] ?? encodeURIComponent(row[NAME]));
  const label = (number) => (number === NONE ? say("none") : page.labels[number]);
  const listed = (numbers) => (numbers.length ? numbers : [NONE]).map(label).join(", ");
  const narrow = (row) => row[MARGIN] < page.narrow * 10000;

  function bars(row) {
    const flat = row[BARS];
    const pairs = [];
    for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i], flat[i + 1] / 10000]);
    return pairs;
  }
  function score(row) {
    if (!answers) return row[SCORE];
    const flat = row[BARS];
    const first = row[ANSWERS].length ? row[ANSWERS][0] : NONE;
    for (let i = 0; i < flat.length; i += 2) if (flat[i] === first) return flat[i + 1] / 10000;
    return 0;
  }
  // Never 0 or 100 %: nothing here is certain.
  function percent(score) {
    if (score >= 0.01 && score < 0.99) return `${Math.round(score * 100)}%`;
    return `${(Math.min(Math.max(score, 0.001), 0.999) * 100).toFixed(1)}%`;
  }
  const said = (row) => (answers ? percent(score(row)) : row[SCORE].toFixed(3));

  // --- corrections -------------------------------------------------------------------------------

  // A browser keeps them until they are taken back; where it keeps nothing, it asks before leaving.
  const shelf = `mmfm-report-${page.id}`;
  const right = new Map(); // row -> labels that a person said are right
  let kept = true;
  function keep() {
    try {
      localStorage.setItem(shelf, JSON.stringify([...right]));
    } catch {
      kept = false;
    }
  }
  function fetchKept() {
    try {
      for (const [row, labels] of JSON.parse(localStorage.getItem(shelf) ?? "[]")) {
        right.set(row, labels);
      }
    } catch {
      kept = false;
    }
  }
  window.addEventListener("beforeunload", (event) => {
    if (!kept && right.size) event.preventDefault();
  });

  const same = (some, others) => [...some].sort().join() === [...others].sort().join();
  const corrected = (index) => !same(right.get(index), rows[index][ANSWERS]);

  function press(index, number) {
    const before = right.get(index);
    if (number === null) right.delete(index);
    else if (page.each && number !== NONE) {
      const now = new Set(before ?? rows[index][ANSWERS]);
      // The first press on the model's own label says that it is right.
      if (before === undefined && now.has(number)) right.set(index, [...now]);
      else {
        if (!now.delete(number)) now.add(number);
        right.set(index, [...now]);
      }
    } else {
      const now = number === NONE ? [] : [number];
      if (before !== undefined && same(before, now)) right.delete(index);
      else right.set(index, now);
    }
    keep();
    const card = grid.querySelector(`[data-row="${index}"]`);
    if (card) {
      const focused = card.contains(document.activeElement) && document.activeElement.dataset.key;
      const anew = drawCard(index);
      card.replaceWith(anew);
      if (focused) anew.querySelector(`[data-key="${focused}"]`)?.focus();
    }
    drawShow();
    drawSave();
    if (large.open) drawLarge();
  }

  function table() {
    const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const lines = [["path", "label", "labels", "score", "score_kind", "error", "said"]];
    for (const [index, labels] of [...right].sort((a, b) => a[0] - b[0])) {
      const row = rows[index];
      const names = labels.map((number) => page.labels[number]);
      const number = labels.length ? labels[0] : NONE;
      const found = bars(row).find(([other]) => other === number);
      const modelSaid = row[ANSWERS].map((number) => page.labels[number]).join("|");
      lines.push([path(row), names[0] ?? "", names.join("|"), found ? String(found[1]) : ""]);
      lines.at(-1).push(page.score_kind, "", modelSaid);
    }
    return "\ufeff" + lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
  }
  function save() {
    const address = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    make("a", { href: address, download: "corrections.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  // --- which rows, in which order ----------------------------------------------------------------

  const wish = { show: "all", labels: new Set(), low: 0, high: 100, text: "", order: "" };
  const orders = { answers: ["uncertain", "sure", "name", "folder"] }[page.kind] ?? [];
  if (page.kind === "hits") orders.push("score", "name", "folder");
  if (page.kind === "groups") orders.push("given");
  wish.order = orders[0];

  // File names from a Mac write Korean letters in pieces; what is typed comes whole.
  const plain = (text) => text.normalize("NFC").toLowerCase();
  let names = null;
  const perLabel = new Map();
  for (const row of answers ? rows : []) {
    const numbers = row[ANSWERS].length ? row[ANSWERS] : [NONE];
    for (const number of numbers) perLabel.set(number, (perLabel.get(number) ?? 0) + 1);
  }
  const known = [...perLabel.keys()].sort(
    (a, b) => (a === NONE) - (b === NONE) || perLabel.get(b) - perLabel.get(a),
  );
  const uncertain = answers ? rows.reduce((sum, row) => sum + narrow(row), 0) : 0;

  const groups = new Map(); // its number -> how many pixels each of its pictures has
  for (const row of page.kind === "groups" ? rows : []) {
    if (!groups.has(row[GROUP])) groups.set(row[GROUP], []);
    groups.get(row[GROUP]).push(row[WIDE] * row[TALL]);
  }

  const ranks = {};
  function rank(order) {
    if (ranks[order]) return ranks[order];
    const { compare } = new Intl.Collator(undefined, { numeric: true });
    const folders = page.folders.map((_, i) => i);
    folders.sort((a, b) => compare(page.folders[a], page.folders[b]));
    const place = new Uint32Array(folders.length);
    folders.forEach((folder, i) => (place[folder] = i));
    const byFolder = (a, b) => place[rows[a][FOLDER]] - place[rows[b][FOLDER]];
    const byName = (a, b) => compare(rows[a][NAME], rows[b][NAME]);
    const all = rows.map((_, i) => i);
    if (order === "folder") all.sort((a, b) => byFolder(a, b) || byName(a, b));
    if (order === "name") all.sort((a, b) => byName(a, b) || byFolder(a, b));
    if (order === "uncertain") all.sort((a, b) => rows[a][MARGIN] - rows[b][MARGIN]);
    if (order === "sure") all.sort((a, b) => rows[b][MARGIN] - rows[a][MARGIN]);
    if (order === "score") all.sort((a, b) => rows[b][SCORE] - rows[a][SCORE]);
    return (ranks[order] = all);
  }

  function wanted(index) {
    const row = rows[index];
    if (wish.show === "uncertain" && !narrow(row)) return false;
    if (wish.show === "checked" && !right.has(index)) return false;
    if (wish.labels.size) {
      const own = row[ANSWERS].length ? row[ANSWERS] : [NONE];
      if (!own.some((number) => wish.labels.has(number))) return false;
    }
    if (wish.low > 0 || wish.high < 100) {
      const percents = score(row) * 100;
      if (percents < wish.low || percents > wish.high) return false;
    }
    if (!wish.text) return true;
    names ??= rows.map((row) => plain(row[NAME]));
    return names[index].includes(wish.text);
  }

  // --- the page ----------------------------------------------------------------------------------

  const title = make("h1");
  const about = make("p", { id: "about", textContent: page.about });
  const notes = make("details");
  const language = make("button", { id: "language", onclick: changeLanguage });
  const show = make("div", { className: "line", id: "show", role: "group" });
  const labels = make("div", { className: "line", id: "labels", role: "group" });
  const filters = make("div", { className: "line", id: "filters" });
  const shown = make("span", { id: "shown", role: "status" });
  const grid = make("div", { id: "grid" });
  const end = make("div", { id: "end" });
  const saveBar = make("div", { id: "save-bar", hidden: true });
  const large = make("dialog", { id: "large" });
  document.body.append(
    make("header", {}, make("div", {}, title, about, notes), language),
    make("div", { id: "tools" }, make("div", {}, show, labels, filters)),
    make("main", {}, grid, end),
    saveBar,
    large,
  );

  function changeLanguage() {
    words = page.words[words === page.words.ko ? "en" : "ko"];
    draw();
  }

  function draw() {
    document.documentElement.lang = words === page.words.ko ? "ko" : "en";
    language.textContent = say("other_language");
    language.lang = words === page.words.ko ? "en" : "ko";
    drawTop();
    drawShow();
    drawLabels();
    drawFilters();
    drawSave();
    choose();
  }

  function drawTop() {
    const number = say(page.kind, { n: count(rows.length), groups: count(groups.size) });
    title.textContent = answers ? number : page.title;
    document.title = `${number} · ${page.title}`;
    about.textContent = [answers ? "" : number, page.about].filter(Boolean).join(" · ");
    const some = { n: count(page.thumbnails), all: count(rows.length) };
    const few = answers ? "thumbnails_some" : "thumbnails_first";
    const limit = page.limited ? say(few, some) : say("thumbnails_all");
    const lines = [];
    if (page.means) {
      const by = page.each ? page.narrow : `${Math.round(page.narrow * 100)}%`;
      lines.push(say("kind", { means: page.means[words === page.words.ko ? "ko" : "en"] }));
      lines.push(say(page.each ? "uncertain_each" : "uncertain_among", { narrow: by }));
      lines.push(say("sure_note"), say("correct_note"));
    }
    if (page.kind === "hits") lines.push(say("score_of_hits"));
    lines.push(limit, say("links_note"));
    const said = lines.map((line) => make("p", { textContent: line }));
    notes.replaceChildren(make("summary", { textContent: say(answers ? "about" : "about_sheet") }), ...said);
  }

  function chip(text, number, pressed, onclick) {
    const inside = [make("span", { textContent: text }), make("small", { textContent: number })];
    const chip = make("button", { className: "chip", title: text, onclick }, ...inside);
    chip.setAttribute("aria-pressed", pressed);
    return chip;
  }

  function drawShow() {
    const parts = { all: rows.length };
    if (answers) Object.assign(parts, { uncertain, checked: right.size, failed: failed.length });
    const there = Object.entries(parts).filter(([key, n]) => n || ["all", wish.show].includes(key));
    show.hidden = there.length < 2;
    const focused = show.contains(document.activeElement) && document.activeElement.dataset.key;
    const chips = there.map(([key, n]) => {
      const one = chip(say(key), count(n), wish.show === key, () => {
        wish.show = key;
        drawShow();
        drawFilters();
        choose();
      });
      one.dataset.key = key;
      return one;
    });
    show.setAttribute("aria-label", say("show"));
    show.replaceChildren(make("b", { textContent: say("show") }), ...chips);
    if (focused) show.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  let allLabels = false;
  function drawLabels() {
    labels.hidden = !answers || known.length < 2;
    labels.setAttribute("aria-label", say("labels"));
    const some = allLabels ? known : known.slice(0, FEW);
    const chips = some.map((number) => {
      const on = () => wish.labels.has(number);
      const one = chip(label(number), count(perLabel.get(number)), on(), () => {
        if (!wish.labels.delete(number)) wish.labels.add(number);
        one.setAttribute("aria-pressed", on());
        if (wish.show === "failed") wish.show = "all";
        drawShow();
        choose();
      });
      return one;
    });
    if (known.length > FEW) {
      const rest = count(known.length - FEW);
      const textContent = allLabels ? say("fewer_labels") : say("more_labels", { n: rest });
      const onclick = () => {
        allLabels = !allLabels;
        drawLabels();
        labels.querySelector(".quiet").focus();
      };
      chips.push(make("button", { className: "chip quiet", textContent, onclick }));
    }
    labels.classList.toggle("all", allLabels);
    labels.replaceChildren(make("b", { textContent: say("labels") }), ...chips);
  }

  let waiting = 0;
  function soon(work) {
    clearTimeout(waiting);
    waiting = setTimeout(work, 150);
  }

  function drawFilters() {
    const order = make("select", { id: "order", onchange: () => ((wish.order = order.value), choose()) });
    for (const value of orders) {
      order.append(make("option", { value, textContent: say(`order_${value}`) }));
    }
    order.value = wish.order;
    const text = make("input", { id: "text", type: "search", value: wish.text });
    text.oninput = () => soon(() => ((wish.text = plain(text.value)), choose()));
    const parts = [
      orders.length > 1 ? make("label", {}, make("span", { textContent: say("order") }), order) : null,
      make("label", {}, make("span", { textContent: say("name") }), text),
      answers && rows.length ? range() : null,
      shown,
    ];
    filters.replaceChildren(...parts.filter(Boolean));
  }

  function range() {
    const output = make("output");
    const track = make("div");
    const told = () => {
      output.textContent = `${wish.low}–${wish.high}%`;
      for (const key of ["low", "high"]) track.style.setProperty(`--${key}`, `${wish[key]}%`);
    };
    const slider = (key, name) => {
      const one = make("input", { type: "range", min: 0, max: 100, value: wish[key], id: key });
      one.setAttribute("aria-label", say(name));
      one.oninput = () => {
        const value = Number(one.value);
        wish[key] = key === "low" ? Math.min(value, wish.high) : Math.max(value, wish.low);
        one.value = wish[key];
        told();
        soon(choose);
      };
      return one;
    };
    told();
    const both = [slider("low", "score_from"), slider("high", "score_to")];
    const name = make("span", { textContent: say("score") });
    track.append(histogram(), ...both);
    return make("div", { className: "range" }, name, track, output);
  }

  // How many pictures have which score.
  function histogram() {
    const heaps = new Array(27).fill(0);
    for (const row of rows) heaps[Math.min(26, Math.floor(score(row) * 27))] += 1;
    const highest = Math.max(...heaps);
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("viewBox", "0 0 27 1");
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("aria-hidden", "true");
    heaps.forEach((heap, i) => {
      const tall = heap ? Math.max(0.08, heap / highest) : 0;
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const sizes = { x: i + 0.1, y: 1 - tall, width: 0.8, height: tall };
      for (const [name, value] of Object.entries(sizes)) bar.setAttribute(name, value);
      drawing.append(bar);
    });
    return drawing;
  }

  function drawSave() {
    const changed = [...right.keys()].filter(corrected).length;
    const textContent = say("corrections", { n: count(right.size), changed: count(changed) });
    const button = make("button", { className: "main", textContent: say("save"), onclick: save });
    saveBar.hidden = right.size === 0;
    const inside = make("div", {}, make("span", { textContent, role: "status" }), button);
    saveBar.replaceChildren(inside);
  }

  // --- the pictures ------------------------------------------------------------------------------

  let chosen = [];
  let drawn = 0;
  function choose() {
    const lists = wish.show === "failed";
    if (lists) {
      chosen = failed.map((_, i) => i);
      if (wish.text) chosen = chosen.filter((i) => plain(failed[i][0]).includes(wish.text));
    } else {
      const all = wish.order === "given" ? rows.map((_, i) => i) : rank(wish.order);
      chosen = all.filter(wanted);
    }
    const total = lists ? failed.length : rows.length;
    shown.textContent = say("shown", { n: count(chosen.length), all: count(total) });
    grid.className = lists ? "list" : "";
    drawn = 0;
    grid.replaceChildren();
    if (!chosen.length) {
      const again = make("button", { textContent: say("reset"), onclick: reset });
      const nothing = make("p", { textContent: say("nothing") });
      grid.append(make("div", { className: "empty" }, nothing, again));
    }
    more();
  }
  function reset() {
    Object.assign(wish, { show: "all", labels: new Set(), low: 0, high: 100, text: "" });
    draw();
  }

  function more() {
    const part = document.createDocumentFragment();
    const last = Math.min(chosen.length, drawn + PORTION);
    for (; drawn < last; drawn += 1) {
      const index = chosen[drawn];
      if (wish.show === "failed") {
        const [file, why] = failed[index];
        const reason = make("span", { textContent: why });
        part.append(make("p", {}, make("b", { textContent: file }), " ", reason));
        continue;
      }
      const heading = drawHeading(rows[index], drawn ? rows[chosen[drawn - 1]] : null);
      if (heading) part.append(heading);
      part.append(drawCard(index));
    }
    grid.append(part);
    // Asked anew each time, for one who has scrolled far the end may still be in sight.
    watch.unobserve(end);
    if (drawn < chosen.length) watch.observe(end);
  }
  const watch = new IntersectionObserver(
    (seen) => seen.some((one) => one.isIntersecting) && more(),
    { rootMargin: "800px" },
  );

  function drawHeading(row, before) {
    if (page.kind === "groups" && row[GROUP] !== before?.[GROUP]) {
      const of = count(groups.get(row[GROUP]).length);
      const about = [say("group_of", { n: of })];
      if (page.same_bytes.includes(row[GROUP])) about.push(say("same_bytes"));
      const small = make("small", { textContent: ` ${about.join(", ")}` });
      return make("h2", {}, say("group", { n: count(row[GROUP]) }), small);
    }
    if (wish.order === "folder" && row[FOLDER] !== before?.[FOLDER]) {
      return make("h2", { textContent: page.folders[row[FOLDER]] || "./" });
    }
    return null;
  }

  function drawCard(index) {
    const row = rows[index];
    const small = thumbnails.get(index);
    const picture = small
      ? make("img", { src: `data:image/jpeg;base64,${small}`, alt: "", decoding: "async" })
      : make("span", { textContent: say("no_thumbnail") });
    const open = make("button", { className: "open", title: path(row) }, picture);
    open.setAttribute("aria-label", say("open", { name: row[NAME] }));
    open.dataset.key = "open";
    open.onclick = () => look(index);
    const inside = make("div", { className: "said" });
    if (answers) inside.append(drawHead(index), drawBars(index, IN_CARD));
    else inside.append(drawFacts(row));
    inside.append(drawLink(row, row[NAME]));
    const card = make("article", { className: "card" }, open, inside);
    card.classList.toggle("checked", right.has(index));
    card.classList.toggle("bare", !small);
    card.dataset.row = index;
    return card;
  }

  function drawLink(row, textContent) {
    const address = link(row);
    if (!address) return make("span", { className: "where", textContent });
    const place = { className: "where", href: address, target: "_blank", rel: "noreferrer" };
    return make("a", { ...place, textContent, title: path(row) });
  }

  function drawHead(index) {
    const row = rows[index];
    const head = make("div", { className: "head" });
    const own = listed(row[ANSWERS]);
    if (right.has(index)) {
      const now = listed(right.get(index));
      if (corrected(index)) head.append(make("s", { textContent: own }));
      head.append(make("b", { className: "done", textContent: `✓ ${now}` }));
      return head;
    }
    head.append(make("b", { textContent: own }), make("span", { textContent: said(row) }));
    if (narrow(row) && row[RIVAL] !== null) {
      const textContent = say(page.each ? "near" : "or", { label: label(row[RIVAL]) });
      head.append(make("em", { textContent, title: page.each ? say("near_note") : "" }));
    }
    return head;
  }

  function drawBars(index, most, keys = false) {
    const row = rows[index];
    const now = right.get(index);
    const list = make("ul", { className: "bars" });
    const own = row[ANSWERS].length ? row[ANSWERS] : [NONE];
    const pressed = now === undefined ? [] : now.length ? now : [NONE];
    const pairs = bars(row);
    const shown = pairs.slice(0, Math.max(most, own.length));
    // What a person chose is seen, whatever the model thinks of it.
    for (const number of pressed) {
      if (shown.some(([other]) => other === number)) continue;
      shown.push(pairs.find(([other]) => other === number) ?? [number, null]);
    }
    if (keys && !shown.some(([number]) => number === NONE)) shown.push([NONE, null]);
    shown.forEach(([number, value], place) => {
      const name = make("span", { className: "label", textContent: label(number) });
      const digits = value === null ? "" : percent(value);
      const figure = make("span", { className: "number", textContent: digits });
      const key = keys && place < 9 ? make("kbd", { textContent: place + 1 }) : null;
      const button = make("button", { title: label(number) }, ...[key, name, figure].filter(Boolean));
      button.classList.toggle("said-so", own.includes(number));
      button.setAttribute("aria-pressed", pressed.includes(number));
      button.style.setProperty("--share", `${100 * (value ?? 0)}%`);
      button.dataset.key = number;
      button.onclick = () => press(index, number);
      list.append(make("li", {}, button));
    });
    return list;
  }

  function drawFacts(row) {
    const facts = make("div", { className: "facts" });
    if (page.kind === "hits") {
      const score = make("b", { textContent: said(row) });
      facts.append(make("div", { className: "head" }, score));
    }
    if (row[WIDE] === null) {
      facts.append(make("div", { textContent: say("unknown") }));
      return facts;
    }
    const pixels = say("pixels", { wide: row[WIDE], tall: row[TALL] });
    const first = make("div", {}, `${pixels} · ${bytes(row[BYTES])} `);
    if (largest(row)) first.append(make("b", { textContent: say("most_pixels") }));
    facts.append(first, make("div", { textContent: date(row[CHANGED]) }));
    return facts;
  }
  function largest(row) {
    const sizes = groups.get(row[GROUP]) ?? [];
    const own = row[WIDE] * row[TALL];
    const compared = sizes.length > 1 && sizes.every((size) => size > 0);
    return compared && sizes.filter((size) => size >= own).length === 1;
  }
  function bytes(n) {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    for (; n >= 1000 && unit < 3; unit += 1) n /= 1000;
    return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
  }
  function date(seconds) {
    const lang = document.documentElement.lang;
    const how = { dateStyle: "medium", timeStyle: "short" };
    return new Date(seconds * 1000).toLocaleString(lang, how);
  }

  // Arrows walk over the pictures.
  grid.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("open")) return;
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const step = steps[event.key];
    if (!step) return;
    const all = [...grid.querySelectorAll(".open")];
    const next = all[all.indexOf(event.target) + step];
    if (next) next.focus();
    event.preventDefault();
  });

  // --- one picture, large ------------------------------------------------------------------------

  let place = 0; // among the chosen
  function look(index) {
    place = chosen.indexOf(index);
    drawLarge();
    if (!large.open) large.showModal();
  }
  function walk(step) {
    if (place + step < 0 || place + step >= chosen.length) return;
    place += step;
    while (drawn <= place) more();
    drawLarge();
  }

  let seen = null; // the picture that is shown large already
  function drawLarge() {
    const index = chosen[place];
    const row = rows[index];
    const focused = large.contains(document.activeElement) && document.activeElement.dataset.key;
    if (seen?.index !== index) seen = { index, figure: drawOriginal(index) };
    const step = (by, sign, name) => {
      const one = make("button", { textContent: sign, title: say(name), onclick: () => walk(by) });
      one.setAttribute("aria-label", say(name));
      one.disabled = place + by < 0 || place + by >= chosen.length;
      one.dataset.key = name;
      return one;
    };
    const close = make("button", { textContent: "×", title: say("close"), onclick: () => large.close() });
    close.setAttribute("aria-label", say("close"));
    close.dataset.key = "close";
    const where = say("of", { n: count(place + 1), all: count(chosen.length) });
    const side = make("aside", {});
    const middle = make("span", { textContent: where });
    const walking = [step(-1, "←", "previous"), middle, step(1, "→", "next"), close];
    side.append(make("div", { className: "walk" }, ...walking));
    if (answers) {
      const keys = make("span", { className: "keys", textContent: say("keys") });
      const note = make("p", { className: "note" }, `${say("is_right")} `, keys);
      side.append(drawHead(index), note);
      side.append(drawBars(index, IN_LARGE, true), drawOther(index));
      if (right.has(index)) {
        const undo = { textContent: say("undo"), onclick: () => press(index, null) };
        side.append(make("button", undo));
      }
    } else side.append(drawFacts(row));
    side.append(drawLink(row, path(row)));
    large.setAttribute("aria-label", row[NAME]);
    large.replaceChildren(make("div", {}, seen.figure, side));
    if (large.open) (large.querySelector(`[data-key="${focused}"]:enabled`) ?? close).focus();
  }

  // The file itself, where the browser can show it from where this page lies; else the thumbnail.
  function drawOriginal(index) {
    const small = thumbnails.get(index);
    const instead = () => {
      const said = say(small ? "no_original" : "no_picture");
      const caption = make("figcaption", { textContent: said });
      if (!small) return figure.replaceChildren(caption);
      picture.onerror = null;
      picture.src = `data:image/jpeg;base64,${small}`;
      return figure.append(caption);
    };
    const address = link(rows[index]);
    const picture = make("img", { alt: rows[index][NAME], onerror: instead });
    const figure = make("figure", {}, picture);
    const reached = address && (location.protocol === "file:" || !address.startsWith("file:"));
    if (reached) picture.src = address;
    else instead();
    return figure;
  }

  function drawOther(index) {
    const textContent = say("other");
    const input = make("input", { type: "search" });
    input.setAttribute("list", "every-label");
    input.dataset.key = "other";
    input.onchange = () => {
      const number = page.labels.indexOf(input.value);
      if (number > NONE) press(index, number);
    };
    return make("label", {}, make("span", { textContent }), input);
  }
  if (answers) {
    const every = make("datalist", { id: "every-label" });
    for (const value of page.labels.slice(1)) every.append(make("option", { value }));
    document.body.append(every);
  }

  large.addEventListener("keydown", (event) => {
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      walk(event.key === "ArrowLeft" ? -1 : 1);
      event.preventDefault();
    } else if (answers && /^[1-9]$/.test(event.key)) {
      large.querySelectorAll(".bars button")[Number(event.key) - 1]?.click();
    }
  });
  large.addEventListener("click", (event) => event.target === large && large.close());
  large.addEventListener("close", () => {
    const card = grid.querySelector(`[data-row="${chosen[place]}"]`);
    card?.scrollIntoView({ block: "nearest" });
    card?.querySelector(".open").focus();
  });

  fetchKept();
  draw();
})();
