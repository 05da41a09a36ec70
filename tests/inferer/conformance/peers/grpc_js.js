// Node's @grpc/grpc-js, on bytes: `grpc_js.js HOST:PORT` against the application of these tests.
const grpc = require("@grpc/grpc-js");

const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const deadline = (ms) => ({ deadline: Date.now() + ms });

function unary(path, message, metadata = new grpc.Metadata(), ms = 20000) {
  return new Promise((resolve) => {
    const done = (error, answer) =>
      resolve(error ? { code: error.code, details: error.details, metadata: error.metadata.getMap() } : answer);
    client.makeUnaryRequest(path, same, same, Buffer.from(message), metadata, deadline(ms), done);
  });
}

function stream(path, messages) {
  return new Promise((resolve) => {
    const answers = [];
    const call = client.makeBidiStreamRequest(path, same, same, new grpc.Metadata(), deadline(20000));
    call.on("data", (answer) => answers.push(answer.toString()));
    call.on("error", (error) => resolve({ code: error.code, answers }));
    call.on("end", () => resolve(answers));
    messages.forEach((message) => call.write(Buffer.from(message)));
    call.end();
  });
}

function cancelled(path) {
  return new Promise((resolve) => {
    const call = client.makeUnaryRequest(path, same, same, Buffer.from("abc"), (error) => resolve(error.code));
    setTimeout(() => call.cancel(), 200);
  });
}

async function main() {
  const numbers = [...Array(100).keys()].map(String);
  const large = "x".repeat(250000);
  const metadata = new grpc.Metadata();
  metadata.set("plain", "value");
  metadata.set("raw-bin", Buffer.from([0, 255, 10]));
  const failed = await unary("/test.Unary/Fail", "text");
  const seen = {
    echo: (await unary("/test.Unary/Echo", "abc")).toString(),
    empty: (await unary("/test.Unary/Echo", "")).length,
    many: (await Promise.all(numbers.map((n) => unary("/test.Unary/Tasked", n)))).map(String),
    large: (await unary("/test.Unary/Echo", large)).toString() === large,
    huge: (await unary("/test.Unary/Huge", "3000000")).length,
    metadata: JSON.parse((await unary("/test.Unary/Metadata", "", metadata)).toString()),
    stream: await stream("/test.Stream/Echo", numbers),
    listen: await stream("/test.Stream/Listen", numbers),
    failing: await stream("/test.Stream/Fail", ["one", "full"]),
    failed: { code: failed.code, details: failed.details, has_status: "grpc-status-details-bin" in failed.metadata },
    unknown: (await unary("/no.Such/Call", "abc")).code,
    late: (await unary("/test.Unary/Slow", "abc", new grpc.Metadata(), 100)).code,
    cancelled: await cancelled("/test.Unary/Slow"),
    above: (await unary("/test.Unary/Echo", "x".repeat(300000))).code,
  };
  client.close();
  console.log(JSON.stringify(seen));
}

main();
