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

// Gradio ends the stream of answers when it awaits none, and the page opens one with its next
// question. A question that is received while the stream is just ending finds it still open, and its
// answer waits on the server for the next stream. So when a stream ends on which such a question
// counted, a small question is asked, with which another one opens.
if (!window.streamWatched) {
  window.streamWatched = true;
  const send = window.fetch;
  let stream = null; // the signal that ends it
  let counted = null; // the stream on which a question counts
  window.fetch = async (...request) => {
    const [asked] = request;
    const path = new URL(asked.url ?? asked, window.location.href).pathname;
    if (path.endsWith("/queue/data") && asked.signal) stream = asked.signal;
    const answer = await send(...request);
    // Now, not when it was asked: the page looks whether a stream is open when it has this answer.
    if (path.endsWith("/queue/join") && stream && !stream.aborted && counted !== stream) {
      counted = stream;
      stream.addEventListener("abort", () => trigger("wake", {}), { once: true });
    }
    return answer;
  };
}
