// Compiles one Solidity source that imports IAttribution.sol, given in the environment; prints {abi, bytecode}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.CLIENT_PACKAGES + "/");
const solc = require("solc");
const [path, name, contract] = process.argv.slice(2);
const input = {
  language: "Solidity",
  sources: { [name]: { content: readFileSync(path, "utf8") } },
  settings: { optimizer: { enabled: true }, evmVersion: "cancun", outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
};
const imports = () => ({ contents: readFileSync(process.env.INTERFACE, "utf8") });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imports }));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length) {
  console.error(errors.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}
const made = output.contracts[name][contract];
console.log(JSON.stringify({ abi: made.abi, bytecode: "0x" + made.evm.bytecode.object }));
