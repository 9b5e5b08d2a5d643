// --- the pictures and their captions, to be changed ---------------------------------------------

const editor = { fields: [], extra: null, turn: 0, open: false };

function buildEditor() {
  const say = data.words;
  const few = data.pictures.length <= data.least;
  editor.fields = data.pictures.map(({ captions }, picture) =>
    make("input", {
      type: "text",
      value: captions,
      dir: "auto",
      autocomplete: "off",
      "aria-label": fill(say.captions_of, { number: picture + 1 }),
      placeholder: say.no_caption,
      on: {
        change: () => send(),
        keydown: (event) => {
          if (event.key === "Enter" && !event.isComposing) send();
        },
      },
    }),
  );
  editor.extra = make("textarea", { id: "mm-extra", rows: 3, dir: "auto", on: { change: () => send() } });
  editor.extra.value = data.extra;
  editor.count = make("span", { class: "note" });
  const items = editor.fields.map((field, picture) =>
    make(
      "li",
      {},
      view(picture),
      field,
      make(
        "button",
        {
          type: "button",
          class: "remove",
          "aria-label": fill(say.remove, { number: picture + 1 }),
          title: fill(say.remove, { number: picture + 1 }),
          ...(few ? { disabled: "" } : {}),
          on: { click: () => send(picture) },
        },
        "×",
      ),
    ),
  );
  const box = make(
    "details",
    { class: "card editor", on: { toggle: () => (editor.open = box.open) } },
    make("summary", {}, make("h2", {}, say.edit), editor.count),
    make("p", { class: "note" }, say.edit_note),
    make("ul", {}, ...items),
    make("label", { for: "mm-extra", class: "caption" }, say.extra),
    editor.extra,
  );
  box.open = editor.open;
  editor.box = box;
  countSet();
  return box;
}

function countSet() {
  editor.count.textContent = fill(data.words.set_size, {
    pictures: data.pictures.length,
    texts: data.texts.length,
  });
}

// What the fields say now; the server answers with all that hangs on it.
function send(removed = null) {
  const kept = [...editor.fields.keys()].filter((picture) => picture !== removed);
  const wish = {
    kept,
    captions: kept.map((picture) => editor.fields[picture].value),
    extra: editor.extra.value,
  };
  const text = JSON.stringify(wish);
  if (text === editor.sent) return; // Enter, and then leaving the field
  editor.sent = text;
  editor.focus = removed;
  host.setAttribute("aria-busy", "true");
  trigger("write", { ...wish, turn: ++editor.turn });
}

// Where the keyboard was when a picture was taken away.
function refocus() {
  if (editor.focus === null || editor.focus === undefined) return;
  const buttons = [...editor.box.querySelectorAll(".remove")];
  const next = buttons[Math.min(editor.focus, buttons.length - 1)];
  editor.focus = null;
  if (next?.disabled) editor.fields.at(-1).focus();
  else next?.focus();
}
