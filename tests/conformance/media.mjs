// The two smallest media files the content tools need: one red pixel, and a tenth of a second of silence.

import { deflateSync, crc32 } from "node:zlib";

function pngChunk(type, body) {
  const data = Buffer.concat([Buffer.from(type, "latin1"), body]);
  const chunk = Buffer.alloc(body.length + 12);
  chunk.writeUInt32BE(body.length, 0);
  data.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(data), body.length + 8);
  return chunk;
}

function redPixelPng() {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(1, 0); // width
  header.writeUInt32BE(1, 4); // height
  header.writeUInt8(8, 8); // bits per channel
  header.writeUInt8(2, 9); // RGB
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const pixel = deflateSync(Buffer.from([0, 255, 0, 0])); // filter byte, then one red pixel
  return Buffer.concat([
    signature,
    pngChunk("IHDR", header),
    pngChunk("IDAT", pixel),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

function silentWav() {
  const rate = 8000;
  const samples = Buffer.alloc(rate / 10, 128); // 8-bit PCM is unsigned: 128 is silence
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(36 + samples.length, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // mono
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

export const PNG = redPixelPng().toString("base64");
export const WAV = silentWav().toString("base64");
