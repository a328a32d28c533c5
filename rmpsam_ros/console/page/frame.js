// Frames as they come: the image is decoded, the run lengths too; then the frame is acknowledged.

import { decodeIdMap, firstPixels, readMask } from "./masks.js";

/** Returns a frame ready to be drawn. */
export async function readFrame(message) {
  const { header, age, section, received } = message;
  const jpeg = new Blob([section(header.jpeg)], { type: "image/jpeg" });
  const bitmap = await createImageBitmap(jpeg);
  const frame = {
    ...header,
    bitmap,
    age,
    received,
    ids: null,
    tops: new Map(), // the topmost pixel of every segment
    segments: new Map(),
    tracks: header.tracks || [],
    prompts: (header.prompts || []).map((entry) => readMask(entry, section)),
    positions: new Map((header.positions || []).map((one) => [one.id, one])),
  };
  if (header.panoptic) {
    const { ids, lengths, height, width, segments } = header.panoptic;
    frame.ids = decodeIdMap(section(ids), section(lengths), height * width);
    frame.tops = firstPixels(section(ids), section(lengths), width);
    for (const segment of segments) frame.segments.set(segment.id, segment);
  }
  return frame;
}

/** Age of a frame's image now, seconds: as told when it was sent, and the way since then. */
export function ageNow(frame, roundTrip) {
  return frame.age + (performance.now() - frame.received + roundTrip / 2) / 1000;
}
