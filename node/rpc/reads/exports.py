"""What a model was built from, in the words of others: Croissant 1.1 (MLCommons), and SPDX 3.0.1 with AI and Dataset profiles.

Both are JSON-LD, built from nothing but the state of one block, so two nodes give the same document. Identifiers are URNs of
the chain, `urn:openledger:<chain id>:model:<id>` and the like; what the registry links to (a model's or a datanet's `uri`) is
linked to as it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from genesis.primitives import Hash32

if TYPE_CHECKING:
    from attribution_precompile.reading.queries import DatanetInfo, ModelInfo, VersionInfo

Json = dict[str, Any]

CROISSANT: Final = "http://mlcommons.org/croissant/1.1"
SPDX: Final = "3.0.1"
STAGES: Final = ("pre-training", "fine-tuning", "retrieval")


@dataclass(frozen=True, slots=True)
class UsedVersion:
    """A use of the model: its share of the contributors' part in basis points, and what was published."""

    stage: int
    bps: int
    datanet: "DatanetInfo"
    version: "VersionInfo"
    terms_hash: Hash32
    """The hash of the terms that the version was published under."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """A model with its versions, as a block of a chain has them. `time` is the block's, in seconds since 1970."""

    chain: str
    chain_id: int
    block_number: int
    time: int
    model: "ModelInfo"
    royalties: tuple[tuple[int, int], ...]
    uses: tuple[UsedVersion, ...]

    def urn(self, kind: str, *path: object) -> str:
        return ":".join(("urn:openledger", str(self.chain_id), kind, *map(str, path)))

    @property
    def title(self) -> str:
        return f"Model {self.model.id} on {self.chain}"

    @property
    def shares(self) -> str:
        return "; ".join(
            f"datanet {u.datanet.id} version {u.version.version}, {STAGES[u.stage]}, {u.bps} basis points"
            for u in self.uses
        )


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


# ---------------------------------------------------------------- Croissant

_TERMS_OF_CROISSANT: Final = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty", "fileObject",
    "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: Final[Json] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS_OF_CROISSANT},
}
_COLUMNS: Final = {
    "datanet": "sc:Integer",
    "version": "sc:Integer",
    "stage": "sc:Text",
    "shareBps": "sc:Integer",
    "contributions": "sc:Integer",
    "published": "sc:DateTime",
    "contentRoot": "sc:Text",
    "termsHash": "sc:Text",
    "uri": "sc:Text",
}


def croissant(summary: TrainingSummary) -> Json:
    """The training data as a Croissant dataset: one record for each version used, in a record set of its own."""
    where = f"Read from the attribution contract of chain {summary.chain_id} after block {summary.block_number}."
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "@id": summary.urn("model", summary.model.id, "training-data"),
        "conformsTo": CROISSANT,
        "name": f"{summary.title}: training data",
        "description": f"The datanet versions that the model was built from: {summary.shares}. {where}",
        "url": summary.urn("model", summary.model.id),
        "license": _licenses(summary),
        "creator": {"@type": "sc:Organization", "name": _hex(summary.model.owner)},
        "datePublished": _moment(max(use.version.time for use in summary.uses)),
        "version": f"{summary.block_number}.0.0",
        "citeAs": f"{summary.urn('model', summary.model.id)}, block {summary.block_number}",
        "isLiveDataset": True,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "uses",
                "name": "uses",
                "description": "contentRoot is the head of the datanet's keccak chain over contents and reviews.",
                "key": [{"@id": "uses/datanet"}, {"@id": "uses/version"}],
                "field": [
                    {"@type": "cr:Field", "@id": f"uses/{name}", "name": f"uses/{name}", "dataType": kind}
                    for name, kind in _COLUMNS.items()
                ],
                "data": [{f"uses/{name}": value for name, value in _row(use).items()} for use in summary.uses],
            }
        ],
    }


def _licenses(summary: TrainingSummary) -> list[str]:
    """A datanet's terms are known to the chain by their hash; each once, in order."""
    return list(dict.fromkeys(f"urn:keccak256:{use.terms_hash.hex()}" for use in summary.uses))


def _row(use: UsedVersion) -> Json:
    values = (
        use.datanet.id,
        use.version.version,
        STAGES[use.stage],
        use.bps,
        use.version.contributions,
        _moment(use.version.time),
        _hex(use.version.content_root),
        _hex(use.terms_hash),
        use.datanet.params.uri,
    )
    return dict(zip(_COLUMNS, values, strict=True))


# ---------------------------------------------------------------- SPDX


class _Graph:
    """The elements of an SPDX document that share one `CreationInfo`."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.elements: list[Json] = []

    def add(self, kind: str, fragment: str, **fields: Any) -> str:
        """Add an element; returns its id."""
        spdx_id = f"{self.base}#{fragment}"
        self.elements.append({"type": kind, "spdxId": spdx_id, "creationInfo": "_:created", **fields})
        return spdx_id

    def relate(self, kind: str, name: str, source: str, targets: Sequence[str]) -> str:
        fields = {"relationshipType": kind, "from": source, "to": list(targets)}
        return self.add("Relationship", name, **fields)

    def license(self, name: str, package: str, expression: str, comment: str) -> None:
        """A package's licence, declared and concluded (the profiles ask for both)."""
        made = self.add(
            "simplelicensing_LicenseExpression",
            f"{name}-license",
            simplelicensing_licenseExpression=expression,
            comment=comment,
        )
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            self.relate(kind, f"{name}-{kind}", package, [made])


