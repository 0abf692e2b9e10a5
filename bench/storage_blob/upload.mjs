// Uploads one file with Azure's own client library and prints the seconds that it took, without the start of Node.js.
//   node upload.mjs CONNECTION_STRING_FILE CONTAINER BLOB FILE BLOCK_BYTES CONCURRENCY
import fs from "node:fs";
import { createRequire } from "node:module";

const { BlobServiceClient } = createRequire(process.env.TB_STORAGE_BLOB + "/")("@azure/storage-blob");
const [connection, container, blob, file, blockBytes, concurrency] = process.argv.slice(2);
const target = BlobServiceClient.fromConnectionString(fs.readFileSync(connection, "utf8").trim()).getContainerClient(container);
await target.createIfNotExists();
const start = process.hrtime.bigint();
await target.getBlockBlobClient(blob).uploadFile(file, {
  blockSize: Number(blockBytes),
  concurrency: Number(concurrency),
  maxSingleShotSize: 1,
  conditions: { ifNoneMatch: "*" },
});
console.log(Number(process.hrtime.bigint() - start) / 1e9);
