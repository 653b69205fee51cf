import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { namingPath, writeFileAtomic } from '../../util/files.ts';
import { type CurvePoint, isValidation } from './curve.ts';

/*
 * TensorBoard's event files: records of TensorFlow's TFRecord format, each an Event message (tensorflow/core/util/event.proto and
 * framework/summary.proto). A record is its length in 8 bytes, a checksum of those, the message, and its checksum.
 */

/** Field numbers. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 } as const;
const SUMMARY = { value: 1 } as const;
const VALUE = { tag: 1, simpleValue: 2 } as const;

/** CRC-32C (Castagnoli) by bytes: its polynomial, reversed. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** Returns the masked CRC-32C of TFRecord: rotated by 15 bits, plus a constant, so that a checksum of checksums is none. */
export function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const HEADER = 12;
const FOOTER = 4;

function recordOf(message: Uint8Array): Buffer {
  const record = Buffer.alloc(HEADER + message.length + FOOTER);
  record.writeBigUInt64LE(BigInt(message.length));
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(message, HEADER);
  record.writeUInt32LE(maskedCrc(message), HEADER + message.length);
  return record;
}

const startOf = (wallTime: number): BinaryWriter =>
  new BinaryWriter().tag(EVENT.wallTime, WireType.Bit64).double(wallTime);

/** The first record of a file says which version of the format it is. */
const versionRecord = (wallTime: number): Buffer =>
  recordOf(startOf(wallTime).tag(EVENT.fileVersion, WireType.LengthDelimited).string('brain.Event:2').finish());

/** Returns the names and numbers of a point, as TensorBoard groups them. */
function scalarsOf(point: CurvePoint): Readonly<Record<string, number>> {
  if (isValidation(point)) {
    const all = Object.entries({ [point.measure]: point.value, ...point.others });
    return Object.fromEntries(all.map(([name, value]) => [`validation/${name}`, value]));
  }
  const { loss, norm, learningRate, ms } = point;
  return { 'train/loss': loss, 'train/gradient_norm': norm, 'train/learning_rate': learningRate, 'train/step_ms': ms };
}

/** Returns the record of a point. @param wallTime seconds since 1970. */
function pointRecord(point: CurvePoint, wallTime: number): Buffer {
  const writer = startOf(wallTime).tag(EVENT.step, WireType.Varint).int64(point.step);
  writer.tag(EVENT.summary, WireType.LengthDelimited).fork();
  for (const [tag, value] of Object.entries(scalarsOf(point))) {
    writer.tag(SUMMARY.value, WireType.LengthDelimited).fork();
    writer.tag(VALUE.tag, WireType.LengthDelimited).string(tag);
    writer.tag(VALUE.simpleValue, WireType.Bit32).float(value).join();
  }
  return recordOf(writer.join().finish());
}

/** Returns the step of an event; 0 where it has none. */
function stepOf(message: Uint8Array): number {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === EVENT.step) return Number(reader.int64());
    reader.skip(type);
  }
  return 0;
}

/** Returns the records up to a step, without what a kill cut short or a disk damaged, and what follows that. */
function keptRecords(bytes: Buffer, lastStep: number): Buffer {
  const kept: Buffer[] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const end = at + HEADER + length + FOOTER;
    if (end > bytes.length || bytes.readUInt32LE(at + 8) !== maskedCrc(bytes.subarray(at, at + 8))) break;
    const message = bytes.subarray(at + HEADER, end - FOOTER);
    if (bytes.readUInt32LE(end - FOOTER) !== maskedCrc(message)) break;
    if (stepOf(message) <= lastStep) kept.push(bytes.subarray(at, end));
    at = end;
  }
  return Buffer.concat(kept);
}

/** Opens an event file for appending. Events after `fromStep`, from which the run continues, are removed: those steps run again. */
export async function openEvents(path: string, fromStep: number): Promise<(point: CurvePoint) => Promise<void>> {
  const now = () => Date.now() / 1000;
  const kept = existsSync(path) ? keptRecords(await readFile(path), fromStep) : Buffer.alloc(0);
  await writeFileAtomic(path, kept.length > 0 ? kept : versionRecord(now()));
  return (point) => namingPath(path, appendFile(path, pointRecord(point, now())));
}
