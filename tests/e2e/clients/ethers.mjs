// ethers v6 as the client of a devnet.
import { assert, CREATE2_DEPLOYER, CREATE2_DEPLOYMENT, main, require, setting } from "./setting.mjs";

const ethers = require("ethers");
const provider = new ethers.JsonRpcProvider(setting.rpc, undefined, { pollingInterval: 200, cacheTimeout: -1 });
const wallet = new ethers.Wallet(setting.keys.ethers, provider);
const { token: TOKEN, aggregator: AGGREGATOR } = setting.contracts;
const SUPPLY = 10n ** 24n;
const ABSENT = 2n ** 40n;

async function deployToken() {
  const token = await new ethers.ContractFactory(TOKEN.abi, TOKEN.bytecode, wallet).deploy(SUPPLY);
  return token.waitForDeployment();
}

async function token() {
  const token = await deployToken();
  const other = ethers.Wallet.createRandom(provider);
  assert.equal(await token.balanceOf(wallet.address), SUPPLY);
  const receipt = await (await token.transfer(other.address, 77n)).wait();
  assert.equal(receipt.status, 1);
  assert.equal(receipt.logs[0].args.value, 77n);
  const filter = token.filters.Transfer(null, other.address);
  const found = await token.queryFilter(filter, 0);
  assert.deepEqual(found.map((log) => log.transactionHash), [receipt.hash]);
  await (await token.approve(other.address, 5n)).wait();
  assert.equal(await token.allowance(wallet.address, other.address), 5n);
  await (await wallet.sendTransaction({ to: other.address, value: ethers.parseEther("1") })).wait();
  await (await token.connect(other).transferFrom(wallet.address, other.address, 5n)).wait();
  assert.equal(await token.balanceOf(other.address), 82n);
  await assert.rejects(token.connect(other).transfer(wallet.address, 10n ** 30n), (error) => {
    assert.equal(error.code, "CALL_EXCEPTION");
    assert.equal(error.reason, "not enough");
    return true;
  });
}

