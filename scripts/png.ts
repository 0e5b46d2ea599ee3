/**
 * Makes a screenshot small: at most 256 colours, each pixel one byte, deflated as well as can be. A page is
 * a few flat colours and the shades of its letters' edges, so nobody sees what is missing.
 *
 * Reads what Chromium writes: 8 bits a channel, RGB or RGBA, not interlaced.
 */
import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const COLOURS_MAX = 256;
const COLOURS_EXACT = 64;

export function shrink(png: Buffer): Buffer {
  const { width, height, rows } = decode(png);
  const counts = new Map<number, number>();
  for (const colour of rows) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const palette = paletteOf(counts);
  const indexes = new Map(palette.map((colour, at) => [colour, at]));
  const raw = Buffer.alloc(height * (width + 1));
  rows.forEach((colour, at) => {
    let index = indexes.get(colour);
    if (index === undefined) indexes.set(colour, (index = nearest(palette, colour)));
    // Each row begins with its filter: 0, none.
    raw[at + Math.floor(at / width) + 1] = index;
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8); // bits, palette, deflate, filters by row, not interlaced
  const colours = Buffer.from(
    palette.flatMap((each) => [each >> 16, (each >> 8) & 255, each & 255]),
  );
  const data = deflateSync(raw, { level: 9, memLevel: 9 });
  return Buffer.concat([
    ...[SIGNATURE, chunk("IHDR", header), chunk("PLTE", colours)],
    ...[chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))],
  ]);
}

// --- internal ---

/**
 * The most frequent colours stay as they are. Of the others those that are alike become one; what alike means
 * is made coarser until few enough are left, so that a rare colour is not lost to shades of a frequent one.
 */
function paletteOf(counts: Map<number, number>): number[] {
  const ordered = [...counts].sort(([, a], [, b]) => b - a).map(([colour]) => colour);
  const exact = ordered.splice(0, COLOURS_EXACT);
  for (let bits = 0; ; bits++) {
    const kept = new Map<number, number>();
    for (const colour of ordered) {
      const like = [16, 8, 0].reduce((key, at) => key * 256 + (((colour >> at) & 255) >> bits), 0);
      if (!kept.has(like)) kept.set(like, colour);
    }
    if (exact.length + kept.size <= COLOURS_MAX) return [...exact, ...kept.values()];
  }
}

function nearest(palette: number[], colour: number): number {
  let best = { index: 0, distance: Number.POSITIVE_INFINITY };
  palette.forEach((each, index) => {
    let distance = 0;
    for (const shift of [16, 8, 0]) {
      distance += (((each >> shift) & 255) - ((colour >> shift) & 255)) ** 2;
    }
    if (distance < best.distance) best = { index, distance };
  });
  return best.index;
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/** The pixels row by row, each as 0xRRGGBB. */
function decode(png: Buffer): { width: number; height: number; rows: Uint32Array } {
  const parts: Buffer[] = [];
  for (let at = SIGNATURE.length; at < png.length; at += png.readUInt32BE(at) + 12) {
    if (png.toString("latin1", at + 4, at + 8) !== "IDAT") continue;
    parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const [width, height, kind] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25]];
  const channels = kind === 6 ? 4 : 3;
  const stride = width * channels;
  const data = inflateSync(Buffer.concat(parts));
  const rows = new Uint32Array(width * height);
  let above: Buffer = Buffer.alloc(stride);
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1);
    const row = unfilter(
      data[start]!,
      data.subarray(start + 1, start + 1 + stride),
      above,
      channels,
    );
    for (let x = 0; x < width; x++) rows[y * width + x] = row.readUIntBE(x * channels, 3);
    above = row;
  }
  return { width, height, rows };
}

/** Undoes a row's filter in place: each byte was stored as its difference from what its neighbours foretell. */
function unfilter(filter: number, row: Buffer, above: Buffer, channels: number): Buffer {
  for (let at = 0; at < row.length; at++) {
    const left = at < channels ? 0 : row[at - channels]!;
    const up = above[at]!;
    const corner = at < channels ? 0 : above[at - channels]!;
    const foretold = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
    row[at] = (row[at]! + foretold) & 255;
  }
  return row;
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
