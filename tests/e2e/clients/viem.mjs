// viem as the client of a devnet.
import { assert, main, require, setting } from "./setting.mjs";

const viem = require("viem");
const { privateKeyToAccount, generatePrivateKey } = require("viem/accounts");
const chain = viem.defineChain({
  id: setting.chainId,
  name: "devnet",
  nativeCurrency: { name: "OPEN", symbol: "OPEN", decimals: 18 },
  rpcUrls: { default: { http: [setting.rpc], webSocket: [setting.ws] } },
});
const account = privateKeyToAccount(setting.keys.viem);
const reader = viem.createPublicClient({ chain, transport: viem.http(), pollingInterval: 200 });
const writer = viem.createWalletClient({ chain, account, transport: viem.http() });
const { token: TOKEN, aggregator: AGGREGATOR } = setting.contracts;
const fresh = () => privateKeyToAccount(generatePrivateKey());
const mined = (hash) => reader.waitForTransactionReceipt({ hash });

async function deploy(contract, args) {
  const receipt = await mined(await writer.deployContract({ abi: contract.abi, bytecode: contract.bytecode, args }));
  assert.equal(receipt.status, "success");
  return receipt.contractAddress;
}

async function token() {
  const address = await deploy(TOKEN, [10n ** 24n]);
  const other = fresh().address;
  const { request, result } = await reader.simulateContract({
    address, abi: TOKEN.abi, functionName: "transfer", args: [other, 7n], account });
  assert.equal(result, true);
  const receipt = await mined(await writer.writeContract(request));
  const [event] = viem.parseEventLogs({ abi: TOKEN.abi, logs: receipt.logs });
  assert.deepEqual([event.eventName, event.args.receiver, event.args.value], ["Transfer", other, 7n]);
  const events = await reader.getContractEvents({
    address, abi: TOKEN.abi, eventName: "Transfer", args: { receiver: other }, fromBlock: 0n });
  assert.deepEqual(events.map((log) => log.transactionHash), [receipt.transactionHash]);
  const filter = await reader.createContractEventFilter({ address, abi: TOKEN.abi, fromBlock: 0n });
  assert.equal((await reader.getFilterLogs({ filter })).length, 2);
  assert.equal((await reader.getFilterChanges({ filter })).length >= 0, true);
  assert.equal(await reader.uninstallFilter({ filter }), true);
  await assert.rejects(
    reader.simulateContract({ address, abi: TOKEN.abi, functionName: "transfer", args: [other, 10n ** 30n], account }),
    (error) => error.walk((each) => each instanceof viem.ContractFunctionRevertedError)?.reason === "not enough");
}

async function multicall() {
  const [address, multicallAddress] = [await deploy(TOKEN, [5n]), await deploy(AGGREGATOR, [])];
  const call = { address, abi: TOKEN.abi };
  const results = await reader.multicall({
    multicallAddress,
    contracts: [
      { ...call, functionName: "balanceOf", args: [account.address] },
      { ...call, functionName: "symbol" },
      { address: multicallAddress, abi: AGGREGATOR.abi, functionName: "getEthBalance", args: [address] },
      { ...call, functionName: "transfer", args: [account.address, 10n] },
    ],
  });
  assert.deepEqual(results.slice(0, 3).map((each) => each.result), [5n, "TST", 0n]);
  assert.equal(results[3].status, "failure");
}

async function fees() {
  const { maxFeePerGas, maxPriorityFeePerGas } = await reader.estimateFeesPerGas();
  assert.ok(maxFeePerGas >= maxPriorityFeePerGas && maxPriorityFeePerGas > 0n);
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 50, 90] });
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  assert.equal(await reader.getBlobBaseFee(), 1n);
  assert.equal(await reader.estimateGas({ account, to: fresh().address, value: 1n }), 21000n);
  const { accessList } = await reader.createAccessList({ account, to: fresh().address, data: "0x" });
  assert.deepEqual(accessList, []);
  const finalized = await reader.getBlock({ blockTag: "finalized", includeTransactions: true });
  assert.equal(finalized.uncles.length, 0);
  const proof = await reader.getProof({ address: account.address, storageKeys: [viem.zeroHash] });
  assert.ok(proof.balance > 0n && proof.storageProof[0].value === 0n);
}

