// Pictures on a canvas: sheets of a run, what is drawn anew, noise. Put before studio.js.

const DIM = 0.42; // how much is left of a digit that cannot be read

// Pictures side by side on a canvas; `part` says where in the source each one lies.
function lay(canvas, source, layout, rows, part, read) {
  const { columns, side } = layout;
  const wide = canvas.clientWidth * (window.devicePixelRatio || 1);
  if (!wide) return;
  const gap = Math.max(1, Math.round(wide / columns / 14));
  const size = Math.floor((wide - gap * (columns - 1)) / columns);
  const [across, down] = [
    columns * size + gap * (columns - 1),
    rows * size + gap * (rows - 1),
  ];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.clearRect(0, 0, across, down);
  for (let i = 0; i < rows * columns; i += 1) {
    const [left, top] = [(i % columns) * (size + gap), Math.floor(i / columns) * (size + gap)];
    context.globalAlpha = 1;
    context.fillStyle = "#000000";
    context.fillRect(left, top, size, size);
    context.globalAlpha = read && read[i] === "0" ? DIM : 1;
    const [x, y] = part(i);
    context.drawImage(source, x, y, side, side, left, top, size, size);
  }
}

function laySheet(canvas, { image, read }, layout) {
  const apart = layout.side + 1;
  const times = Math.max(1, Math.floor(image.width / (layout.columns * apart - 1)));
  // Shrunk to its own pixels first: it was enlarged by a whole number.
  const small = new OffscreenCanvas(image.width / times, image.height / times);
  const context = small.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, small.width, small.height);
  const rows = Math.round((small.height + 1) / apart);
  const part = (i) => [(i % layout.columns) * apart, Math.floor(i / layout.columns) * apart];
  lay(canvas, small, layout, rows, part, read);
}

function layRedrawn(canvas, { pixels }, layout) {
  const { side, channels, columns } = layout;
  const values = bytes(pixels);
  const area = side * side;
  const count = values.length / (area * channels);
  const strip = new OffscreenCanvas(side, side * count); // one below the other
  const context = strip.getContext("2d");
  const found = context.createImageData(side, side * count);
  for (let i = 0; i < area * count; i += 1) {
    for (let c = 0; c < 3; c += 1) {
      found.data[4 * i + c] = values[i * channels + (channels === 1 ? 0 : c)];
    }
    found.data[4 * i + 3] = 255;
  }
  context.putImageData(found, 0, 0);
  lay(canvas, strip, layout, count / columns, (i) => [0, i * side], null);
}

// Noise, as a model draws that has learned nothing.
function layNoise(canvas) {
  const [side, columns, rows] = [14, 10, 4];
  const strip = new OffscreenCanvas(side, side * columns * rows);
  const context = strip.getContext("2d");
  const found = context.createImageData(strip.width, strip.height);
  for (let i = 0; i < found.data.length; i += 4) {
    // About a bell curve, in the middle of grey.
    const value = 128 + 150 * (Math.random() + Math.random() + Math.random() - 1.5);
    found.data.set([value, value, value, 255], i);
  }
  context.putImageData(found, 0, 0);
  lay(canvas, strip, { side, columns }, rows, (i) => [0, i * side], null);
}

