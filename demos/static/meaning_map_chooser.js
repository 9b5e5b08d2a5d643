// The sets to begin with. Gradio hands in element, trigger, props, server, upload and watch.

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-set]");
  if (button) trigger("start", { name: button.dataset.set });
});

// What is dropped or pasted anywhere on the page goes the way of the upload button.
const bring = (event, files) => {
  const input = document.querySelector("#mm-own input[type=file]");
  if (!input || !files || files.length === 0) return;
  event.preventDefault();
  const carried = new DataTransfer();
  for (const file of files) carried.items.add(file);
  input.files = carried.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
};
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => bring(event, event.dataTransfer.files));
document.addEventListener("paste", (event) => bring(event, event.clipboardData.files));
