// The examples. Gradio hands in element, trigger, props, server, upload and watch.

element.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-picture]");
  if (tile && tile.dataset.picture !== "yours") trigger("pick", { name: tile.dataset.picture });
});

// What is dropped or pasted anywhere on the page goes the way of the upload button.
const bring = (event, files) => {
  const input = document.querySelector("#own input[type=file]");
  if (!input || !files || files.length === 0) return;
  event.preventDefault();
  const one = new DataTransfer();
  one.items.add(files[0]);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
};
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => bring(event, event.dataTransfer.files));
document.addEventListener("paste", (event) => bring(event, event.clipboardData.files));
