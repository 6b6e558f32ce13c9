"""What a manifest may hold.  The messages about what it may not are made in `loading`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from jobs.manifest.checks import (
    EXPECTED,
    check_field,
    check_hdu,
    check_path,
    check_reference,
    check_result,
    check_spectrum,
    check_tag,
    check_version,
    wrong,
)
from jobs.manifest.mistakes import Mistake

_Text = Annotated[StrictStr, StringConstraints(min_length=1)]
_Reference = Annotated[_Text, BeforeValidator(check_reference)]
_FieldName = Annotated[StrictStr, BeforeValidator(check_field)]
_Hdu = Annotated[
    StrictInt | _Text,
    BeforeValidator(check_hdu),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}),
]
_TEXTS_SCHEMA = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}


def _refuse_empty(value: Any, info: ValidationInfo) -> Any:
    name = info.field_name or ""
    if value is None and name != "result":
        mend = "give a value" + ("" if name == "path" else " or remove the key")
        raise wrong(f"is empty; expected {EXPECTED[name]}; {mend}")
    if isinstance(value, list | dict) and not value and name in ("spectrum", "hdus"):
        raise wrong(f"is empty; expected {EXPECTED[name]}; remove the key for the default")
    return value


class ProductKeys(BaseModel):
    """The keys that a product and `defaults` share; one that is not given has its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    result: Annotated[
        _Text | None,
        BeforeValidator(check_result),
        WithJsonSchema({"type": ["string", "null"]}),
    ] = Field(
        None,
        description="Result model that the rows go to: its name, package.module:Class, or none for "
        "a product that fills no result table. Default: told from the PIPELINE card.",
        examples=["Corv", "my_pipeline.models:Result", "none"],
    )
    spectrum: Annotated[
        tuple[_Reference, ...] | None,
        BeforeValidator(check_spectrum),
        WithJsonSchema({"anyOf": [{"type": "string"}, _TEXTS_SCHEMA]}),
    ] = Field(
        None,
        description="Spectrum model, or a list of them, that the rows are of: names or "
        "package.module:Class. Default: told from the INSTRMNT card and the file's columns.",
        examples=["BossVisitSpectrum", ["BossCombinedSpectrum"]],
    )
    hdus: Annotated[
        tuple[_Hdu, ...] | None,
        WithJsonSchema(
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]},
                "minItems": 1,
            }
        ),
    ] = Field(
        None,
        description="HDUs to read: numbers (the primary HDU is 0, the first table 1) or EXTNAMEs. "
        "Default: every table HDU with rows.",
        examples=[[1], [1, 2], ["BOSS"]],
    )
    columns: dict[_FieldName, _Text] = Field(
        {},
        description="Field of the model: FITS column, where the two names differ.",
        examples=[{"teff": "TEFF_RAW"}],
    )
    ignore: tuple[_Text, ...] = Field(
        (), description="FITS columns that are left out on purpose.", examples=[["snr_median"]]
    )
    new_columns: Literal["error", "ignore"] = Field(
        "error",
        description="What a FITS column that no table knows is: an error, or ignored.",
    )
    sources: Literal["create", "update", "require"] = Field(
        "create",
        description="Rows of the source table. create: insert the missing, leave those there; "
        "update: insert the missing, overwrite those there; require: a row whose source is "
        "missing is set aside.",
    )
    spectra: Literal["create", "update", "require"] = Field(
        "create",
        description="Rows of the spectrum tables: create, update or require, as for sources.",
    )
    v_astra: Annotated[
        StrictInt | None,
        BeforeValidator(check_version),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
                    {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
                ]
            }
        ),
    ] = Field(
        None,
        description="Version of Astra that made the results: 0.8.1, or packed 8001. Default: the "
        "pipeline's v_astra column, else the V_ASTRA card, else this package's version.",
        examples=["0.8.1", 8001],
    )
    max_rejects: StrictInt = Field(
        1000,
        ge=0,
        description="Rows that may be set aside before the product counts as failed.",
        examples=[0, 1000],
    )
    tag: Annotated[
        StrictStr | None, BeforeValidator(check_tag), WithJsonSchema({"type": "string"})
    ] = Field(
        None,
        description="Text for the results' tag column, where the file has no tag column or leaves "
        "it empty; a tag in the file is kept.",
        examples=["dr20"],
    )
    verify: StrictBool = Field(
        True, description="Check the files' CHECKSUM and DATASUM cards, where they have them."
    )

    _not_empty = field_validator("*", mode="before")(_refuse_empty)


