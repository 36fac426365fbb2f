"""The signer as a process: its data directory, its key, its record, its exit code."""

import logging
from pathlib import Path

from consensus.signer import Signer
from evm_runtime.genesis_block import build_genesis
from genesis.errors import FatalError, LocalError
from genesis.types import ChainIdentity
from node.home import keystore
from node.home.config import NodeConfig
from node.home.consensus_key import open_consensus_key
from node.home.datadir import settle_spec
from node.home.lock import DirectoryLock
from node.home.sign_record import SignRecordFile
from node.telemetry.logs import outlive_hangups, set_up_logging

logger = logging.getLogger(__name__)


def run_signer(settings: NodeConfig, socket_path: Path) -> int:
    """Serve until stopped; returns the exit code. Raises LocalError for what the operator can put right, FatalError."""
    set_up_logging(settings["log.level"], settings["log.format"], settings["name"], settings.path("log.file"))
    outlive_hangups()
    with DirectoryLock(settings.datadir):
        key = open_consensus_key(settings)
        if key is None:
            raise LocalError(f"{settings.datadir} names no key: set validator.keystore in its config.toml")
        spec = settle_spec(settings.datadir, None)
        chain = ChainIdentity(spec.chain_id, build_genesis(spec).header.hash)
        record = SignRecordFile(keystore.sign_record_path(settings.datadir, key.address))
        signer = Signer(chain, key.address, key.sign_hash, record)

        import trio

        from node.signer.server import SignerServer, run_server

        last = "nothing signed yet" if signer.last is None else f"last signed height {signer.last.height}"
        logger.info("validator 0x%s of chain %s, id %d: %s", key.address.hex(), spec.name, spec.chain_id, last)
        try:
            trio.run(run_server, SignerServer(chain, signer, key.sign_hash), socket_path)
        except FatalError as error:
            logger.critical("%s: %s", type(error).__name__, error)
            raise
    logger.info("stopped")
    return 0
