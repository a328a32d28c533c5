// Reads binary messages; their form is written down in wire.py.

const TYPES = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array };

/** Returns {header, age, section(number)} of a binary message (an ArrayBuffer). */
export function unpack(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(0, true);
  const age = view.getFloat32(4, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, length));
  const header = JSON.parse(text);
  const start = 8 + length;
  const section = (number) => {
    const [offset, count, type] = header.sections[number];
    return new TYPES[type](buffer, start + offset, count);
  };
  return { header, age, section };
}