def spdx(summary: TrainingSummary) -> Json:
    """The model as an SPDX 3.0.1 AI bill of materials: an AI package, `trainedOn` a dataset package for each version."""
    graph = _Graph(summary.urn("model", summary.model.id, "bom", summary.block_number))
    owner = graph.add("Organization", "owner", name=_hex(summary.model.owner))
    packages = [_model_package(graph, summary, owner)]
    packages += [_dataset_package(graph, summary, use) for use in summary.uses]
    graph.relate("trainedOn", "trained-on", packages[0], packages[1:])
    for ancestor, bps in summary.royalties:
        parent = graph.add(
            "software_Package",
            f"ancestor-{ancestor}",
            name=f"Model {ancestor} on {summary.chain}",
            software_downloadLocation=summary.urn("model", ancestor),
            comment=f"owed {bps} basis points of the owner's part",
        )
        graph.relate("descendantOf", f"descends-{ancestor}", packages[0], [parent])
    profiles = ["core", "software", "ai", "dataset", "simpleLicensing"]
    members = [element["spdxId"] for element in graph.elements]
    bom = graph.add(
        "software_Sbom",
        "bom",
        profileConformance=profiles,
        rootElement=[packages[0]],
        element=members,
        software_sbomType=["deployed"],
    )
    document = {
        "type": "SpdxDocument",
        "spdxId": graph.base,
        "creationInfo": "_:created",
        "name": f"{summary.title}: bill of materials",
        "profileConformance": profiles,
        "rootElement": [bom],
    }
    created = {
        "type": "CreationInfo",
        "@id": "_:created",
        "specVersion": SPDX,
        "created": _moment(summary.time),
        "createdBy": [owner],
    }
    context = f"https://spdx.org/rdf/{SPDX}/spdx-context.jsonld"
    return {"@context": context, "@graph": [created, document, *graph.elements]}


def _model_package(graph: _Graph, summary: TrainingSummary, owner: str) -> str:
    model = summary.model
    package = graph.add(
        "ai_AIPackage",
        "model",
        name=summary.title,
        suppliedBy=owner,
        releaseTime=_moment(summary.time),
        software_packageVersion=str(summary.block_number),
        software_primaryPurpose="model",
        software_downloadLocation=_location(model.uri, summary.urn("model", model.id)),
        verifiedUsing=[_hash(model.weights, "the hash of the weights as its owner registered it")],
        ai_informationAboutTraining=f"Built from {summary.shares}.",
        ai_informationAboutApplication=f"Outputs are attributed by {model.method.name} on chain {summary.chain_id}.",
    )
    graph.license("model", package, "NOASSERTION", "the registry holds no licence of a model")
    return package


def _dataset_package(graph: _Graph, summary: TrainingSummary, use: UsedVersion) -> str:
    datanet, version = use.datanet, use.version
    name = f"datanet-{datanet.id}-version-{version.version}-{STAGES[use.stage]}"
    curators = graph.add("Organization", f"{name}-owner", name=_hex(datanet.owner))
    package = graph.add(
        "dataset_DatasetPackage",
        name,
        name=f"Datanet {datanet.id} on {summary.chain}, version {version.version}",
        originatedBy=[curators],
        builtTime=_moment(version.time),
        releaseTime=_moment(version.time),
        software_packageVersion=str(version.version),
        software_primaryPurpose="data",
        software_downloadLocation=_location(
            datanet.params.uri, summary.urn("datanet", datanet.id, "version", version.version)
        ),
        verifiedUsing=[
            _hash(version.content_root, "keccak-256: the head of the datanet's chain of contents and reviews")
        ],
        dataset_datasetType=["text"],
        dataset_datasetSize=version.contributions,
        dataset_intendedUse=f"{STAGES[use.stage]}, {use.bps} of 10000 basis points",
        dataset_datasetAvailability="registration" if datanet.params.commit_only else "directDownload",
    )
    reference = f"LicenseRef-keccak256-{use.terms_hash.hex()}"
    graph.license(name, package, reference, "the terms whose keccak-256 the version was published under")
    return package


def _hash(value: Hash32, comment: str) -> Json:
    return {"type": "Hash", "algorithm": "other", "hashValue": value.hex(), "comment": comment}


def _location(uri: str, otherwise: str) -> str:
    """SPDX asks for a URI; what was registered is taken if it looks like one."""
    scheme, colon, rest = uri.partition(":")
    is_uri = bool(colon and rest) and scheme[:1].isalpha() and scheme.isascii() and not any(c.isspace() for c in uri)
    return uri if is_uri else otherwise