async function permit() {
  const token = await deployToken();
  const owner = ethers.Wallet.createRandom();
  const { chainId } = await provider.getNetwork();
  const domain = { name: "Test", version: "1", chainId, verifyingContract: await token.getAddress() };
  const types = {
    Permit: [
      { name: "owner", type: "address" }, { name: "spender", type: "address" }, { name: "value", type: "uint256" },
      { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" },
    ],
  };
  const value = { owner: owner.address, spender: wallet.address, value: 9n, nonce: 0n, deadline: 2n ** 60n };
  const { v, r, s } = ethers.Signature.from(await owner.signTypedData(domain, types, value));
  await (await token.permit(owner.address, wallet.address, 9n, 2n ** 60n, v, r, s)).wait();
  assert.equal(await token.allowance(owner.address, wallet.address), 9n);
  await assert.rejects(token.permit(owner.address, wallet.address, 9n, 2n ** 60n, v, r, s), { reason: "bad signature" });
}

async function transactions() {
  const to = ethers.Wallet.createRandom().address;
  for (const type of [0, 1, 2]) {
    const fees = await provider.getFeeData();
    assert.ok(fees.gasPrice > 0n && fees.maxFeePerGas > fees.maxPriorityFeePerGas);
    const price = type === 2 ? {} : { gasPrice: fees.gasPrice };
    const sent = await wallet.sendTransaction({ type, to, value: 1n, ...price });
    const receipt = await sent.wait();
    assert.deepEqual([receipt.status, receipt.type, receipt.gasUsed], [1, type, 21000n]);
    const seen = await provider.getTransaction(sent.hash);
    assert.equal(seen.signature.serialized, ethers.Transaction.from(sent.toJSON()).signature.serialized);
    assert.equal(await seen.confirmations() >= 1, true);
    const block = await provider.getBlock(receipt.blockNumber, true);
    assert.equal(block.getPrefetchedTransaction(sent.hash).from, wallet.address);
  }
  assert.equal(await provider.getBalance(to), 3n);
  assert.equal(await provider.getBalance(to, "finalized"), 3n);
  const count = await wallet.getNonce("pending");
  await assert.rejects(
    wallet.sendTransaction({ to, nonce: count - 1, gasLimit: 21000, value: 1n }), { code: "NONCE_EXPIRED" });
  await assert.rejects(wallet.sendTransaction({ to, value: 10n ** 40n }), { code: "INSUFFICIENT_FUNDS" });
  const cost = 10n ** 40n;
  await assert.rejects(
    wallet.sendTransaction({ to, value: cost, gasLimit: 21000 }), { code: "INSUFFICIENT_FUNDS" });
}

async function delegation() {
  const aggregator = await new ethers.ContractFactory(AGGREGATOR.abi, AGGREGATOR.bytecode, wallet).deploy();
  await aggregator.waitForDeployment();
  const authority = ethers.Wallet.createRandom(provider);
  const { chainId } = await provider.getNetwork();
  const authorization = authority.authorizeSync({ address: await aggregator.getAddress(), nonce: 0, chainId });
  const sent = await wallet.sendTransaction({ type: 4, to: wallet.address, authorizationList: [authorization] });
  const receipt = await sent.wait();
  assert.deepEqual([receipt.status, receipt.type], [1, 4]);
  const code = await provider.getCode(authority.address);
  assert.equal(code, ethers.concat(["0xef0100", await aggregator.getAddress()]));
  const delegated = new ethers.Contract(authority.address, AGGREGATOR.abi, provider);
  assert.equal(await delegated.getEthBalance(authority.address), 0n);
  const seen = await provider.getTransaction(sent.hash);
  assert.equal(seen.authorizationList[0].address, await aggregator.getAddress());
}

async function create2() {
  if ((await provider.getCode(CREATE2_DEPLOYER)) === "0x") {
    const { from } = ethers.Transaction.from(CREATE2_DEPLOYMENT);
    await (await wallet.sendTransaction({ to: from, value: 10n ** 16n })).wait();
    await (await provider.broadcastTransaction(CREATE2_DEPLOYMENT)).wait();
  }
  const salt = ethers.hexlify(ethers.randomBytes(32));
  const creation = AGGREGATOR.bytecode;
  const expected = ethers.getCreate2Address(CREATE2_DEPLOYER, salt, ethers.keccak256(creation));
  await (await wallet.sendTransaction({ to: CREATE2_DEPLOYER, data: ethers.concat([salt, creation]) })).wait();
  assert.notEqual(await provider.getCode(expected), "0x");
}

async function errors() {
  const attribution = new ethers.Contract(setting.attribution, setting.attributionAbi, wallet);
  // Functions, not promises: one that fails while another is awaited would end the process.
  const { quote } = attribution;
  for (const attempt of [() => quote.staticCall(ABSENT, 0, 0), () => quote.estimateGas(ABSENT, 0, 0)]) {
    await assert.rejects(attempt, (error) => {
      assert.equal(error.code, "CALL_EXCEPTION");
      const { name, args } = error.revert ?? attribution.interface.parseError(error.data);
      assert.deepEqual([name, ...args], ["UnknownModel", BigInt(ABSENT)]);
      return true;
    });
  }
}

async function subscriptions() {
  const socket = new ethers.WebSocketProvider(setting.ws);
  const token = await deployToken();
  const watched = new ethers.Contract(await token.getAddress(), TOKEN.abi, socket);
  const heads = new Promise((done) => {
    const seen = [];
    socket.on("block", (number) => (seen.push(number), seen.length === 2 && done(seen)));
  });
  const event = new Promise((done) => watched.on("Transfer", (from, to, value) => done([from, to, value])));
  const pending = new Promise((done) => socket.on("pending", done));
  await new Promise((done) => setTimeout(done, 300));
  const other = ethers.Wallet.createRandom().address;
  const sent = await token.transfer(other, 3n);
  assert.deepEqual(await event, [wallet.address, other, 3n]);
  assert.equal(await pending, sent.hash);
  const [first, second] = await heads;
  assert.equal(second, first + 1);
  await socket.destroy();
}

async function polling() {
  const token = await deployToken();
  const event = new Promise((done) => token.on("Transfer", (from, to, value) => done(value)));
  await new Promise((done) => setTimeout(done, 600));
  await (await token.transfer(ethers.Wallet.createRandom().address, 4n)).wait();
  assert.equal(await event, 4n);
  const batch = await Promise.all([...Array(40).keys()].map((n) => provider.getBlock(n % 3)));
  assert.equal(batch[4].number, 1);
}

async function nodeAccounts() {
  const signer = await provider.getSigner(wallet.address);
  const sent = await signer.sendTransaction({ to: ethers.Wallet.createRandom().address, value: 1n });
  assert.equal((await sent.wait()).status, 1);
  assert.equal(ethers.verifyMessage("hello", await signer.signMessage("hello")), wallet.address);
  const types = { Mail: [{ name: "to", type: "address" }, { name: "lines", type: "string[]" }] };
  const value = { to: wallet.address, lines: ["a", "b"] };
  const signature = await signer.signTypedData({ name: "Post" }, types, value);
  assert.equal(ethers.verifyTypedData({ name: "Post" }, types, value, signature), wallet.address);
  await assert.rejects(provider.getSigner("0x" + "77".repeat(20)));
}

async function attributions() {
  const socket = new ethers.WebSocketProvider(setting.ws);
  assert.match(await socket.send("eth_subscribe", ["attributions", { model: "0x1" }]), /^0x/);
  await assert.rejects(socket.send("eth_subscribe", ["attributions", { models: "0x1" }]));
  await socket.destroy();
}

await main({ nodeAccounts, attributions, token, permit, transactions, delegation, create2, errors, subscriptions, polling });