@dataclass(frozen=True, slots=True)
class Root:
    """The manifest's `root`, and the line on which it stands."""

    path: str
    line: int

    def mistake(self, text: str) -> Mistake:
        """Return a mistake in it."""
        return Mistake(self.line, ("root",), text)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a product stands in its manifest; all lines from 1.

    Attributes
    ----------
    index : int
        Place in `products`, from 0.
    line : int
        Line on which the entry begins.
    keys, defaults : mapping of str to int
        The line of each key of the entry, and of `defaults`.
    root : Root or None
        Where its files must lie.
    """

    index: int
    line: int
    keys: Mapping[str, int]
    defaults: Mapping[str, int]
    root: Root | None = None


class Product(ProductKeys):
    """One entry of `products`: the files of a glob, and how they are read."""

    path: Annotated[StrictStr, AfterValidator(check_path)] = Field(
        min_length=1,
        description="File or glob (*, ?, [abc], ** for any depth). ~ and $VAR are expanded; a "
        "relative path starts at the manifest's folder.",
        examples=["$MWM_ASTRA/0.8.1/summary/astraAllStarSlam-0.8.1.fits.gz", "results/**/*.fits"],
    )

    _position: Position = PrivateAttr(Position(0, 0, {}, {}))
    # The keys whose values are the defaults'.
    _inherited: Set[str] = PrivateAttr(frozenset())

    @property
    def line(self) -> int:
        """Line of the manifest (from 1) on which the entry begins."""
        return self._position.line

    @property
    def index(self) -> int:
        """Place in `products`, from 0."""
        return self._position.index

    @property
    def root(self) -> Root | None:
        """The folder under which its files must lie, if the manifest has one."""
        return self._position.root

    @property
    def place(self) -> str:
        """The entry as messages name it: ``products[1]``."""
        return f"products[{self.index}]"

    def mistake(self, key: str, text: str) -> Mistake:
        """Return a mistake in one key of the entry, at the line where the manifest gives it."""
        position = self._position
        if key in self._inherited:
            return Mistake(position.defaults[key], ("defaults", key), text)
        line = position.keys.get(key, position.line)
        return Mistake(line, ("products", position.index, key), text)

    def settled(self, defaults: ProductKeys, position: Position) -> Product:
        """Return a copy that has the defaults' keys where it has none, and knows its lines.

        A key of the product replaces the default's value whole: `columns` are not merged.
        """
        missing = defaults.model_fields_set - self.model_fields_set
        settled = self.model_copy(update={name: getattr(defaults, name) for name in missing})
        settled._position = position
        settled._inherited = missing
        return settled


class Manifest(BaseModel):
    """A job's input: products of FITS files, and the keys they share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = Field(description="Version of the manifest's form: 1.")
    defaults: ProductKeys = Field(
        default_factory=ProductKeys,
        description="Keys for every product that does not give them itself: any but path.",
        examples=[{"tag": "dr20"}],
    )
    root: Annotated[
        StrictStr | None, AfterValidator(check_path), WithJsonSchema({"type": "string"})
    ] = Field(
        None,
        description="Folder under which every file must lie, wherever .. and links lead; relative "
        "to the manifest's folder, ~ and $VAR are expanded. Default: files may lie anywhere.",
        examples=["$MWM_ASTRA/0.8.1", "."],
    )
    products: tuple[Product, ...] = Field(
        min_length=1, description="What to ingest, in this order; one entry for each kind of file."
    )

    _not_empty = field_validator("root", mode="before")(_refuse_empty)
