// What the tests hand to a script: where the packages are, the devnet, the contracts.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

export const require = createRequire(`${process.env.CLIENT_PACKAGES}/package.json`);
export const setting = JSON.parse(process.env.CLIENT_SETTING);
export { assert };

// Nick's deployer of CREATE2 (address 0x4e59…956c on every chain), as it was signed once for all.
export const CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
export const CREATE2_DEPLOYER_PAYER = "0x3fAB184622Dc19b6109349B94811493BF45362";
export const CREATE2_DEPLOYMENT =
  "0xf8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffff" +
  "ffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b80825250505060146" +
  "00cf31ba0" + "22".repeat(32) + "a0" + "22".repeat(32);

export async function main(scenarios) {
  const name = process.argv[2];
  const started = scenarios[name];
  if (!started) throw new Error(`no scenario ${name}`);
  await started();
  process.stdout.write("ok\n", () => process.exit(0));
}
