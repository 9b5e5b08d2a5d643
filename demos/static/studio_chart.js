// Curves of the studio: one or two lines over each other, and where one is in time. Put before
// studio.js, which draws with them.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Means over equal stretches, so that a long line is quickly drawn.
function thinned(points, most) {
  const size = Math.ceil(points.length / most);
  if (size <= 1) return points;
  const means = [];
  for (let start = 0; start < points.length; start += size) {
    const some = points.slice(start, start + size);
    const sum = some.reduce(([a, b], [x, y]) => [a + x, b + y], [0, 0]);
    means.push([sum[0] / some.length, sum[1] / some.length]);
  }
  return means;
}

// Follow the points with a short memory: single steps jump about.
function smoothed(points) {
  let mean = null;
  return points.map(([x, y], i) => {
    const memory = 1 - 1 / Math.min(9, 1 + i / 5); // shorter at first, where it falls fast
    mean = mean === null ? y : memory * mean + (1 - memory) * y;
    return [x, mean];
  });
}

// Round steps from a number to a larger one, at most so many.
function ticks(from, to, most) {
  const rough = (to - from) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step / 1000; at += step) found.push(at);
  return found;
}

// settings: {height, log, share}: a logarithmic axis, or shares from 0 to 1.
function makeChart({ height, log = false, share = false }) {
  const root = svg("svg", { class: "chart", role: "img", height, width: "100%" });
  const edge = { left: 44, right: 10, top: 8, bottom: 22 };

  function range(lines) {
    if (share) return [0, 1];
    const values = lines.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => y > 0);
    if (!values.length) return log ? [0.1, 1] : [0, 1];
    values.sort((a, b) => a - b);
    // A few first steps are far from all others, and a few slow ones too.
    const high = values[Math.min(values.length - 1, Math.floor(values.length * 0.995))];
    if (!log) return [0, high * 1.08];
    const low = values[Math.floor(values.length * 0.005)];
    return [low / 1.15, Math.max(high, low * 1.5) * 1.05];
  }

  // lines: [{name, points: [[x, y]], faint}]; to: the end of the x axis; cursor: where one is.
  function draw(lines, { to, cursor, format, xFormat, label }) {
    const width = root.clientWidth;
    if (!width) return;
    const [low, high] = range(lines);
    const [bottom, inside] = [height - edge.bottom, width - edge.left - edge.right];
    const x = (value) => edge.left + (inside * Math.min(value, to)) / to;
    const up = (value) =>
      log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    const y = (value) => {
      const clipped = Math.min(Math.max(value, low), high);
      return bottom - (bottom - edge.top) * up(clipped);
    };
    const parts = [];
    const marks = log
      ? [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].filter((at) => at >= low && at <= high)
      : share
        ? [0, 0.5, 1]
        : ticks(low, high, height > 90 ? 4 : 3);
    for (const at of marks) {
      parts.push(svg("line", { class: "rule", x1: edge.left, x2: width - 10, y1: y(at), y2: y(at) }));
      const text = svg("text", { class: "tick", x: edge.left - 7, y: y(at) + 4 });
      text.setAttribute("text-anchor", "end");
      text.textContent = format(at);
      parts.push(text);
    }
    for (const at of ticks(0, to, width > 500 ? 6 : 3)) {
      if (x(at) > width - 24) continue;
      const text = svg("text", { class: "tick", x: x(at), y: height - 6 });
      text.setAttribute("text-anchor", at ? "middle" : "start");
      text.textContent = xFormat(at);
      parts.push(text);
    }
    for (const { name, points, dots } of lines) {
      if (!points.length) continue;
      const few = thinned(points, 600);
      const path = (some) =>
        some.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
      if (!dots) parts.push(svg("path", { class: `line raw ${name}`, d: path(few) }));
      parts.push(svg("path", { class: `line ${name}`, d: path(dots ? few : smoothed(few)) }));
      if (dots) {
        for (const [a, b] of few) {
          parts.push(svg("circle", { class: `dot ${name}`, cx: x(a), cy: y(b), r: 2.5 }));
        }
      }
    }
    if (cursor !== null) {
      const at = x(cursor);
      parts.push(svg("line", { class: "cursor", x1: at, x2: at, y1: edge.top - 4, y2: bottom }));
    }
    root.setAttribute("aria-label", label);
    root.replaceChildren(...parts);
  }

  return { root, draw };
}

