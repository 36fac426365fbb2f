// Deploy, send, call, fail, sign: as a Hardhat project does with the accounts that a node offers.
const assert = require("node:assert/strict");
const { ethers } = require("hardhat");

async function main() {
  const signers = await ethers.getSigners();
  const [owner, other] = signers.slice(2);
  const token = await ethers.deployContract("Token", [1000n], owner);
  await token.waitForDeployment();
  const receipt = await (await token.transfer(other.address, 7n)).wait();
  assert.deepEqual([receipt.status, receipt.logs.length], [1, 1]);
  assert.equal(await token.balanceOf(other.address), 7n);
  const [event] = await token.queryFilter(token.filters.Transfer(owner.address), receipt.blockNumber);
  assert.equal(event.args.value, 7n);
  await assert.rejects(token.connect(other).transfer.staticCall(owner.address, 100n), (error) => {
    const decoded = error.revert ?? token.interface.parseError(error.data);
    assert.deepEqual([decoded.name, [...decoded.args]], ["NotEnough", [7n, 100n]]);
    return true;
  });
  const message = await owner.signMessage("hello");
  assert.equal(ethers.verifyMessage("hello", message), owner.address);
  const types = { Mail: [{ name: "to", type: "address" }] };
  const typed = await owner.signTypedData({ name: "Post" }, types, { to: other.address });
  assert.equal(ethers.verifyTypedData({ name: "Post" }, types, { to: other.address }, typed), owner.address);
  console.log("ok");
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
