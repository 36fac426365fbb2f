// The part of solc's command line that forge uses, on the compiler in WebAssembly from npm.
const { createRequire } = require("node:module");
const solc = createRequire(`${process.env.CLIENT_PACKAGES}/package.json`)("solc");
const arguments_ = process.argv.slice(2);

if (arguments_.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace("Emscripten.clang", "Linux.g++")}`);
} else if (arguments_.includes("--standard-json")) {
  let input = "";
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (data) => (input += data));
  process.stdin.on("end", () => process.stdout.write(solc.compile(input), () => process.exit(0)));
} else {
  console.error(`unknown arguments: ${arguments_.join(" ")}`);
  process.exit(2);
}