async function delegation() {
  const contractAddress = await deploy(AGGREGATOR, []);
  const authority = fresh();
  const signer = viem.createWalletClient({ chain, account: authority, transport: viem.http() });
  const authorization = await signer.signAuthorization({ contractAddress });
  const receipt = await mined(await writer.sendTransaction({ to: account.address, authorizationList: [authorization] }));
  assert.deepEqual([receipt.status, receipt.type], ["success", "eip7702"]);
  assert.equal(await reader.getCode({ address: authority.address }), `0xef0100${contractAddress.slice(2).toLowerCase()}`);
  const delegation = await reader.getDelegation?.({ address: authority.address });
  assert.ok(delegation === undefined || viem.isAddressEqual(delegation, contractAddress));
}

async function errors() {
  const call = { address: setting.attribution, abi: setting.attributionAbi, functionName: "quote", args: [2n ** 40n, 0, 0] };
  // Functions, not promises: one that fails while another is awaited would end the process.
  for (const attempt of [() => reader.readContract(call), () => reader.estimateContractGas({ ...call, account })]) {
    await assert.rejects(attempt, (error) => {
      const revert = error.walk((each) => each instanceof viem.ContractFunctionRevertedError);
      assert.equal(revert?.data?.errorName, "UnknownModel");
      return true;
    });
  }
}

async function subscriptions() {
  const socket = viem.createPublicClient({ chain, transport: viem.webSocket() });
  const address = await deploy(TOKEN, [10n]);
  const heads = [];
  let event;
  const stop = [
    socket.watchBlocks({ onBlock: (block) => heads.push(block) }),
    socket.watchContractEvent({ address, abi: TOKEN.abi, eventName: "Transfer", onLogs: ([log]) => (event = log) }),
  ];
  await new Promise((done) => setTimeout(done, 300));
  await mined(await writer.writeContract({ address, abi: TOKEN.abi, functionName: "transfer", args: [fresh().address, 2n] }));
  while (heads.length < 2 || !event) await new Promise((done) => setTimeout(done, 50));
  assert.equal(event.args.value, 2n);
  assert.equal(heads[1].parentHash, heads[0].hash);
  stop.forEach((each) => each());
}

async function sync() {
  const request = await writer.prepareTransactionRequest({ to: fresh().address, value: 1n });
  const raw = await writer.signTransaction(request);
  const receipt = await reader.request({ method: "eth_sendRawTransactionSync", params: [raw] });
  assert.equal(receipt.status, "0x1");
}

async function simulate() {
  const address = await deploy(TOKEN, [10n]);
  const [to, other] = [fresh().address, fresh().address];
  const blocks = await reader.simulateBlocks({
    traceTransfers: true,
    blocks: [
      {
        stateOverrides: [{ address: to, balance: viem.parseEther("2") }],
        calls: [
          { account: to, to: other, value: 5n },
          { account, to: address, abi: TOKEN.abi, functionName: "transfer", args: [other, 3n] },
        ],
      },
      { blockOverrides: { baseFeePerGas: 0n },
        calls: [{ to: address, abi: TOKEN.abi, functionName: "balanceOf", args: [other] },
                { account: other, to: address, abi: TOKEN.abi, functionName: "transfer", args: [to, 100n] }] },
    ],
  });
  assert.deepEqual(blocks[0].calls.map((call) => call.status), ["success", "success"]);
  assert.equal(blocks[0].calls[0].logs[0].address, "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
  const last = blocks.at(-1);
  assert.equal(last.calls[0].result, 3n);
  assert.equal(last.calls[1].status, "failure");
  const { results } = await reader.simulateCalls({ account, calls: [
    { to: address, abi: TOKEN.abi, functionName: "transfer", args: [other, 1n] }] });
  assert.equal(results[0].status, "success");
  assert.equal(await reader.readContract({ address, abi: TOKEN.abi, functionName: "balanceOf", args: [other] }), 0n);
}

async function nodeAccounts() {
  const addresses = await viem.createWalletClient({ chain, transport: viem.http() }).getAddresses();
  const own = addresses.find((each) => each === account.address);
  const client = viem.createWalletClient({ chain, account: own, transport: viem.http() });
  assert.equal((await mined(await client.sendTransaction({ to: fresh().address, value: 1n }))).status, "success");
  const signature = await client.signMessage({ message: "hello" });
  assert.ok(await viem.verifyMessage({ address: own, message: "hello", signature }));
  const data = { domain: { name: "Post", chainId: setting.chainId }, primaryType: "Mail", message: { to: own },
    types: { Mail: [{ name: "to", type: "address" }] } };
  assert.ok(await viem.verifyTypedData({ ...data, address: own, signature: await client.signTypedData(data) }));
}

await main({ token, multicall, fees, delegation, errors, subscriptions, sync, simulate, nodeAccounts });
