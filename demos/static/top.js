// The heading. Gradio hands in element, trigger, props, server, upload and watch.
//
// The link to the other language works as it is; followed in here, it keeps the visitor's picture.

element.addEventListener("click", (event) => {
  const link = event.target.closest("#language");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.history.replaceState(window.history.state, "", link.href);
  const query = Object.fromEntries(new URLSearchParams(window.location.search));
  trigger("speak", { query });
});
