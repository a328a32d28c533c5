// From run lengths to what a canvas draws. Colours are [red, green, blue].

/** Returns the id map (Uint16Array, row by row) of a panoptic message's runs. */
export function decodeIdMap(ids, lengths, pixels, target) {
  const map = target && target.length === pixels ? target : new Uint16Array(pixels);
  let position = 0;
  for (let run = 0; run < ids.length; run++) {
    const end = position + lengths[run];
    map.fill(ids[run], position, end);
    position = end;
  }
  if (position !== pixels) throw new Error(`runs add up to ${position}, not to ${pixels} pixels`);
  return map;
}

/** Returns the first pixel [x, y] of every id in the order of rows: where a caption can point. */
export function firstPixels(ids, lengths, width) {
  const found = new Map();
  let position = 0;
  for (let run = 0; run < ids.length; run++) {
    // The middle of the run, as far as it lies in its first row.
    const rest = width - (position % width);
    const x = (position % width) + (Math.min(lengths[run], rest) >> 1);
    if (!found.has(ids[run])) found.set(ids[run], [x, Math.floor(position / width)]);
    position += lengths[run];
  }
  return found;
}

/** Returns one byte per pixel of the mask's box, 1 on the mask. */
export function decodeMask(counts, pixels) {
  const mask = new Uint8Array(pixels);
  let position = 0;
  for (let run = 0; run < counts.length; run++) {
    const end = position + counts[run];
    if (run % 2) mask.fill(1, position, end);
    position = end;
  }
  return mask;
}

/** Tells whether image pixel (x, y) is on a mask {box, bits}. */
export function covers(mask, x, y) {
  const [left, top, width, height] = mask.box;
  const column = Math.round(x) - left;
  const row = Math.round(y) - top;
  if (column < 0 || row < 0 || column >= width || row >= height) return false;
  return mask.bits[row * width + column] === 1;
}

const rgba = (color, alpha) =>
  ((alpha << 24) | (color[2] << 16) | (color[1] << 8) | color[0]) >>> 0;

/**
 * Paints an id map: inside of segments with `alpha`, their borders solid.
 * `colors` maps ids to colours; ids without one stay clear.
 */
export function paintIdMap(map, width, height, colors, alpha, canvas, solid = null) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const inside = new Uint32Array(65536);
  const border = new Uint32Array(65536);
  for (const [id, color] of colors) {
    inside[id] = rgba(color, id === solid ? Math.min(255, alpha + 90) : alpha);
    border[id] = rgba(color, 255);
  }
  for (let row = 0, place = 0; row < height; row++) {
    for (let column = 0; column < width; column++, place++) {
      const id = map[place];
      const edge =
        (column > 0 && map[place - 1] !== id) ||
        (row > 0 && map[place - width] !== id) ||
        (column + 1 < width && map[place + 1] !== id) ||
        (row + 1 < height && map[place + width] !== id);
      pixels[place] = edge ? border[id] : inside[id];
    }
  }
  context.putImageData(image, 0, 0);
}

/** Paints a mask of its box's size onto a canvas of its own; returns the canvas. */
export function paintMask(mask, alpha, strong) {
  const [, , width, height] = mask.box;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  if (!width || !height) return canvas;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const inside = rgba(mask.color, alpha);
  const border = rgba(mask.color, 255);
  const halo = rgba([255, 255, 255], 255);
  const bits = mask.bits;
  for (let row = 0, place = 0; row < height; row++) {
    for (let column = 0; column < width; column++, place++) {
      if (!bits[place]) continue;
      const edge =
        column === 0 || row === 0 || column === width - 1 || row === height - 1 ||
        !bits[place - 1] || !bits[place + 1] || !bits[place - width] || !bits[place + width];
      pixels[place] = edge ? (strong ? halo : border) : inside;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Returns a mask {…header fields, bits, top} of a header entry and its message. */
export function readMask(entry, section) {
  const [left, top, width, height] = entry.box;
  const bits = decodeMask(section(entry.counts), width * height);
  const first = Math.max(0, bits.indexOf(1));
  const place = width ? [left + (first % width), top + Math.floor(first / width)] : [left, top];
  return { ...entry, bits, top: place };
}

/** Returns pixels on a mask. */
export function area(mask) {
  let count = 0;
  for (const bit of mask.bits) count += bit;
  return count;
}
