"""`python -m evm_runtime.staking.generate` writes `IStaking.sol` and `.json` anew; a test holds them equal."""

from pathlib import Path

from evm_runtime.staking.abi import generated_files


def main() -> None:
    """Write the generated files beside this module."""
    for name, content in generated_files().items():
        Path(__file__).with_name(name).write_bytes(content)


if __name__ == "__main__":
    main()
